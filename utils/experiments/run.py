"""Runs an experiment: a grid of trainings, kept as they finish, and one table of what they are worth."""

from dataclasses import replace

import numpy as np

from utils import stages
from utils.data.clips import ClipDataset, open_clips
from utils.evaluation.metrics import accuracy, correct_answers, cross_entropy
from utils.evaluation.results import result_of
from utils.evaluation.testing import answer, choose_test_clips
from utils.experiments.arrays import arrays, arrays_at_hand, expected_clips
from utils.experiments.cells import Cell
from utils.experiments.given_teachers import answers_of
from utils.experiments.grid import Experiment, Grid, grid_of, make_grid
from utils.experiments.plan import print_plan
from utils.experiments.report import report
from utils.leaks.finder import LeakFinder
from utils.leaks.report import short_form
from utils.networks.recognizer import load_recognizer
from utils.runtime.errors import UserError
from utils.runtime.files import exclusive_lock, plain, write_json
from utils.runtime.progress import progress
from utils.settings.options import OutputOptions


def run(experiment: Experiment) -> dict:
    """Trains what is missing, tests it at the end, prints and writes the table; returns what results.json holds.

    Everything lies in `output_path`: a cell (one training) a folder in `cells/`, by settings, so that a killed or
    extended experiment computes only what is missing and cells of other settings are never mixed in. Test clips are
    read when all cells are trained. Raises UserError for a user's mistakes.
    """
    with exclusive_lock(experiment.output_path / ".experiment.lock", what=f"--output_path {experiment.output_path}"):
        write_json(experiment.output_path / "settings.json", plain(experiment.arguments))
        grid = make_grid(experiment, arrays(experiment.origin, experiment.output_path))
        leaks = find_leaks(grid)
        train_missing(grid)
        test_missing(grid)
        heading("result")
        return report(grid.cells, grid.groups, leaks, experiment.arguments, experiment.output_path)


def dry_run(experiment: Experiment) -> None:
    """Prints each cell, whether it is there, and the time that the missing ones are likely to take; trains nothing.

    The time comes from a few steps of each network on random clips. Arrays that have still to be made are taken to
    hold every video.
    """
    origin, folder = experiment.origin, experiment.output_path
    if (data := arrays_at_hand(origin, folder)) is not None:
        grid = make_grid(experiment, data)
    else:
        data, clips = expected_clips(origin, folder)
        print(f"no arrays yet: {len(clips.labels)} videos have to be read first, whose time is not in the estimate")
        grid = grid_of(experiment, data, clips, {})
    print_plan(grid)


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


def find_leaks(grid: Grid) -> dict[str, dict]:
    """Prints, by fold, what test clips share with training and validation clips, and returns it as plain values.

    Raises UserError with `fail_on_leak` if they share anything.
    """
    heading("leaks between test and training clips")
    finder = LeakFinder(open_clips(grid.data.data, grid.data.annotations, grid.data.paths))
    found = {}
    for fold, split in grid.splits.items():
        leaks = finder.find(split.test, split.train, split.validation, group_pattern=grid.data.group_pattern)
        found[fold] = leaks.as_dict()
        print(f"{fold}: {short_form(found[fold])}")
        if grid.experiment.fail_on_leak:
            leaks.refuse()
    return found


def train_missing(grid: Grid) -> None:
    """Trains each cell that is not there yet."""
    missing = [cell for cell in grid.cells if not cell.is_trained]
    if len(missing) < len(grid.cells):
        print(f"{len(grid.cells) - len(missing)} of {len(grid.cells)} trainings are already there")
    for number, cell in enumerate(missing, start=1):
        heading(f"training {number} of {len(missing)}: {cell.row.name}; {cell.fold}, seed {cell.seed}")
        train(grid, cell)


def train(grid: Grid, cell: Cell) -> None:
    """Trains one cell by the stage of its role and keeps what it found on validation."""
    import keras

    keras.backend.clear_session()  # or the graphs of all earlier cells stay in memory
    if cell.parts:
        judge_given(grid, cell)
        return
    stage = stages.train_teacher if cell.row.role == "teacher" else stages.train_student
    output = OutputOptions(cell.model_path, cell.folder / "history")
    trained = stage(data=replace(grid.data, split=cell.fold), output=output, **cell.options)
    validation = trained.record["validation"]
    found = {
        "validation_accuracy": validation["val_accuracy"],
        "validation_loss": validation.get("val_hard_loss", validation["val_loss"]),
        "best_epoch": trained.record["best_epoch"],
        "seconds": trained.record["seconds"],
    }
    cell.write("trained", found)


def judge_given(grid: Grid, cell: Cell) -> None:
    """What a given teacher is worth on validation clips. Raises UserError if it has no scores for them."""
    dataset = open_clips(grid.data.data, grid.data.annotations, grid.data.paths)
    rows = grid.splits[cell.fold].validation
    logits = answers_of(cell, dataset, rows)
    if logits is None:
        names = ", ".join(map(str, cell.teaching_files))
        raise UserError(f"--sources: {names} must hold finite scores for all validation clips of {cell.fold}")
    labels = dataset.labels[rows]
    found = {"validation_accuracy": accuracy(labels, logits), "validation_loss": cross_entropy(labels, logits)}
    cell.write("trained", found | {"best_epoch": None, "seconds": 0.0})


def test_missing(grid: Grid) -> None:
    """Tests each cell that has not been tested, now that nothing is left to be chosen."""
    missing = [cell for cell in grid.cells if not cell.is_tested]
    if not missing:
        return
    heading(f"test of {len(missing)} networks")
    dataset = open_clips(grid.data.data, grid.data.annotations, grid.data.paths)
    with progress(len(missing), done=0, unit="networks tested") as advance:
        for cell in missing:
            if cell.parts:
                test_given(cell, dataset, grid.splits[cell.fold].test)
            else:
                test(cell, dataset)
            advance()


def test(cell: Cell, dataset: ClipDataset) -> None:
    """Tests one cell on the clips that its record keeps for that."""
    recognizer = load_recognizer(cell.model_path, argument="--output_path")
    clips = choose_test_clips(recognizer, dataset, None)
    answers = answer(recognizer, dataset, clips, batch_size=16)
    result = result_of(answers, dataset, None)
    names = ("top1", "top5", "mean_class_accuracy", "loss", "calibration_error")
    costs = ("parameters", "multiply_accumulates", "clips_per_second")
    correct = correct_answers(clips.labels, answers.logits)
    found = {name: result[name] for name in (*names, *costs)}
    # float32 weights; a file's size differs by some bytes with what Keras loaded before in the same process
    found["megabytes"] = 4 * found["parameters"] / 1e6
    cell.write("tested", found | {"rows": clips.rows.tolist(), "correct": correct.astype(int).tolist()})


def test_given(cell: Cell, dataset: ClipDataset, rows: np.ndarray) -> None:
    """Tests a given teacher; without scores for the test clips it has no accuracy, and no line in the table."""
    logits = answers_of(cell, dataset, rows)
    found = dict.fromkeys(("top1", "parameters", "multiply_accumulates", "megabytes", "correct"))
    if logits is not None:
        correct = correct_answers(dataset.labels[rows], logits)
        found |= {"top1": float(correct.mean()), "correct": correct.astype(int).tolist()}
    cell.write("tested", found | {"rows": rows.tolist()})
