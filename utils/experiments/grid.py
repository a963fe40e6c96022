"""The grid of an experiment: its settings, and the cells that they make on its arrays."""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from utils.data.clips import ClipDataset, open_clips
from utils.data.loading import split_of
from utils.experiments.arrays import ClipSource
from utils.experiments.cells import Cell, Row
from utils.experiments.given_teachers import file_of_part, parse_source
from utils.networks.sports1m import MD5, file_at_hand
from utils.networks.student_builders import source_file
from utils.runtime.devices import installed_versions
from utils.runtime.files import digest, file_fingerprint, plain
from utils.settings.arguments import options_of
from utils.settings.options import (
    TASK_FROM_SCRATCH,
    TASKS_FINE_TUNING,
    DataOptions,
    NetworkOptions,
    TeacherOptions,
    TrainingOptions,
    ViewOptions,
)
from utils.splits import folds
from utils.splits.groups import groups_or_reason
from utils.splits.protocols import Split

SYNTHETIC = ("classes", "subjects", "clips", "clutter", "noise", "jitter", "phase_spread")
TASKS = {"scratch": TASK_FROM_SCRATCH, "sports1m": TASKS_FINE_TUNING[0]}


@dataclass(frozen=True)
class Experiment:
    """What reproduce.py was asked for.

    teachers: "scratch", "sports1m"; None for the first, and the second where its weights are at hand. sources: further
    teachers, given, by name. arguments: all of the command line and the recipe, for the record.
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
    sources: dict[str, tuple[str, ...]]
    teacher: TeacherOptions
    temperatures: Sequence[float]
    alphas: Sequence[float]
    labels_per_class: int | None
    teacher_training: TrainingOptions
    student_training: TrainingOptions
    teacher_network: NetworkOptions
    student: str
    student_network: NetworkOptions
    views: ViewOptions
    fail_on_leak: bool
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
        sources=dict(map(parse_source, args.sources or ())),
        teacher=options_of(TeacherOptions, args),
        temperatures=sorted(set(args.temperatures)),
        alphas=sorted(set(args.alphas)),
        labels_per_class=args.labels_per_class,
        teacher_training=replace(training, epochs=args.teacher_epochs, learning_rate=teacher_rate),
        student_training=replace(training, epochs=args.student_epochs),
        teacher_network=replace(network, width=args.teacher_width),
        student=args.student,
        student_network=replace(network, width=args.student_width),
        views=options_of(ViewOptions, args),
        fail_on_leak=args.fail_on_leak,
        arguments=vars(args),
    )


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
    for asked in folds.protocols(experiment.split, experiment.folds, paths=clips.paths, group_pattern=pattern):
        split = split_of(replace(data, split=asked), clips)
        fold = split.protocol  # what "auto" has become
        splits[fold] = split
        rows = np.concatenate([split.train, [-1], split.validation, [-1], split.test])
        common = {
            "arrays": fingerprint,
            "split": {"protocol": split.protocol, "seed": split.split_seed, "rows": digest(rows.tobytes())},
            "versions": installed_versions(),
        }
        for seed in experiment.seeds:
            cells += cells_of(experiment, fold, seed, common)
    known, _ = groups_or_reason(clips.paths, pattern)
    return Grid(experiment, data, len(clips.class_names), splits, tuple(cells), known.keys if known else None)


def cells_of(experiment: Experiment, fold: str, seed: int, common: dict) -> Iterator[Cell]:
    """The cells of one fold and seed; `common` is what the settings of all of them hold."""
    root = experiment.output_path / "cells"

    def cell(row: Row, training: TrainingOptions, network: NetworkOptions, other: dict, teacher: Cell | None = None):
        options = asdict(replace(training, seed=seed)) | asdict(network) | asdict(experiment.views) | other
        del options["tensorboard"], options["max_minutes"], options["keep_going"]  # no weight depends on them
        return Cell(row, fold, seed, common | {"role": row.role} | plain(options), root, teacher)

    code = source_file(experiment.student)

    def student(row: Row, teacher: Cell | None = None) -> Cell:
        other = {
            "temperature": row.temperature,
            "alpha": row.alpha,
            "labels_per_class": experiment.labels_per_class,
            "teacher": teacher.key if teacher else None,
            "student": experiment.student,
            "student_code": file_fingerprint(code) if code else None,
        }
        return cell(row, experiment.student_training, experiment.student_network, other, teacher)

    yield student(Row("alone"))
    teachers = {}
    for name in teachers_of(experiment):
        other = {"task": TASKS[name]}
        if name == "sports1m":
            weights = experiment.teacher.weights
            other |= {"weights": file_fingerprint(weights) if weights else MD5, "unfreeze": experiment.teacher.unfreeze}
        teachers[name] = cell(Row("teacher", name), experiment.teacher_training, experiment.teacher_network, other)
    for name, parts in experiment.sources.items():
        sources = tuple(teachers[part] if part in teachers else file_of_part(part, fold, seed) for part in parts)
        keys = [part.key if isinstance(part, Cell) else file_fingerprint(part) for part in sources]
        settings = common | {"role": "teacher", "sources": keys}
        teachers[name] = Cell(Row("teacher", name), fold, seed, settings, root, sources=sources)
    for name, teacher in teachers.items():
        yield teacher
        for temperature, alpha in itertools.product(experiment.temperatures, experiment.alphas):
            yield student(Row("distilled", name, temperature, alpha), teacher)


def teachers_of(experiment: Experiment) -> Sequence[str]:
    """The teachers asked for; by default one from scratch, and one from Sports-1M where its weights are at hand."""
    if experiment.teachers is not None:
        return [name for name in experiment.teachers if name != "none"]
    fits = experiment.teacher_network.width == 1
    at_hand = experiment.teacher.weights is not None or file_at_hand() is not None
    return ("scratch", "sports1m") if at_hand and fits else ("scratch",)
