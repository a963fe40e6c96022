"""Stage 4: test one or several models and compare them."""

import argparse
import contextlib
import json
import sys

from utils.base import arguments, cli
from utils.base.argument_types import existing_recognizer, output_folder, positive_int
from utils.base.options import DataOptions, DistillationOptions, ViewOptions
from utils.base.parser import ArgumentParser
from utils.base.prediction_options import PredictionOptions
from utils.base.setting import add_setting
from utils.runs.files import check_evaluation


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(
        __doc__,
        examples=(
            "python eval.py --data arrays --recognizer student.keras",
            "python eval.py --data arrays --recognizer student.keras alone.keras --output_path report",
        ),
        docs="docs/report.md",
    )
    arguments.add_recipe_argument(parser)
    arguments.add_data_arguments(parser)
    group = parser.add_argument_group("models")
    models = "one or several models, Keras or exported files"
    group.add_argument("--recognizer", type=existing_recognizer, nargs="+", required=True, help=models)
    for name in ("channels", "input_scale"):
        add_setting(group, DistillationOptions, f"source_{name}", called=name)
    add_setting(group, PredictionOptions, "precision", default="float32")
    group.add_argument("--batch_size", type=positive_int, default=16, help="clips per forward pass")
    views = "views per clip whose probabilities are averaged; 1: the whole clip; more: also views as in training"
    group.add_argument("--views", type=positive_int, default=1, help=views)
    add_setting(group, ViewOptions, "flip", help="flip views if the training did")
    arguments.add_split_arguments(parser, default=None)
    group.add_argument(
        "--calibrate",
        action="store_true",
        help="fit temperature and rejection threshold to the validation clips of each record, and store them in it",
    )
    checks = parser.add_argument_group("checks")
    checks.add_argument("--force", action="store_true", help="use --split even if a record contradicts it")
    add_setting(checks, DistillationOptions, "fail_on_leak", help="fail if test and training clips share anything")
    output = parser.add_argument_group("output")
    folder = {"default": "report", "help": "folder for the report page, tables and figures"}
    output.add_argument("--output_path", type=output_folder, **folder)
    output.add_argument("--json", action="store_true", help="print one JSON object, and all else to stderr")
    arguments.add_overwrite_argument(output)
    args = parser.parse_args()
    if args.split is None and (args.split_seed is not None or args.split_dir is not None):
        parser.error("--split_seed and --split_dir: must go with --split, got none")
    if args.calibrate and args.force:
        parser.error("--calibrate and --force exclude each other; expected one of them, got both")
    if args.split_seed is None:
        args.split_seed = DataOptions.split_seed
    return args


def main() -> None:
    args = parse_arguments()
    data = arguments.options_of(DataOptions, args)
    check_evaluation(args)
    cli.start_tensorflow_for(args.recognizer)
    from utils.evaluation.run import evaluate

    with contextlib.redirect_stdout(sys.stderr if args.json else sys.stdout):
        results = evaluate(
            data,
            args.recognizer,
            output_path=args.output_path,
            channels=args.channels,
            input_scale=args.input_scale,
            precision=args.precision,
            batch_size=args.batch_size,
            views=args.views,
            flip=args.flip,
            calibrate=args.calibrate,
            force=args.force,
            fail_on_leak=args.fail_on_leak,
        )
    if args.json:
        print(json.dumps(results))


if __name__ == "__main__":
    cli.run(main)
