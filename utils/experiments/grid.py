"""The settings of an experiment, and the grid of cells that they define."""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models.c3d import CONVOLUTIONS
from utils.base.argument_types import SCORES_SUFFIX
from utils.base.arguments import options_of
from utils.base.files import digest, file_fingerprint, plain
from utils.base.frame_students import settle_frame_student
from utils.base.machine import installed_versions
from utils.base.options import (
    TASKS_FINE_TUNING,
    DataOptions,
    DistillationOptions,
    NetworkOptions,
    TeacherOptions,
    TrainingOptions,
    ViewOptions,
)
from utils.data import folds
from utils.data.clips import ClipDataset, FrameFile, open_clips
from utils.data.groups import groups_or_reason
from utils.data.protocols import Split
from utils.experiments.arrays import ArrayOrigin
from utils.experiments.cells import Cell, Row
from utils.experiments.given_teachers import file_of_part, key_of_parts, parse_source
from utils.networks.averaging import AveragedViews
from utils.networks.sports1m import MD5, file_at_hand
from utils.networks.student_builders import student_files, teacher_code
from utils.runs.identity import VERSIONS, weight_settings
from utils.runs.loading import split_of

SYNTHETIC = ("classes", "subjects", "clips", "clutter", "noise", "jitter", "phase_spread")


@dataclass(frozen=True)
class Experiment:
    """The settings of reproduce.py.

    teachers: "scratch", "sports1m"; None for the first, and the second if its weights are available. given_teachers:
    the parts of each given teacher by name. distillation: all but temperature, alpha and teacher, which the grid
    varies. arguments: all arguments of the command line and the recipe, for the record. test_views: views per clip
    whose probabilities are averaged in the test.
    """

    output_path: Path
    origin: ArrayOrigin
    split: str
    folds: Sequence[int] | None
    split_seed: int
    split_dir: Path | None
    group_pattern: str | None
    seeds: Sequence[int]
    teachers: Sequence[str] | None
    given_teachers: dict[str, tuple[str, ...]]
    teacher: TeacherOptions
    distillation: DistillationOptions
    temperatures: Sequence[float]
    alphas: Sequence[float]
    teacher_training: TrainingOptions
    student_training: TrainingOptions
    teacher_network: NetworkOptions
    student_network: NetworkOptions
    views: ViewOptions
    fail_on_leak: bool
    arguments: dict
    test_views: int = 1


def from_arguments(args: argparse.Namespace) -> Experiment:
    """Make an Experiment from the arguments of reproduce.py. Raises UserError if those of the student contradict."""
    settle_frame_student(args, width=args.student_width)  # again, for arguments that reproduce.py has not parsed
    synthetic = {name: getattr(args, name) for name in SYNTHETIC} | {"seed": args.video_seed}
    own = (args.data, args.annotations, args.paths, args.videos)
    training = options_of(TrainingOptions, args)
    teacher_rate = args.teacher_learning_rate or args.learning_rate
    network = options_of(NetworkOptions, args)
    return Experiment(
        output_path=args.output_path,
        origin=ArrayOrigin(*own, synthetic, args.sequence_length, args.frame_size, args.follow_links),
        split=args.split,
        folds=args.folds,
        split_seed=args.split_seed,
        split_dir=args.split_dir,
        group_pattern=args.group_pattern,
        seeds=list(dict.fromkeys(args.seeds)),
        teachers=args.teachers and list(dict.fromkeys(args.teachers)),
        given_teachers=dict(map(parse_source, args.sources or ())),
        teacher=replace(options_of(TeacherOptions, args), task=TASKS_FINE_TUNING[0]),
        distillation=options_of(DistillationOptions, args),
        temperatures=sorted(set(args.temperatures)),
        alphas=sorted(set(args.alphas)),
        teacher_training=replace(training, epochs=args.teacher_epochs, learning_rate=teacher_rate, backbone_rate=1.0),
        student_training=replace(training, epochs=args.student_epochs),
        teacher_network=replace(network, width=args.teacher_width),
        student_network=replace(network, width=args.student_width, input_frames=args.student_frames),
        views=options_of(ViewOptions, args),
        fail_on_leak=args.fail_on_leak,
        arguments=vars(args),
        test_views=args.test_views,
    )


@dataclass(frozen=True)
class Grid:
    """The cells of an experiment on its arrays, each after the cell of its teacher.

    splits: the split of each fold. groups: the group of each row of the arrays (N,), None if unknown.
    """

    experiment: Experiment
    data: DataOptions
    splits: dict[str, Split]
    cells: tuple[Cell, ...]
    groups: np.ndarray | None


def make_grid(experiment: Experiment, data: DataOptions) -> Grid:
    """Make the grid of an experiment on existing arrays."""
    dataset = open_clips(data.data, data.annotations, data.paths)
    return grid_of(experiment, data, dataset, dataset.fingerprint())


def grid_of(experiment: Experiment, data: DataOptions, clips: ClipDataset, fingerprint: dict) -> Grid:
    """Make the grid from labels and paths of clips, which need no frames; `fingerprint` is that of their arrays."""
    pattern = experiment.group_pattern
    data = replace(data, split_seed=experiment.split_seed, split_dir=experiment.split_dir, group_pattern=pattern)
    splits, cells = {}, []
    unlabelled = [FrameFile(path, "--unlabelled").fingerprint() for path in experiment.distillation.unlabelled]
    for asked in folds.protocols(experiment.split, experiment.folds, paths=clips.paths, group_pattern=pattern):
        split = split_of(replace(data, split=asked), clips)
        fold = split.protocol  # "auto" resolved
        splits[fold] = split
        rows = np.concatenate([split.train, [-1], split.validation, [-1], split.test])
        common = {
            "arrays": fingerprint,
            "split": {"protocol": split.protocol, "seed": split.split_seed, "rows": digest(rows.tobytes())},
            "versions": installed_versions() | VERSIONS,
        }
        for seed in experiment.seeds:
            cells += cells_of(experiment, fold, seed, common, unlabelled)
    groups, _ = groups_or_reason(clips.paths, pattern)
    return Grid(experiment, data, splits, tuple(cells), groups.keys if groups else None)


def cells_of(experiment: Experiment, fold: str, seed: int, common: dict, unlabelled: Sequence[dict]) -> Iterator[Cell]:
    """Yield the cells of one fold and seed, each after its teacher; all of their settings include `common`.

    `unlabelled` holds the fingerprints of the unlabelled clips, by file, from which students learn.
    """
    tested = AveragedViews(experiment.test_views, replace(experiment.views, views=0))

    def cell(row: Row, options: dict, inputs: dict, **parents) -> Cell:
        settings = common | {"role": row.role} | plain(weight_settings(options.values())) | inputs
        return Cell(row, fold, seed, settings, experiment.output_path / "cells", options, **parents, views=tested)

    student_inputs = dict(zip(("code", "student_weights"), student_files(experiment.distillation).values()))
    if unlabelled:
        student_inputs["unlabelled"] = unlabelled

    def student(row: Row, teacher_cell: Cell | None = None, **distillation) -> Cell:
        if not any(path.suffix == SCORES_SUFFIX for path in distillation.get("source", ())):
            distillation["source_scores"] = "auto"  # has no effect
        options = {
            "training": replace(experiment.student_training, seed=seed),
            "network": experiment.student_network,
            "views": effective_views(experiment.views),
            "distillation": replace(experiment.distillation, **distillation),
        }
        teacher = {"teacher": teacher_cell.key if teacher_cell else None}
        return cell(row, options, student_inputs | teacher, teacher_cell=teacher_cell)

    yield student(Row("alone"), alpha=1.0)
    teachers = {}
    for name in teachers_of(experiment):
        options = {
            "training": replace(experiment.teacher_training, seed=seed),
            "network": experiment.teacher_network,
            "views": views_of_teacher(experiment, name),
            "teacher": TeacherOptions() if name == "scratch" else experiment.teacher,
        }
        inputs = {"code": teacher_code(), "weights": None}
        if name == "sports1m":
            file = experiment.teacher.weights
            inputs["weights"] = file_fingerprint(file) if file else MD5
        teachers[name] = cell(Row("teacher", name), options, inputs)
    for name, parts in experiment.given_teachers.items():
        files = tuple(teachers[part] if part in teachers else file_of_part(part, fold, seed) for part in parts)
        inputs = key_of_parts(files, experiment.distillation.source_scores)
        teachers[name] = cell(Row("teacher", name), {}, inputs, parts=files)
    for name, teacher in teachers.items():
        yield teacher
        for temperature, alpha in itertools.product(experiment.temperatures, experiment.alphas):
            row = Row("distilled", name, temperature, alpha)
            files = teacher.teaching_files
            yield student(row, teacher_cell=teacher, source=files, temperature=temperature, alpha=alpha)


def effective_views(views: ViewOptions) -> ViewOptions:
    """Reset the seed and flips of `views` if there are no augmented views, so that they do not change keys."""
    return views if views.views else ViewOptions(views=0)


def views_of_teacher(experiment: Experiment, name: str) -> ViewOptions:
    """Return the view options of a trained teacher: new views in each epoch, or view 0 only below frozen layers."""
    is_frozen = name == "sports1m" and experiment.teacher.unfreeze != CONVOLUTIONS[0]
    return effective_views(replace(experiment.views, views=0 if is_frozen else min(experiment.views.views, 1)))


def teachers_of(experiment: Experiment) -> Sequence[str]:
    """Return the teachers to train: by default from scratch, and from Sports-1M if its weights are available."""
    if experiment.teachers is not None:
        return [name for name in experiment.teachers if name != "none"]
    are_available = experiment.teacher.weights is not None or file_at_hand() is not None
    return ("scratch", "sports1m") if are_available and experiment.teacher_network.width == 1 else ("scratch",)
