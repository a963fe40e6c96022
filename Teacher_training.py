"""Stage 2: train a C3D teacher, from scratch or from Sports-1M weights."""

import argparse

from utils.settings import arguments, cli, outputs
from utils.settings.argument_types import existing_file, output_model
from utils.settings.options import (
    TASK_FROM_SCRATCH,
    TASKS_FINE_TUNING,
    DataOptions,
    NetworkOptions,
    OutputOptions,
    TeacherOptions,
    TrainingOptions,
    ViewOptions,
)

TASKS = (TASK_FROM_SCRATCH, *TASKS_FINE_TUNING)


def parse_arguments() -> argparse.Namespace:
    parser = cli.ArgumentParser(__doc__)
    arguments.add_data_arguments(parser)
    arguments.add_split_arguments(parser, default="auto")
    teacher = parser.add_argument_group("teacher")
    teacher.add_argument(
        "--task", choices=TASKS, default=TASKS[0], help="train from scratch, or fine-tune from Sports-1M weights"
    )
    teacher.add_argument("--weights", type=existing_file, help="Sports-1M weights (.h5); downloaded once by default")
    teacher.add_argument("--unfreeze", metavar="LAYER", default="fc8", help="first layer that fine-tuning trains")
    arguments.add_model_arguments(parser)
    arguments.add_training_arguments(parser, epochs=TrainingOptions.epochs)
    arguments.add_view_arguments(parser, views_help="0: no augmentation; otherwise a new view per clip and epoch")
    output = parser.add_argument_group("output")
    output.add_argument("--output_path", type=output_model, default="trained_models/teacher.keras", help="the model")
    arguments.add_log_argument(output)
    arguments.add_overwrite_argument(output)
    args = parser.parse_args()
    if args.weights is not None and args.task == TASKS[0]:
        parser.error(f"--weights: must go with --task {TASKS[1]}, got --task {args.task}")
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
    outputs.check_training(
        **{name: settings[name] for name in ("output", "data", "training", "teacher")}, kinds=["C3D teacher"]
    )
    cli.start_tensorflow()
    from utils import stages

    stages.train_teacher(**settings)


if __name__ == "__main__":
    cli.run(main)
