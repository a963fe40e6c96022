"""Export a model for ONNX Runtime, OpenVINO, LiteRT or TensorFlow, and compare the files with Keras.

Without --data, they are compared on synthetic clips.
"""

import argparse

from utils.base import cli
from utils.base.argument_types import existing_model
from utils.base.arguments import add_recipe_argument, options_of
from utils.base.errors import UserError
from utils.base.export_options import ExportOptions
from utils.base.options import DataOptions
from utils.base.parser import ArgumentParser
from utils.base.prediction_options import PredictionOptions
from utils.base.setting import add_setting, add_settings
from utils.runs.files import check_export


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(
        __doc__,
        examples=(
            "python export.py --recognizer student.keras --format onnx openvino",
            "python export.py --recognizer student.keras --format litert --int8 --data arrays",
        ),
        docs="docs/exporting.md",
    )
    add_recipe_argument(parser)
    model = parser.add_argument_group("model")
    model.add_argument("--recognizer", type=existing_model, required=True, help="model to export")
    for name in ("class_names", "channels", "input_scale"):
        add_setting(model, PredictionOptions, name)
    arrays = parser.add_argument_group("arrays: clips for the comparison with Keras and for --int8")
    for name in ("data", "annotations"):
        add_setting(arrays, DataOptions, name, default=None)
    add_setting(arrays, DataOptions, "paths")
    add_settings(parser.add_argument_group("export"), ExportOptions)
    return parser.parse_args()


def check(args: argparse.Namespace) -> DataOptions | None:
    """Return the arrays, None without --data. Raises UserError if an argument lacks another one."""
    for name, needed in (("int8", "data"), ("annotations", "data"), ("paths", "data")):
        if getattr(args, name) and getattr(args, needed) is None:
            raise UserError(f"--{name}: must go with --{needed}, got none")
    return None if args.data is None else options_of(DataOptions, args)


def main() -> None:
    args = parse_arguments()
    data, options = check(args), options_of(ExportOptions, args)
    check_export(args)
    from utils.export.deployment import require_packages

    require_packages(options)
    cli.start_tensorflow()
    from utils.export.run import export

    export(args.recognizer, options, data, options_of(PredictionOptions, args))


if __name__ == "__main__":
    cli.run(main)
