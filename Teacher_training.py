"""Stage 2: arrays to a C3D teacher, from scratch or fine-tuned from Sports-1M weights."""

import argparse
from pathlib import Path

from utils import cli

TASKS = ["train_local_teacher", "fintuning_C3D_Sports1M", "finetuning_C3D_Sports1M"]


def parse_arguments() -> argparse.Namespace:
    parser = cli.ArgumentParser(__doc__)
    cli.add_data_arguments(parser)
    cli.add_split_arguments(parser, default="auto")
    cli.add_training_arguments(parser)
    cli.add_model_arguments(parser)
    teacher = parser.add_argument_group("teacher")
    teacher.add_argument("--task", choices=TASKS, default=TASKS[0], help="from scratch, or fine-tuned from Sports-1M")
    teacher.add_argument("--weights", type=cli.existing_file, help="Sports-1M weights (.h5); else downloaded once")
    teacher.add_argument("--unfreeze", default="fc8", help="fine-tuning trains from this layer up")
    output = parser.add_argument_group("output")
    output.add_argument("--output_path", type=cli.model_path, default="trained_models/teacher.keras", help="the model")
    output.add_argument("--log_path", type=Path, default="training_histories/teacher", help="history: .npy, .csv, .png")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    cli.start_tensorflow()
    from utils import stages

    stages.train_teacher(
        cli.data_options(args),
        cli.training_options(args),
        task=args.task,
        output_path=args.output_path,
        log_path=args.log_path,
        weights=args.weights,
        unfreeze=args.unfreeze,
        width=args.width,
        input_shape=cli.input_shape(args),
    )


if __name__ == "__main__":
    cli.run(main)
