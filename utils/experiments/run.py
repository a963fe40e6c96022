"""Run an experiment: train and test the cells of its grid and report the results."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.base.files import plain, write_json
from utils.base.frame_students import backbone_name
from utils.base.locks import exclusive_lock
from utils.base.options import OutputOptions
from utils.base.progress import progress
from utils.base.text import counted
from utils.data.clips import ClipDataset, open_clips, with_unlabelled
from utils.data.leak_finder import LeakFinder
from utils.data.leak_report import short_form
from utils.evaluation.metrics import accuracy, correct_predictions, cross_entropy
from utils.evaluation.results import result_of, scores_of
from utils.evaluation.tested import store_test
from utils.evaluation.testing import choose_test_clips, predict
from utils.experiments.arrays import arrays, existing_arrays, expected_clips
from utils.experiments.cells import Cell
from utils.experiments.given_teachers import costs_of, has_new_cost, logits_of
from utils.experiments.grid import Experiment, Grid, grid_of, make_grid
from utils.experiments.not_reused import print_not_reused
from utils.experiments.pages import groups_of, predictions_of_given, write_cell_page
from utils.experiments.plan import print_plan
from utils.experiments.provenance import check_given_teachers, seen_by
from utils.experiments.report import report
from utils.networks import student_builders
from utils.networks.recognizer import load_recognizer
from utils.training.replicas import check_devices
from utils.training.stages import train_student, train_teacher

BATCH_SIZE = 16  # clips per forward pass of tests


def run(experiment: Experiment) -> dict:
    """Train and test the missing cells, print and write the table, and return the content of results.json.

    All files are in `output_path`. Each cell (one training) has a folder in `cells/` that is named after its settings,
    so that an interrupted or extended experiment computes only missing cells and never mixes settings. Test clips are
    read after all cells are trained. Raises UserError for what a user can correct.
    """
    check_devices(experiment.student_training)
    with exclusive_lock(experiment.output_path / ".experiment.lock", what=f"--output_path {experiment.output_path}"):
        if existing_arrays(experiment.origin, experiment.output_path) is None:
            expected_grid(experiment)  # an impossible split fails before hours of extraction
        grid = checked(make_grid(experiment, arrays(experiment.origin, experiment.output_path)))
        settings = {name: value for name, value in experiment.arguments.items() if name != "config"}
        write_json(experiment.output_path / "settings.json", plain(settings))  # can be used as a recipe
        leaks = find_leaks(grid)
        train_missing(grid)
        test_missing(grid, leaks)
        heading("result")
        dataset = open_dataset(grid)
        seen = {cell: seen_by(cell, dataset, grid.splits[cell.fold]) for cell in grid.cells}
        return report(grid.cells, grid.groups, leaks, seen, experiment.arguments, experiment.output_path)


def dry_run(experiment: Experiment) -> None:
    """Print the state of each cell; train nothing.

    If arrays are missing, all videos are expected to be readable, and it is not checked what given teachers have seen.
    """
    check_devices(experiment.student_training)
    origin, folder = experiment.origin, experiment.output_path
    if (data := existing_arrays(origin, folder)) is not None:
        grid = checked(make_grid(experiment, data))
    else:
        grid, videos = expected_grid(experiment)
        print(f"no arrays yet: {counted(videos, 'video')} to be read first")
    print_plan(grid)


def expected_grid(experiment: Experiment) -> tuple[Grid, int]:
    """Return the grid of an experiment without arrays, and the number of its videos; all are expected to be readable.

    Raises UserError if the videos cannot be split as requested.
    """
    data, clips = expected_clips(experiment.origin, experiment.output_path)
    check_student(experiment, len(clips.class_names))
    return grid_of(experiment, data, clips, {}), len(clips.labels)


def check_student(experiment: Experiment, num_classes: int) -> None:
    """Build and check a user's student once; otherwise it would fail only after its teacher is trained."""
    student, network = experiment.distillation.student, experiment.student_network
    if ":" in student and backbone_name(student) is None:
        model = student_builders.student_builder(student)(num_classes, **network.size())
        student_builders.check_student(student, model, num_classes, network.input_shape, Path("student.keras"))


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


def open_dataset(grid: Grid) -> ClipDataset:
    """Open the arrays of an experiment with its unlabelled clips."""
    dataset = open_clips(grid.data.data, grid.data.annotations, grid.data.paths)
    return with_unlabelled(dataset, grid.experiment.distillation.unlabelled)


def find_leaks(grid: Grid) -> dict[str, dict]:
    """Print what test clips share with training, validation and unlabelled clips; return it as plain values by fold.

    Raises UserError with `fail_on_leak` if they share anything.
    """
    heading("leaks between test and training clips")
    finder, found = LeakFinder(open_dataset(grid)), {}
    for fold, split in grid.splits.items():
        leaks = finder.find(split.test, split.train, split.validation, group_pattern=grid.data.group_pattern)
        found[fold] = leaks.as_dict()
        print(f"{fold}: {short_form(found[fold])}")
        if grid.experiment.fail_on_leak:
            leaks.refuse()
    return found


def checked(grid: Grid) -> Grid:
    """Return the grid without the students of teachers that have seen their test clips; see `check_given_teachers`."""
    fail_on_leak, dataset = grid.experiment.fail_on_leak, open_dataset(grid)
    check_student(grid.experiment, len(dataset.class_names))
    cells = check_given_teachers(grid.cells, dataset, grid.splits, fail_on_leak=fail_on_leak)
    return replace(grid, cells=cells)


def train_missing(grid: Grid) -> None:
    """Train each cell that is not trained yet."""
    missing = [cell for cell in grid.cells if not cell.is_trained]
    if len(missing) < len(grid.cells):
        print(f"{len(grid.cells) - len(missing)} of {counted(len(grid.cells), 'training run')} are finished already")
    print_not_reused(missing)
    for number, cell in enumerate(missing, start=1):
        heading(f"training {number} of {len(missing)}: {cell.row.name}; {cell.fold}, seed {cell.seed}")
        train(grid, cell)


def train(grid: Grid, cell: Cell) -> None:
    """Train one cell and write its validation results."""
    import keras

    keras.backend.clear_session()  # frees the graphs of earlier cells
    if cell.parts:
        validate_given(grid, cell)
        return
    stage = train_teacher if cell.row.role == "teacher" else train_student
    output = OutputOptions(cell.model_path, cell.folder / "history")
    trained = stage(data=replace(grid.data, split=cell.fold), output=output, **cell.options)
    validation = trained.record.validation
    found = {
        "validation_accuracy": validation["val_accuracy"],
        "validation_loss": validation.get("val_hard_loss", validation["val_loss"]),
        "kept_epoch": trained.record.kept_epoch,
        "seconds": trained.record.seconds,
    }
    cell.write("trained", found)


def validate_given(grid: Grid, cell: Cell) -> None:
    """Write the validation results of a given teacher. Raises UserError if it has no scores for these clips."""
    dataset = open_dataset(grid)
    rows = grid.splits[cell.fold].validation
    logits = logits_of(cell, dataset, rows, grid.experiment.distillation.source_scores)
    if logits is None:
        names = ", ".join(map(str, cell.teaching_files))
        raise UserError(f"--sources: {names} must hold scores for all validation clips of {cell.fold}")
    labels = dataset.labels[rows]
    found = {"validation_accuracy": accuracy(labels, logits), "validation_loss": cross_entropy(labels, logits)}
    cell.write("trained", found | {"kept_epoch": None, "seconds": 0.0})


def test_missing(grid: Grid, leaks: dict[str, dict]) -> None:
    """Test each cell that is not tested yet; everything that depends on validation results is fixed by now.

    leaks: LeakReport.as_dict by fold, for the records of the networks and the pages of the cells.
    """
    missing = [cell for cell in grid.cells if not cell.is_tested or (cell.parts and has_new_cost(cell))]
    if not missing:
        return
    heading(f"test of {len(missing)} models")
    dataset = open_dataset(grid)
    with progress(len(missing), unit="models tested") as advance:
        for cell in missing:
            if cell.parts:
                test_given(grid, cell, dataset, leaks[cell.fold])
            else:
                test(grid, cell, dataset, leaks[cell.fold])
            advance()


def test(grid: Grid, cell: Cell, dataset: ClipDataset, leaks: dict | None) -> None:
    """Test one cell on the test clips in its record and write its results, its page, its record and its card."""
    recognizer = load_recognizer(cell.model_path, argument="--output_path")
    clips = choose_test_clips(recognizer, dataset, None)
    predictions = predict(recognizer, dataset, clips, batch_size=BATCH_SIZE, views=cell.views)
    broken = np.isnan(predictions.logits).any(axis=1)
    if broken.any():
        share = f"{broken.sum()} of {len(broken)}"
        print(f"note: {cell.model_path} outputs NaN for {share} test clips, which count as wrong")
        predictions = replace(predictions, logits=with_wrong_rows(predictions.logits, clips.labels, broken))
    result = result_of(predictions, dataset, groups_of(grid, dataset)) | {"leaks": leaks}
    names = ("top1", "top5", "mean_class_accuracy", "loss", "calibration_error")
    costs = ("parameters", "multiply_accumulates", "clips_per_second")
    correct = correct_predictions(clips.labels, predictions.logits)
    found = {name: result[name] for name in (*names, *costs)}
    if broken.any():
        found["calibration_error"] = None
    # size of float32 weights: the file size varies by a few bytes with what Keras loaded before in the same process
    found["megabytes"] = 4 * found["parameters"] / 1e6
    store_test(predictions, result, dataset, batch_size=BATCH_SIZE)
    write_cell_page(grid, cell, predictions, result, dataset)
    cell.write("tested", found | {"rows": clips.rows.tolist(), "correct": correct.astype(int).tolist()})


def with_wrong_rows(logits: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return logits `(n, C)` in which the label has probability 0 in `rows`, bool `(n,)`; their loss is infinite."""
    wrong = np.zeros_like(logits)
    wrong[np.arange(len(labels)), labels] = -np.inf
    return np.where(rows[:, None], wrong, logits)


def test_given(grid: Grid, cell: Cell, dataset: ClipDataset, leaks: dict) -> None:
    """Write page and results of the test of a given teacher.

    There is neither page nor accuracy if it has no scores for the test clips or their views.
    """
    rows = grid.splits[cell.fold].test
    logits = logits_of(cell, dataset, rows, grid.experiment.distillation.source_scores, cell.views)
    costs = costs_of(cell)
    found = {"top1": None, "correct": None} | costs
    if logits is not None:
        predictions = predictions_of_given(grid, cell, dataset, logits)
        result = scores_of(predictions, groups_of(grid, dataset)) | costs
        write_cell_page(grid, cell, predictions, result | {"leaks": leaks, "milliseconds_per_clip": None}, dataset)
        correct = correct_predictions(dataset.labels[rows], logits)
        found |= {"top1": float(correct.mean()), "correct": correct.astype(int).tolist()}
    else:
        names, last = ", ".join(map(str, cell.teaching_files)), cell.views.count - 1
        asked = f"views 0 to {last} of the test clips" if last else "all test clips"
        print(f"note: {cell.row.name} is not in the table: {names} must hold finite scores for {asked} of {cell.fold}.")
    cell.write("tested", found | {"rows": rows.tolist()})
