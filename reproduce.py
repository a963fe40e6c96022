"""The result table in one command: teachers, the student alone, and students distilled from each teacher."""

import argparse
import sys
from pathlib import Path

from utils.settings import argument_types, arguments, cli
from utils.settings.options import TRAINED_TEACHERS
from utils.splits.folds import ALL_FOLDS

RECIPES = Path(__file__).parent / "recipes"


def make_parser() -> argparse.ArgumentParser:
    parser = cli.ArgumentParser(
        f"{__doc__} With no arguments on built-in synthetic videos; with --videos or --data on your own. Each finished "
        "training is kept: the same command continues, and with one more seed or temperature trains only what is new."
    )
    parser.add_argument(
        "--config",
        type=argument_types.existing_file,
        help="a recipe; by default demo.yaml, or default.yaml on own data",
    )
    parser.add_argument(
        "--output_path", type=argument_types.output_folder, default="demo", help="folder for all that is made"
    )
    parser.add_argument("--dry_run", action="store_true", help="lists the trainings with an estimate of their time")
    parser.add_argument("--fail_on_leak", action="store_true", help="refuses to train if test clips leak into training")
    own = parser.add_argument_group("own data, instead of synthetic videos")
    own.add_argument("--videos", type=argument_types.existing_folder, help="folder of class folders of videos")
    own.add_argument("--data", type=argument_types.existing_file, help="frames.npy of video_to_frames.py")
    own.add_argument("--annotations", type=argument_types.existing_file, help="labels.npy of video_to_frames.py")
    own.add_argument(
        "--paths", type=argument_types.existing_file, help="video_file_paths.npy; by default the one beside --data"
    )
    arguments.add_synthetic_arguments(parser)
    extraction = parser.add_argument_group("extraction")
    extraction.add_argument("--sequence_length", type=argument_types.positive_int, default=16, help="frames a clip")
    extraction.add_argument(
        "--frame_size", type=argument_types.input_size, default="112", help="SIDE or HEIGHTxWIDTH, pixels"
    )
    arguments.add_split_arguments(parser, default="auto")
    grid = parser.add_argument_group("what is trained")
    grid.add_argument(
        "--folds", type=argument_types.positive_int, nargs="+", help=f"only these folds; --split {ALL_FOLDS}"
    )
    grid.add_argument(
        "--seeds",
        type=argument_types.seed,
        nargs="+",
        default=[0],
        help="initialisation, order and dropout of a training each",
    )
    grid.add_argument(
        "--teachers", choices=[*TRAINED_TEACHERS, "none"], nargs="+", help="by default scratch, and sports1m if at hand"
    )
    grid.add_argument(
        "--sources", nargs="+", help="further teachers as NAME=FILE: a model or .npy scores; FILE,FILE are averaged"
    )
    grid.add_argument(
        "--weights", type=argument_types.existing_file, help="Sports-1M weights (.h5); else the downloaded ones"
    )
    grid.add_argument("--unfreeze", default="fc8", help="fine-tuning from Sports-1M trains from this layer up")
    grid.add_argument(
        "--temperatures",
        type=argument_types.positive_float,
        nargs="+",
        default=[1, 5, 10, 15, 20],
        help="of distillation",
    )
    grid.add_argument("--alphas", type=argument_types.share, nargs="+", default=[0.1], help="weights of the labels")
    grid.add_argument("--labels_per_class", type=argument_types.positive_int, help="so many labels for the students")
    network = parser.add_argument_group("networks")
    network.add_argument(
        "--input_size", type=argument_types.input_size, default="112", help="SIDE or HEIGHTxWIDTH, pixels"
    )
    network.add_argument(
        "--teacher_width", type=argument_types.positive_float, default=1.0, help="multiplies C3D's filters"
    )
    network.add_argument("--student", type=argument_types.student, default="compact3d", help=cli.STUDENT_HELP)
    network.add_argument(
        "--student_width", type=argument_types.positive_float, default=1.0, help="multiplies the student's"
    )
    network.add_argument(
        "--dropout", type=argument_types.share, default=1.0, help="multiplies the dropout rates of both"
    )
    arguments.add_training_arguments(parser, several=True)
    views_help = "views of each clip that students learn from, beside the whole one"
    arguments.add_view_arguments(parser, views_help=views_help)
    training = parser.add_argument_group("training, by network")
    training.add_argument("--teacher_epochs", type=argument_types.positive_int, default=50, help=arguments.EPOCHS_HELP)
    training.add_argument("--student_epochs", type=argument_types.positive_int, default=100, help=arguments.EPOCHS_HELP)
    training.add_argument(
        "--teacher_learning_rate", type=argument_types.positive_float, help="by default --learning_rate"
    )
    return parser


def parse_arguments() -> argparse.Namespace:
    """The recipe's settings, with those of the command line over them."""
    parser = make_parser()
    typed = parser.parse_args()
    if typed.videos and typed.data:
        parser.error("--videos and --data are two ways to name the same thing; expected one of them, got both")
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
    cli.start_tensorflow()
    from utils.experiments import run as experiment
    from utils.experiments.grid import from_arguments

    (experiment.dry_run if settings.dry_run else experiment.run)(from_arguments(settings))


if __name__ == "__main__":
    cli.run(main)
