"""Apply one or several recognisers to videos: the most probable classes, or the segments of long videos."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.runtime.errors import UserError
from utils.settings import cli
from utils.settings.argument_types import existing_model, output_video, positive_int
from utils.settings.arguments import add_recipe_argument, options_of
from utils.settings.outputs import check_prediction
from utils.settings.prediction_options import PredictionOptions, TimelineOptions
from utils.settings.setting import add_settings


def parse_arguments() -> argparse.Namespace:
    parser = cli.ArgumentParser(__doc__)
    add_recipe_argument(parser)
    videos = parser.add_argument_group("models and videos")
    videos.add_argument(
        "--recognizer", type=existing_model, nargs="+", required=True, help="one or several models, which are averaged"
    )
    videos.add_argument(
        "--input", nargs="+", required=True, help="video files, folders or glob patterns", metavar="VIDEO"
    )
    add_settings(parser.add_argument_group("prediction"), PredictionOptions)
    timeline = parser.add_argument_group("timeline of long videos")
    timeline.add_argument("--timeline", action="store_true", help="answer for windows and print segments")
    add_settings(timeline, TimelineOptions)
    output = parser.add_argument_group("output")
    output.add_argument("--top", type=positive_int, default=3, help="number of classes shown per video")
    output.add_argument(
        "--output", type=output_video, help="annotated copy of the video (.mp4), which implies --timeline"
    )
    output.add_argument("--json", action="store_true", help="print one JSON object per line")
    output.add_argument("--csv", action="store_true", help="print CSV")
    args = parser.parse_args()
    if args.json and args.csv:
        parser.error("--json and --csv: choose one of them, got both")
    args.timeline = args.timeline or args.output is not None
    if not args.timeline:
        refuse_settings_of_timeline(parser, args)
    elif args.views > 1:
        parser.error(f"--views: must be 1 with --timeline, whose windows have one view, got {args.views}")
    return args


def refuse_settings_of_timeline(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with an error if a setting of the timeline is given without one."""
    given = [field.name for field in dataclasses.fields(TimelineOptions) if getattr(args, field.name) is not None]
    if given:
        parser.error(f"--{given[0]}: must go with --timeline")


def check_output(args: argparse.Namespace, videos: Sequence[Path]) -> None:
    """Raise UserError if the annotated video cannot be written."""
    from utils.prediction.mp4 import require_av

    require_av()
    if len(videos) > 1:
        raise UserError(f"--output: must go with one video, found {len(videos)} by --input")
    check_prediction(args.recognizer, videos, args.output, args.config)


def main() -> None:
    args = parse_arguments()
    from utils.prediction.inputs import find_inputs

    inputs = find_inputs(args.input)
    if args.output is not None:
        check_output(args, inputs.videos)
    cli.start_tensorflow()
    from utils.prediction import run

    form = "json" if args.json else "csv" if args.csv else "table"
    options = options_of(PredictionOptions, args)
    timeline = options_of(TimelineOptions, args) if args.timeline else None
    shown = {"form": form, "top": args.top}
    failed = run.predict_files(args.recognizer, inputs.videos, options, timeline, output=args.output, **shown)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    cli.run(main)
