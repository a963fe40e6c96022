"""Stage 3: train a compact student from labels and a teacher, by knowledge distillation."""

import argparse

from utils.settings import arguments, cli, outputs
from utils.settings.argument_types import (
    existing_teacher,
    output_folder,
    output_model,
    output_scores,
    positive_float,
    positive_int,
    share,
)
from utils.settings.options import (
    CHANNELS,
    INPUT_SCALES,
    SCORES_SUFFIX,
    DataOptions,
    DistillationOptions,
    NetworkOptions,
    OutputOptions,
    TrainingOptions,
    ViewOptions,
)


def parse_arguments() -> argparse.Namespace:
    parser = cli.ArgumentParser(__doc__)
    arguments.add_unlabelled_argument(arguments.add_data_arguments(parser))
    arguments.add_split_arguments(parser, default="auto")
    distillation = parser.add_argument_group("distillation")
    distillation.add_argument(
        "--source",
        type=existing_teacher,
        nargs="+",
        help="teacher: a model or a .npy of class scores; several are averaged; not needed with --alpha 1",
    )
    distillation.add_argument("--temperature", type=positive_float, default=10.0, help="distillation temperature")
    distillation.add_argument("--alpha", type=share, default=0.1, help="weight of the hard loss; 1 means no teacher")
    distillation.add_argument(
        "--labels_per_class", type=positive_int, help="number of labelled clips per class available to the student"
    )
    distillation.add_argument(
        "--teacher",
        dest="teacher_mode",
        choices=["cached", "live"],
        default="cached",
        help="cached: compute the logits once per view; live: in every step, for a new view per clip and epoch",
    )
    distillation.add_argument("--cache", type=output_scores, help=".npy for the logits, by default next to the teacher")
    distillation.add_argument("--source_channels", choices=CHANNELS, default="rgb", help=arguments.CHANNELS_HELP)
    distillation.add_argument(
        "--source_input_scale", choices=INPUT_SCALES, default="0..255", help=arguments.SCALES_HELP
    )
    arguments.add_model_arguments(parser, with_student=True)
    arguments.add_training_arguments(parser, epochs=100)
    arguments.add_view_arguments(parser, views_help=arguments.VIEWS_HELP)
    output = parser.add_argument_group("output")
    output.add_argument("--output_path", type=output_model, default="KD_trained_models/student.keras", help="the model")
    arguments.add_log_argument(output)
    arguments.add_overwrite_argument(output)
    output.add_argument(
        "--fail_on_leak", action="store_true", help="fail if test clips leak into the clips of --unlabelled"
    )
    output.add_argument(
        "--write_views",
        type=output_folder,
        help="write the views at --input_size for a teacher of another framework, and train nothing",
    )
    args = parser.parse_args()
    check_together(parser, args)
    return args


def check_together(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Reject combinations of arguments that contradict each other."""
    sources = args.source or []
    models = [source for source in sources if source.suffix != SCORES_SUFFIX]
    if args.cache is not None and (args.teacher_mode == "live" or len(models) != 1):
        parser.error(f"--cache: must go with --teacher cached and one model as --source, got {len(models)}")
    if args.teacher_mode == "live" and sources and (len(sources) > 1 or not models):
        parser.error("--teacher live: must have one model as --source, got " + " ".join(map(str, sources)))


def main() -> None:
    args = parse_arguments()
    inputs = arguments.settings_by_name(args, data=DataOptions, views=ViewOptions, network=NetworkOptions)
    if args.write_views:
        outputs.check_views(inputs["data"], args.unlabelled, args.write_views)
        cli.start_tensorflow()
        from utils import stages

        stages.write_views(**inputs, unlabelled=args.unlabelled, output_path=args.write_views)
        return
    training = arguments.settings_by_name(
        args, training=TrainingOptions, distillation=DistillationOptions, output=OutputOptions
    )
    kinds = ["student"] if args.alpha == 1 else ["distilled student"]
    outputs.check_training(data=inputs["data"], **training, kinds=kinds)
    cli.start_tensorflow()
    from utils import stages

    stages.train_student(**inputs, **training)


if __name__ == "__main__":
    cli.run(main)
