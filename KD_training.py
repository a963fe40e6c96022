"""Stage 3: arrays and a teacher to a compact student, by knowledge distillation."""

import argparse

from utils import cli
from utils.options import DataOptions, DistillationOptions, NetworkOptions, OutputOptions, TrainingOptions, ViewOptions

OPTIONS = (DataOptions, TrainingOptions, NetworkOptions, DistillationOptions, OutputOptions)


def parse_arguments() -> argparse.Namespace:
    parser = cli.ArgumentParser(__doc__)
    cli.add_data_arguments(parser)
    cli.add_split_arguments(parser, default="auto")
    cli.add_training_arguments(parser)
    parser.set_defaults(epochs=100)
    cli.add_view_arguments(parser, views_help="so many views of each clip, beside the whole one, are learnt from")
    cli.add_model_arguments(parser)
    distillation = parser.add_argument_group("distillation")
    distillation.add_argument("--source", type=cli.existing_model, help="the teacher; not needed with --alpha 1")
    distillation.add_argument("--temperature", type=cli.positive_float, default=10.0, help="softens both outputs")
    distillation.add_argument("--alpha", type=cli.share, default=0.1, help="weight of the labels; 1: no teacher")
    distillation.add_argument("--labels_per_class", type=cli.positive_int, help="only so many clips keep their labels")
    distillation.add_argument("--source_channels", choices=cli.CHANNELS, default="rgb", help=cli.CHANNELS_HELP)
    distillation.add_argument("--source_input_scale", choices=cli.SCALES, default="0..255", help=cli.SCALES_HELP)
    output = parser.add_argument_group("output")
    output.add_argument("--output_path", type=cli.output_model, default="KD_trained_models/student.keras", help="model")
    output.add_argument(
        "--log_path", type=cli.output_stem, default="KD_training_histories/student", help="history: .npy, .csv, .png"
    )
    cli.add_overwrite_argument(output)
    args = parser.parse_args()
    if args.source is not None and args.source.resolve().with_suffix("") == args.output_path.resolve().with_suffix(""):
        parser.error(f"--output_path: must not replace the teacher or its record, got {args.output_path}")
    return args


def main() -> None:
    args = parse_arguments()
    cli.start_tensorflow()
    from utils import stages

    stages.train_student(*(cli.options_of(kind, args) for kind in OPTIONS), views=cli.options_of(ViewOptions, args))


if __name__ == "__main__":
    cli.run(main)
