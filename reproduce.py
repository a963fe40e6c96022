"""Train and test teachers, the student alone and distilled students, and write the table that compares them."""

import argparse
import sys
from pathlib import Path

from utils.base import arguments, cli
from utils.base.argument_types import existing_folder, input_size, output_folder, positive_int
from utils.base.frame_students import settle_frame_student
from utils.base.options import (
    LABELS_FILE,
    TRAINED_TEACHERS,
    DataOptions,
    DistillationOptions,
    NetworkOptions,
    TeacherOptions,
    TrainingOptions,
)
from utils.base.parser import ArgumentParser
from utils.base.setting import add_setting
from utils.data.folds import REPEATED_PROTOCOLS
from utils.runs.files import check_experiment

RECIPES = Path(__file__).parent / "recipes"


def make_parser() -> ArgumentParser:
    parser = ArgumentParser(
        f"{__doc__} Uses built-in synthetic videos, or your own with --videos or --data. Finished runs are kept: "
        "rerun the same command to resume, or rerun it with more seeds or temperatures to train the missing models.",
        examples=(
            "python reproduce.py --seeds 0 1 2",
            "python reproduce.py --videos Datasets/UCF11 --output_path results --dry_run",
        ),
        docs="docs/experiments.md",
    )
    arguments.add_recipe_argument(parser, default="; by default recipes/demo.yaml, or default.yaml for your own data")
    parser.add_argument("--output_path", type=output_folder, default="demo", help="folder for all output")
    arguments.add_overwrite_argument(parser)
    parser.add_argument("--dry_run", action="store_true", help="list the training runs and their states")
    add_setting(
        parser,
        DistillationOptions,
        "fail_on_leak",
        help="fail if test and training clips share anything, or if --sources may have seen test clips",
    )
    own = parser.add_argument_group("your own data, instead of synthetic videos")
    own.add_argument("--videos", type=existing_folder, help="folder with one subfolder of videos per class")
    own.add_argument(
        "--follow_links", action="store_true", help="also read videos that links name outside the folder of --videos"
    )
    for name in ("data", "annotations", "paths"):
        add_setting(own, DataOptions, name, default=None)
    own.add_argument("--sequence_length", type=positive_int, default=16, help="frames per clip")
    own.add_argument("--frame_size", type=input_size, default=(112, 112), help="SIDE or HEIGHTxWIDTH in pixels")
    arguments.add_synthetic_arguments(parser)
    arguments.add_split_arguments(parser, default=DataOptions.split)
    add_grid_arguments(parser)
    network = parser.add_argument_group("models")
    add_setting(network, NetworkOptions, "input_size")
    add_setting(network, NetworkOptions, "width", called="teacher_width", help="width multiplier of C3D")
    arguments.add_student_argument(network)
    add_setting(network, NetworkOptions, "input_frames", called="student_frames", help="frames per clip of the student")
    add_setting(network, NetworkOptions, "width", called="student_width", help="width multiplier of the student")
    add_setting(network, NetworkOptions, "dropout")
    arguments.add_training_arguments(parser, for_grid=True)
    training = parser.add_argument_group("training of teacher and student")
    add_setting(training, TrainingOptions, "epochs", called="teacher_epochs")
    add_setting(training, TrainingOptions, "epochs", called="student_epochs")
    rate = {"default": None, "help": "by default --learning_rate"}
    add_setting(training, TrainingOptions, "learning_rate", called="teacher_learning_rate", **rate)
    arguments.add_view_arguments(parser)
    return parser


def add_grid_arguments(parser: argparse.ArgumentParser) -> None:
    """Teachers, folds, seeds and the settings of distillation."""
    grid = parser.add_argument_group("grid of training runs")
    grid.add_argument("--folds", type=positive_int, nargs="+", help=f"only these folds of --split {REPEATED_PROTOCOLS}")
    seeds = {"default": [TrainingOptions.seed], "help": "training seeds, one training each"}
    add_setting(grid, TrainingOptions, "seed", called="seeds", nargs="+", **seeds)
    test_views = "views per clip whose probabilities are averaged in the test, for every row; 1: the whole clip"
    grid.add_argument("--test_views", type=positive_int, default=1, help=test_views)
    grid.add_argument(
        "--teachers",
        choices=[*TRAINED_TEACHERS, "none"],
        nargs="+",
        help="teachers to train; by default scratch, and sports1m if its weights are available",
    )
    grid.add_argument(
        "--sources",
        nargs="+",
        metavar="NAME=FILE",
        help="teachers that are not trained: models or .npy scores, FILE,FILE averages; {fold} and {seed} are replaced",
    )
    add_setting(grid, DistillationOptions, "source_scores")
    add_setting(grid, TeacherOptions, "weights")
    add_setting(grid, TeacherOptions, "unfreeze")
    temperatures = {"default": [1.0, 5.0, 10.0, 15.0, 20.0], "help": "distillation temperatures"}
    add_setting(grid, DistillationOptions, "temperature", called="temperatures", nargs="+", **temperatures)
    alphas = {"default": [DistillationOptions.alpha], "help": "weights of the hard loss"}
    add_setting(grid, DistillationOptions, "alpha", called="alphas", nargs="+", **alphas)
    add_setting(grid, DistillationOptions, "labels_per_class")
    arguments.add_unlabelled_argument(grid)


def parse_arguments() -> argparse.Namespace:
    """Parse the arguments of the recipe, overridden by those of the command line."""
    parser = make_parser()
    has_own_data = any(text.partition("=")[0] in ("--videos", "--data") for text in sys.argv)
    settings = parser.parse_args(default_recipe=RECIPES / ("default.yaml" if has_own_data else "demo.yaml"))
    if settings.videos and settings.data:
        parser.error("--videos and --data exclude each other; expected one of them, got both")
    if settings.annotations and not settings.data:
        parser.error("--annotations: must go with --data, got none")
    if settings.data and not settings.annotations:
        settings.annotations = settings.data.with_name(LABELS_FILE)
    if settings.weights and "sports1m" not in (settings.teachers or TRAINED_TEACHERS):
        parser.error(f"--weights goes with --teachers sports1m, got --teachers {' '.join(settings.teachers)}")
    arguments.check_source_scores(parser, settings.source_scores, ",".join(settings.sources or ()).split(","))
    settle_frame_student(settings, width=settings.student_width)
    return settings


def main() -> None:
    settings = parse_arguments()
    check_experiment(settings)
    cli.start_tensorflow()
    from utils.experiments import run as experiment
    from utils.experiments.grid import from_arguments

    print(f"recipe: {settings.config}")
    run = experiment.dry_run if settings.dry_run else experiment.run
    run(from_arguments(settings))


if __name__ == "__main__":
    cli.run(main)
