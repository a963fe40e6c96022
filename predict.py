"""Apply one or several models to videos: the most probable classes, or the segments of long videos."""

import argparse
import dataclasses
import sys

from utils.base import cli
from utils.base.argument_types import existing_recognizer, output_video, positive_float, positive_int
from utils.base.arguments import add_overwrite_argument, add_recipe_argument, options_of
from utils.base.errors import UserError
from utils.base.parser import ArgumentParser
from utils.base.prediction_options import PredictionOptions, TimelineOptions
from utils.base.setting import add_settings
from utils.runs.files import check_prediction


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(
        __doc__,
        examples=(
            "python predict.py --recognizer student.keras --input holiday.mp4",
            "python predict.py --recognizer student.onnx --input long.mp4 --timeline",
        ),
        docs="docs/predicting.md",
    )
    add_recipe_argument(parser)
    videos = parser.add_argument_group("models and videos")
    videos.add_argument(
        "--recognizer",
        type=existing_recognizer,
        nargs="+",
        required=True,
        help="one or several models, which are averaged; Keras or exported files",
    )
    videos.add_argument(
        "--input",
        nargs="+",
        required=True,
        help="video files, folders or glob patterns; or the number of a camera, or the URL of a stream",
        metavar="VIDEO",
    )
    add_settings(parser.add_argument_group("prediction"), PredictionOptions)
    timeline = parser.add_argument_group("timeline of long videos; windows of a camera or stream")
    timeline.add_argument("--timeline", action="store_true", help="predict windows and print segments")
    add_settings(timeline, TimelineOptions)
    timeline.add_argument("--max_seconds", type=positive_float, help="end a camera or stream after this many seconds")
    output = parser.add_argument_group("output")
    output.add_argument("--top", type=positive_int, default=3, help="number of classes shown per video")
    output.add_argument(
        "--output", type=output_video, help="annotated copy of the video (.mp4), which implies --timeline"
    )
    add_overwrite_argument(output)
    output.add_argument("--json", action="store_true", help="print one JSON object per line")
    output.add_argument("--csv", action="store_true", help="print CSV")
    return parser.parse_args()


def check(args: argparse.Namespace, inputs) -> None:
    """Raise UserError if arguments contradict each other, or if the annotated video cannot be written."""
    is_live = inputs.live is not None
    args.timeline = args.timeline or args.output is not None or is_live
    given = [field.name for field in dataclasses.fields(TimelineOptions) if getattr(args, field.name) is not None]
    if args.json and args.csv:
        raise UserError("--json and --csv: choose one of them, got both")
    if given and not args.timeline:
        raise UserError(f"--{given[0]}: must go with --timeline, a camera or a stream")
    if args.views > 1 and args.timeline:
        raise UserError(f"--views: must be 1 for windows of a video, got {args.views}")
    if args.csv and is_live:
        raise UserError("--csv: must go with video files; --json prints the predictions for a camera or stream")
    if args.max_seconds is not None and not is_live:
        raise UserError("--max_seconds: must go with a camera or stream")
    if args.output is not None:
        if len(inputs.videos) > 1:
            raise UserError(f"--output: must go with one video, found {len(inputs.videos)} by --input")
        check_prediction(args, inputs.videos)


def main() -> None:
    args = parse_arguments()
    from utils.prediction.inputs import find_inputs

    inputs = find_inputs(args.input)
    check(args, inputs)
    cli.start_tensorflow_for(args.recognizer)
    from utils.prediction import run

    options = options_of(PredictionOptions, args)
    timeline = options_of(TimelineOptions, args) if args.timeline else None
    shown = {"output": args.output, "form": "json" if args.json else "csv" if args.csv else "table", "top": args.top}
    if inputs.live is not None:
        run.predict_live(args.recognizer, inputs.live, options, timeline, max_seconds=args.max_seconds, **shown)
    elif run.predict_files(args.recognizer, inputs.videos, options, timeline, **shown):
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main)
