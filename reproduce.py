"""Train and test teachers, the student alone and distilled students, and write the table that compares them."""

import argparse
import sys
from pathlib import Path

from utils.settings import arguments, cli, outputs
from utils.settings.argument_types import (
    existing_file,
    existing_folder,
    input_size,
    output_folder,
    positive_float,
    positive_int,
    seed,
    share,
)
from utils.settings.options import TRAINED_TEACHERS
from utils.splits.folds import REPEATED_PROTOCOLS

RECIPES = Path(__file__).parent / "recipes"


def make_parser() -> argparse.ArgumentParser:
    parser = cli.ArgumentParser(
        f"{__doc__} Uses built-in synthetic videos, or your own with --videos or --data. Finished trainings are kept: "
        "rerun the same command to resume, or rerun it with more seeds or temperatures to train the missing networks."
    )
    parser.add_argument(
        "--config", type=existing_file, help="recipe; by default recipes/demo.yaml, or default.yaml for your own data"
    )
    parser.add_argument("--output_path", type=output_folder, default="demo", help="folder for all output")
    parser.add_argument("--dry_run", action="store_true", help="list the trainings with an estimate of their time")
    parser.add_argument("--fail_on_leak", action="store_true", help="fail if test and training clips share anything")
    own = parser.add_argument_group("your own data, instead of synthetic videos")
    own.add_argument("--videos", type=existing_folder, help="folder with one subfolder of videos per class")
    own.add_argument("--data", type=existing_file, help="frames.npy written by video_to_frames.py")
    own.add_argument("--annotations", type=existing_file, help="labels.npy next to it")
    own.add_argument("--paths", type=existing_file, help="video_file_paths.npy, by default the one next to --data")
    own.add_argument("--sequence_length", type=positive_int, default=16, help="frames per clip")
    own.add_argument("--frame_size", type=input_size, default="112", help="SIDE or HEIGHTxWIDTH in pixels")
    arguments.add_synthetic_arguments(parser)
    arguments.add_split_arguments(parser, default="auto")
    add_grid_arguments(parser)
    network = parser.add_argument_group("networks")
    network.add_argument("--input_size", type=input_size, default="112", help="SIDE or HEIGHTxWIDTH in pixels")
    network.add_argument("--teacher_width", type=positive_float, default=1.0, help="width multiplier of C3D")
    arguments.add_student_argument(network)
    network.add_argument("--student_width", type=positive_float, default=1.0, help="width multiplier of the student")
    network.add_argument("--dropout", type=share, default=1.0, help="multiplier of the dropout rates")
    arguments.add_training_arguments(parser, epochs=None)
    training = parser.add_argument_group("training of teacher and student")
    training.add_argument("--teacher_epochs", type=positive_int, default=50, help=arguments.EPOCHS_HELP)
    training.add_argument("--student_epochs", type=positive_int, default=100, help=arguments.EPOCHS_HELP)
    training.add_argument("--teacher_learning_rate", type=positive_float, help="by default --learning_rate")
    arguments.add_view_arguments(parser, views_help=arguments.VIEWS_HELP)
    return parser


def add_grid_arguments(parser: argparse.ArgumentParser) -> None:
    """Teachers, folds, seeds and the settings of distillation."""
    grid = parser.add_argument_group("grid of trainings")
    grid.add_argument("--folds", type=positive_int, nargs="+", help=f"only these folds of --split {REPEATED_PROTOCOLS}")
    grid.add_argument("--seeds", type=seed, nargs="+", default=[0], help="training seeds, one training each")
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
    grid.add_argument("--weights", type=existing_file, help="Sports-1M weights (.h5); the downloaded ones by default")
    grid.add_argument("--unfreeze", metavar="LAYER", default="fc8", help="first layer that fine-tuning trains")
    grid.add_argument(
        "--temperatures", type=positive_float, nargs="+", default=[1, 5, 10, 15, 20], help="distillation temperatures"
    )
    grid.add_argument("--alphas", type=share, nargs="+", default=[0.1], help="weights of the hard loss")
    grid.add_argument(
        "--labels_per_class", type=positive_int, help="number of labelled clips per class available to the students"
    )
    arguments.add_unlabelled_argument(grid)


def parse_arguments() -> argparse.Namespace:
    """Parse the arguments of the recipe, overridden by those of the command line."""
    parser = make_parser()
    typed = parser.parse_args()
    if typed.videos and typed.data:
        parser.error("--videos and --data exclude each other; expected one of them, got both")
    if bool(typed.data) != bool(typed.annotations):
        parser.error("--data and --annotations go together, got only one of them")
    own_data = typed.videos or typed.data
    recipe = typed.config or RECIPES / ("default.yaml" if own_data else "demo.yaml")
    from utils.settings.recipes import arguments_of_recipe

    settings = parser.parse_args([*arguments_of_recipe(recipe, set(vars(typed)) - {"config"}), *sys.argv[1:]])
    settings.config = recipe
    if settings.weights and "sports1m" not in (settings.teachers or TRAINED_TEACHERS):
        parser.error(f"--weights goes with --teachers sports1m, got --teachers {' '.join(settings.teachers)}")
    return settings


def main() -> None:
    settings = parse_arguments()
    outputs.check_experiment(settings)
    cli.start_tensorflow()
    from utils.experiments import run as experiment
    from utils.experiments.grid import from_arguments

    run = experiment.dry_run if settings.dry_run else experiment.run
    run(from_arguments(settings))


if __name__ == "__main__":
    cli.run(main)
