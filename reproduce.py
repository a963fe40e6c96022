"""All stages in one command: videos to a teacher, a student alone, a distilled student, and their comparison."""

import argparse
import sys
from pathlib import Path

from utils import cli

RECIPES = Path(__file__).parent / "recipes"


def make_parser() -> argparse.ArgumentParser:
    parser = cli.ArgumentParser(
        f"{__doc__} With no arguments on built-in synthetic videos; with --videos or --data on your own."
    )
    parser.add_argument(
        "--config", type=cli.existing_file, help="a recipe; by default demo.yaml, or default.yaml on own data"
    )
    parser.add_argument(
        "--output_path", type=cli.output_folder, default="demo", help="folder for everything that is made"
    )
    parser.add_argument("--seeds", type=cli.seed, nargs="+", default=[0], help="repeats all trainings with each seed")
    own = parser.add_argument_group("own data, instead of synthetic videos")
    own.add_argument("--videos", type=cli.existing_folder, help="folder of class folders of videos")
    own.add_argument("--data", type=cli.existing_file, help="frames.npy of video_to_frames.py")
    own.add_argument("--annotations", type=cli.existing_file, help="labels.npy of video_to_frames.py")
    own.add_argument("--paths", type=cli.existing_file, help="video_file_paths.npy; by default the one beside --data")
    synthetic = parser.add_argument_group("synthetic videos")
    synthetic.add_argument("--classes", type=cli.positive_int, default=10, help="kinds of action, an even number")
    synthetic.add_argument("--subjects", type=cli.positive_int, default=10, help="people; test people are never seen")
    synthetic.add_argument("--clips", type=cli.positive_int, default=6, help="clips of each action by each person")
    synthetic.add_argument("--video_seed", type=cli.seed, default=0, help="what the videos look like")
    synthetic.add_argument("--clutter", type=cli.non_negative_float, default=1.0, help="strength of the backdrop")
    synthetic.add_argument("--noise", type=cli.non_negative_float, default=5.0, help="of the sensor, in grey levels")
    synthetic.add_argument("--jitter", type=cli.non_negative_float, default=1.0, help="shaking of the camera")
    synthetic.add_argument(
        "--phase_spread", type=cli.share, default=0.25, help="1: a motion starts anywhere in its loop"
    )
    extraction = parser.add_argument_group("extraction")
    extraction.add_argument("--sequence_length", type=cli.positive_int, default=16, help="frames a clip")
    extraction.add_argument("--frame_size", type=cli.input_size, default="112", help="SIDE or HEIGHTxWIDTH, pixels")
    cli.add_split_arguments(parser, default="auto")
    training = parser.add_argument_group("training")
    training.add_argument(
        "--input_size", type=cli.input_size, default="112", help="SIDE or HEIGHTxWIDTH of the networks"
    )
    training.add_argument("--teacher_width", type=cli.positive_float, default=1.0, help="multiplies C3D's filters")
    training.add_argument(
        "--student_width", type=cli.positive_float, default=1.0, help="multiplies the student's filters"
    )
    training.add_argument("--dropout", type=cli.share, default=1.0, help="multiplies the dropout rates of both")
    training.add_argument("--teacher_epochs", type=cli.positive_int, default=50, help="passes over the training clips")
    training.add_argument("--student_epochs", type=cli.positive_int, default=100, help="passes over the training clips")
    training.add_argument("--batch_size", type=cli.positive_int, default=8, help="clips a step")
    training.add_argument("--learning_rate", type=cli.positive_float, default=3e-4, help="the peak rate")
    training.add_argument("--temperature", type=cli.positive_float, default=10.0, help="softens both outputs")
    training.add_argument("--alpha", type=cli.share, default=0.1, help="weight of the labels in distillation")
    training.add_argument("--labels_per_class", type=cli.positive_int, help="so many labels for the students")
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
    from utils.recipes import arguments_of_recipe

    settings = parser.parse_args([*arguments_of_recipe(recipe, set(vars(typed)) - {"config"}), *sys.argv[1:]])
    settings.config = recipe
    return settings


def main() -> None:
    settings = parse_arguments()
    cli.start_tensorflow()
    from utils import experiment

    experiment.run(experiment.Experiment(**vars(settings)))


if __name__ == "__main__":
    cli.run(main)
