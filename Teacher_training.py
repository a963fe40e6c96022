"""Stage 2: train a C3D teacher, from scratch or from Sports-1M weights, or fit an image teacher."""

import argparse

from utils.base import arguments, cli
from utils.base.options import (
    TASK_FROM_SCRATCH,
    TASK_PROBE,
    TASKS_FINE_TUNING,
    DataOptions,
    NetworkOptions,
    OutputOptions,
    TeacherOptions,
    TrainingOptions,
    ViewOptions,
)
from utils.base.parser import ArgumentParser
from utils.base.setting import add_settings
from utils.runs.files import check_training


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(
        __doc__,
        examples=(
            "python Teacher_training.py --data arrays --output_path teacher.keras",
            f"python Teacher_training.py --data arrays --task {TASK_PROBE} --input_frames 4 --input_size 224",
        ),
        docs="docs/method.md",
    )
    arguments.add_recipe_argument(parser)
    arguments.add_data_arguments(parser)
    arguments.add_split_arguments(parser, default=DataOptions.split)
    add_settings(parser.add_argument_group("teacher"), TeacherOptions)
    arguments.add_model_arguments(parser)
    arguments.add_training_arguments(parser)
    arguments.add_view_arguments(parser, views_help="0: no augmentation; otherwise a new view per clip and epoch")
    arguments.add_output_arguments(parser, output_path="trained_models/teacher.keras")
    args = parser.parse_args()
    if args.weights is not None and args.task not in TASKS_FINE_TUNING:
        parser.error(f"--weights: must go with --task {TASKS_FINE_TUNING[0]}, got --task {args.task}")
    if args.initial_weights is not None and args.task != TASK_FROM_SCRATCH:
        parser.error(f"--initial_weights: must go with --task {TASK_FROM_SCRATCH}, got --task {args.task}")
    return args


def main() -> None:
    args = parse_arguments()
    settings = arguments.settings_by_name(
        args,
        data=DataOptions,
        training=TrainingOptions,
        views=ViewOptions,
        network=NetworkOptions,
        teacher=TeacherOptions,
        output=OutputOptions,
    )
    check_training(args, ["image teacher" if args.task == TASK_PROBE else "C3D teacher"])
    cli.start_tensorflow()
    from utils.training.stages import train_teacher

    train_teacher(**settings)


if __name__ == "__main__":
    cli.run(main)
