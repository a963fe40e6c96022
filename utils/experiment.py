"""An experiment: a grid of trainings on folds and seeds, kept as they finish, and one table of what they are worth."""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from utils import folds, stages
from utils.cells import Cell, Row
from utils.cli import options_of
from utils.clips import ClipDataset, digest, open_clips
from utils.evaluation import answer, choose_test_clips
from utils.experiment_arrays import ClipSource, arrays, arrays_at_hand, expected_clips
from utils.experiment_plan import print_plan
from utils.experiment_report import report
from utils.files import exclusive_lock, file_fingerprint, write_json
from utils.metrics import correct_answers
from utils.options import (
    TASK_FROM_SCRATCH,
    TASKS_FINE_TUNING,
    DataOptions,
    DistillationOptions,
    NetworkOptions,
    OutputOptions,
    TeacherOptions,
    TrainingOptions,
    ViewOptions,
)
from utils.prepared import known_groups, split_of
from utils.progress import progress
from utils.recognizer import load_recognizer
from utils.records import installed_versions, plain
from utils.report import result_of
from utils.splits import Split
from utils.sports1m import MD5, file_at_hand

SYNTHETIC = ("classes", "subjects", "clips", "clutter", "noise", "jitter", "phase_spread")
TASKS = {"scratch": TASK_FROM_SCRATCH, "sports1m": TASKS_FINE_TUNING[0]}


@dataclass(frozen=True)
class Experiment:
    """What reproduce.py was asked for.

    data: the split and its seed; its arrays are those of `clips`. teachers: "scratch", "sports1m"; None for the first,
    and the second where its weights are at hand. arguments: all of the command line and the recipe, for the record.
    """

    output_path: Path
    clips: ClipSource
    split: str
    folds: Sequence[int] | None
    split_seed: int
    split_dir: Path | None
    group_pattern: str | None
    seeds: Sequence[int]
    teachers: Sequence[str] | None
    teacher: TeacherOptions
    temperatures: Sequence[float]
    alphas: Sequence[float]
    labels_per_class: int | None
    teacher_training: TrainingOptions
    student_training: TrainingOptions
    teacher_network: NetworkOptions
    student_network: NetworkOptions
    views: ViewOptions
    arguments: dict


def from_arguments(args: argparse.Namespace) -> Experiment:
    """The experiment that reproduce.py's command line and recipe name."""
    synthetic = {name: getattr(args, name) for name in SYNTHETIC} | {"seed": args.video_seed}
    own = (args.data, args.annotations, args.paths, args.videos)
    training = options_of(TrainingOptions, args)
    teacher_rate = args.teacher_learning_rate or args.learning_rate
    network = options_of(NetworkOptions, args)
    return Experiment(
        output_path=args.output_path,
        clips=ClipSource(*own, synthetic, args.sequence_length, args.frame_size),
        split=args.split,
        folds=args.folds,
        split_seed=args.split_seed,
        split_dir=args.split_dir,
        group_pattern=args.group_pattern,
        seeds=list(dict.fromkeys(args.seeds)),
        teachers=args.teachers and list(dict.fromkeys(args.teachers)),
        teacher=options_of(TeacherOptions, args),
        temperatures=sorted(set(args.temperatures)),
        alphas=sorted(set(args.alphas)),
        labels_per_class=args.labels_per_class,
        teacher_training=replace(training, epochs=args.teacher_epochs, learning_rate=teacher_rate),
        student_training=replace(training, epochs=args.student_epochs),
        teacher_network=replace(network, width=args.teacher_width),
        student_network=replace(network, width=args.student_width),
        views=options_of(ViewOptions, args),
        arguments=vars(args),
    )


def run(experiment: Experiment) -> dict:
    """Trains what is missing, tests it at the end, prints and writes the table; returns what results.json holds.

    Everything lies in `output_path`: a cell (one training) a folder in `cells/`, by settings, so that a killed or
    extended experiment computes only what is missing and cells of other settings are never mixed in. Test clips are
    read when all cells are trained. Raises UserError for a user's mistakes.
    """
    with exclusive_lock(experiment.output_path / ".experiment.lock", what=f"--output_path {experiment.output_path}"):
        write_json(experiment.output_path / "settings.json", plain(experiment.arguments))
        grid = make_grid(experiment, arrays(experiment.clips, experiment.output_path))
        train_missing(grid)
        test_missing(grid)
        heading("result")
        return report(grid.cells, grid.groups, experiment.arguments, experiment.output_path)


@dataclass(frozen=True)
class Grid:
    """The cells of an experiment on its arrays, each after the cell of its teacher.

    splits: by fold. groups: the group of each row of the arrays (N,), None where the clips' names show none.
    """

    experiment: Experiment
    data: DataOptions
    class_count: int
    splits: dict[str, Split]
    cells: tuple[Cell, ...]
    groups: np.ndarray | None


def make_grid(experiment: Experiment, data: DataOptions) -> Grid:
    """Every fold with every seed: the student alone, each teacher, and the students of each teacher."""
    dataset = open_clips(data.data, data.annotations, data.paths)
    return grid_of(experiment, data, dataset, dataset.fingerprint())


def grid_of(experiment: Experiment, data: DataOptions, clips: ClipDataset, fingerprint: dict) -> Grid:
    """The grid for clips of which the labels and paths are known; `fingerprint` is that of their arrays."""
    pattern = experiment.group_pattern
    data = replace(data, split_seed=experiment.split_seed, split_dir=experiment.split_dir, group_pattern=pattern)
    splits, cells = {}, []
    for fold in folds.protocols(experiment.split, experiment.folds, paths=clips.paths, group_pattern=pattern):
        split = splits[fold] = split_of(replace(data, split=fold), clips)
        rows = np.concatenate([split.train, [-1], split.validation, [-1], split.test])
        common = {
            "arrays": fingerprint,
            "split": {"protocol": split.protocol, "seed": split.split_seed, "rows": digest(rows.tobytes())},
            "versions": installed_versions(),
        }
        for seed in experiment.seeds:
            cells += cells_of(experiment, fold, seed, common)
    known = known_groups(clips, pattern)
    return Grid(experiment, data, len(clips.class_names), splits, tuple(cells), known.keys if known else None)


def cells_of(experiment: Experiment, fold: str, seed: int, common: dict) -> Iterator[Cell]:
    """The cells of one fold and seed; `common` is what the settings of all of them hold."""
    root = experiment.output_path / "cells"

    def cell(row: Row, training: TrainingOptions, network: NetworkOptions, other: dict, teacher: Cell | None = None):
        options = asdict(replace(training, seed=seed)) | asdict(network) | asdict(experiment.views) | other
        del options["tensorboard"], options["max_minutes"], options["keep_going"]  # no weight depends on them
        return Cell(row, fold, seed, common | {"role": row.role} | plain(options), root, teacher)

    def student(row: Row, teacher: Cell | None = None) -> Cell:
        other = {
            "temperature": row.temperature,
            "alpha": row.alpha,
            "labels_per_class": experiment.labels_per_class,
            "teacher": teacher.key if teacher else None,
        }
        return cell(row, experiment.student_training, experiment.student_network, other, teacher)

    yield student(Row("alone"))
    for name in teachers_of(experiment):
        other = {"task": TASKS[name]}
        if name == "sports1m":
            weights = experiment.teacher.weights
            other |= {"weights": file_fingerprint(weights) if weights else MD5, "unfreeze": experiment.teacher.unfreeze}
        teacher = cell(Row("teacher", name), experiment.teacher_training, experiment.teacher_network, other)
        yield teacher
        for temperature, alpha in itertools.product(experiment.temperatures, experiment.alphas):
            yield student(Row("distilled", name, temperature, alpha), teacher)


def teachers_of(experiment: Experiment) -> Sequence[str]:
    """The teachers asked for; by default one from scratch, and one from Sports-1M where its weights are at hand."""
    if experiment.teachers is not None:
        return experiment.teachers
    fits = experiment.teacher_network.width == 1
    at_hand = experiment.teacher.weights is not None or file_at_hand() is not None
    return ("scratch", "sports1m") if at_hand and fits else ("scratch",)


def dry_run(experiment: Experiment) -> None:
    """Prints each cell, whether it is there, and the time that the missing ones are likely to take; trains nothing.

    The time comes from a few steps of each network on random clips. Arrays that have still to be made are taken to
    hold every video.
    """
    source, folder = experiment.clips, experiment.output_path
    if (data := arrays_at_hand(source, folder)) is not None:
        grid = make_grid(experiment, data)
    else:
        data, clips = expected_clips(source, folder)
        print(f"no arrays yet: {len(clips.labels)} videos have to be read first, whose time is not in the estimate")
        grid = grid_of(experiment, data, clips, {})
    print_plan(grid)


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


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
    experiment, is_teacher = grid.experiment, cell.row.role == "teacher"
    data = replace(grid.data, split=cell.fold)
    training = experiment.teacher_training if is_teacher else experiment.student_training
    training = replace(training, seed=cell.seed)
    output = OutputOptions(cell.model_path, cell.folder / "history")
    if is_teacher:
        teacher = replace(experiment.teacher, task=TASKS[cell.row.teacher])
        trained = stages.train_teacher(
            data, training, experiment.teacher_network, teacher, output, views=experiment.views
        )
    else:
        distillation = DistillationOptions(labels_per_class=experiment.labels_per_class, alpha=1.0)
        if cell.teacher:
            row = cell.row
            distillation = replace(
                distillation, source=cell.teacher.model_path, temperature=row.temperature, alpha=row.alpha
            )
        trained = stages.train_student(
            data, training, experiment.student_network, distillation, output, views=experiment.views
        )
    validation = trained.record["validation"]
    found = {
        "validation_accuracy": validation["val_accuracy"],
        "validation_loss": validation.get("val_hard_loss", validation["val_loss"]),
        "best_epoch": trained.record["best_epoch"],
        "seconds": trained.record["seconds"],
    }
    cell.write("trained", found)


def test_missing(grid: Grid) -> None:
    """Tests each cell that has not been tested, now that nothing is left to be chosen."""
    missing = [cell for cell in grid.cells if not cell.is_tested]
    if not missing:
        return
    heading(f"test of {len(missing)} networks")
    dataset = open_clips(grid.data.data, grid.data.annotations, grid.data.paths)
    with progress(len(missing), done=0, unit="networks tested") as advance:
        for cell in missing:
            test(cell, dataset)
            advance()


def test(cell: Cell, dataset: ClipDataset) -> None:
    """Tests one cell on the clips that its record keeps for that."""
    recognizer = load_recognizer(cell.model_path, argument="--output_path")
    clips = choose_test_clips(recognizer, dataset, None)
    answers = answer(recognizer, dataset, clips, batch_size=16)
    result = result_of(answers, dataset, None)
    names = ("top1", "top5", "mean_class_accuracy", "loss", "calibration_error")
    costs = ("parameters", "multiply_accumulates", "megabytes", "clips_per_second")
    correct = correct_answers(clips.labels, answers.logits)
    found = {name: result[name] for name in (*names, *costs)}
    cell.write("tested", found | {"rows": clips.rows.tolist(), "correct": correct.astype(int).tolist()})
