"""Stage 4: arrays and one or more recognisers to numbers, figures and a table."""

import argparse

from utils.settings import argument_types, arguments, cli
from utils.settings.options import CHANNELS, INPUT_SCALES, DataOptions


def parse_arguments() -> argparse.Namespace:
    parser = cli.ArgumentParser(__doc__)
    arguments.add_data_arguments(parser)
    arguments.add_split_arguments(parser, default=None)
    group = parser.add_argument_group("recognisers")
    group.add_argument(
        "--recognizer", type=argument_types.existing_model, nargs="+", required=True, help="one model or several"
    )
    group.add_argument("--channels", choices=CHANNELS, default="rgb", help=cli.CHANNELS_HELP)
    group.add_argument("--input_scale", choices=INPUT_SCALES, default="0..255", help=cli.SCALES_HELP)
    group.add_argument(
        "--batch_size", type=argument_types.positive_int, default=16, help="clips that are answered at a time"
    )
    group.add_argument("--force", action="store_true", help="test by --split even if a record contradicts it")
    group.add_argument(
        "--fail_on_leak", action="store_true", help="an error if test clips share anything with seen ones"
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output_path",
        type=argument_types.output_folder,
        help="folder for results.json, results.md, answers and figures",
    )
    parser.set_defaults(split_seed=None)
    args = parser.parse_args()
    if args.split is None and (args.split_seed is not None or args.split_dir is not None):
        parser.error("--split_seed and --split_dir: must go with --split, got none")
    if args.split_seed is None:
        args.split_seed = DataOptions.split_seed
    return args


def main() -> None:
    args = parse_arguments()
    cli.start_tensorflow()
    import json

    from utils import stages

    results = stages.evaluate(
        arguments.options_of(DataOptions, args),
        args.recognizer,
        output_path=args.output_path,
        channels=args.channels,
        input_scale=args.input_scale,
        batch_size=args.batch_size,
        force=args.force,
        fail_on_leak=args.fail_on_leak,
    )
    print(json.dumps(results))


if __name__ == "__main__":
    cli.run(main)
