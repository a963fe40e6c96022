"""Stage 3: train a compact student from labels and a teacher, by knowledge distillation."""

import argparse

from utils.base import arguments, cli
from utils.base.argument_types import SCORES_SUFFIX, output_folder
from utils.base.frame_students import settle_frame_student
from utils.base.options import (
    DataOptions,
    DistillationOptions,
    NetworkOptions,
    OutputOptions,
    TrainingOptions,
    ViewOptions,
)
from utils.base.parser import ArgumentParser
from utils.base.setting import add_setting, add_settings
from utils.runs.files import check_training, check_views

IN_OTHER_GROUPS = ("student", "student_weights", "freeze_backbone", "mixing", "unlabelled", "fail_on_leak")


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(
        __doc__,
        examples=(
            "python KD_training.py --data arrays --teacher teacher.keras --output_path student.keras",
            "python KD_training.py --data arrays --alpha 1 --output_path alone.keras",
        ),
        docs="docs/distilling.md",
    )
    arguments.add_recipe_argument(parser)
    arguments.add_unlabelled_argument(arguments.add_data_arguments(parser))
    arguments.add_split_arguments(parser, default=DataOptions.split)
    distillation = parser.add_argument_group("distillation")
    arguments.add_teacher_argument(distillation)
    add_settings(distillation, DistillationOptions, leave_out=IN_OTHER_GROUPS)
    arguments.add_model_arguments(parser, with_student=True)
    arguments.add_training_arguments(parser)
    arguments.add_view_arguments(parser)
    output = arguments.add_output_arguments(parser, output_path="KD_trained_models/student.keras")
    add_setting(output, DistillationOptions, "fail_on_leak")
    output.add_argument(
        "--write_views",
        type=output_folder,
        help="write the views at --input_size for a teacher of another framework, and train nothing",
    )
    args = parser.parse_args()
    arguments.settle_teacher(parser, args)
    check_together(parser, args)
    settle_frame_student(args, width=args.width)
    return args


def check_together(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Reject combinations of arguments that contradict each other."""
    sources = args.source or []
    models = [source for source in sources if source.suffix != SCORES_SUFFIX]
    if args.cache is not None and (args.teacher_mode == "live" or len(models) != 1):
        parser.error(f"--cache: must go with --teacher_outputs cached and one model as --source, got {len(models)}")
    if args.scheduler is not None and (args.teacher_mode == "live" or not models or args.alpha == 1):
        parser.error(f"--scheduler: must go with --teacher_outputs cached and a model, got {args.scheduler}")
    arguments.check_source_scores(parser, args.source_scores, sources)
    if args.teacher_mode == "live" and args.freeze_backbone:
        parser.error("--freeze_backbone: must go with --teacher_outputs cached, got live")
    if args.teacher_mode == "live" and sources and (len(sources) > 1 or not models):
        parser.error("--teacher_outputs live: must have one model as --source, got " + " ".join(map(str, sources)))


def main() -> None:
    args = parse_arguments()
    inputs = arguments.settings_by_name(args, data=DataOptions, views=ViewOptions, network=NetworkOptions)
    if args.write_views:
        check_views(args)
        cli.start_tensorflow()
        from utils.training.stages import write_views

        write_views(**inputs, unlabelled=args.unlabelled, output_path=args.write_views)
        return
    training = arguments.settings_by_name(
        args, training=TrainingOptions, distillation=DistillationOptions, output=OutputOptions
    )
    check_training(args, ["student"] if args.alpha == 1 else ["distilled student"])
    cli.start_tensorflow()
    from utils.training.stages import train_student

    train_student(**inputs, **training)


if __name__ == "__main__":
    cli.run(main)
