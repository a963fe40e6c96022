"""Report leaks: python -m utils.leaks --data frames.npy --annotations labels.npy --split random"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from utils.base import argument_types, cli
from utils.base.arguments import (
    add_data_arguments,
    add_overwrite_argument,
    add_split_arguments,
    add_unlabelled_argument,
    options_of,
)
from utils.base.files import write_json
from utils.base.options import DataOptions
from utils.base.parser import ArgumentParser
from utils.data.clips import open_clips, with_unlabelled
from utils.data.leak_finder import LeakFinder
from utils.data.leak_report import short_form
from utils.runs.files import check_leaks


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = ArgumentParser(
        "Report what test clips share with training, validation and unlabelled clips.",
        examples=(
            "python -m utils.leaks --data arrays",
            "python -m utils.leaks --data arrays --split random --output_path leaks.csv",
        ),
        docs="docs/splits.md",
        prog="python -m utils.leaks",
    )
    add_unlabelled_argument(add_data_arguments(parser))
    add_split_arguments(parser, default="auto")
    output = parser.add_argument_group("report")
    output.add_argument("--fail_on_leak", action="store_true", help="exit with code 2 if anything is shared")
    output.add_argument(
        "--output_path",
        type=output_report,
        metavar="PATH",
        help="FILE.csv for all pairs, or a folder for leaks.csv and leaks.json",
    )
    add_overwrite_argument(output)
    return parser.parse_args(arguments)


def output_report(text: str) -> Path:
    """Argument type: a CSV file or a folder that can be written."""
    return argument_types.output_stem(text) if Path(text).suffix == ".csv" else argument_types.output_folder(text)


def main() -> None:
    args = parse_arguments()
    check_leaks(args)
    from utils.runs.loading import split_of  # loads scikit-learn

    data = options_of(DataOptions, args)
    dataset = with_unlabelled(open_clips(data.data, data.annotations, data.paths), args.unlabelled)
    split = split_of(data, dataset)
    print(f"split {split.protocol}, seed {split.split_seed}")
    report = LeakFinder(dataset).find(split.test, split.train, split.validation, group_pattern=data.group_pattern)
    print(short_form(report.as_dict()))
    if args.output_path is not None:
        is_file = args.output_path.suffix == ".csv"
        if not is_file:
            write_json(args.output_path / "leaks.json", report.as_dict())
        report.write(args.output_path if is_file else args.output_path / "leaks.csv")
        print(f"wrote {args.output_path}")
    if args.fail_on_leak:
        report.refuse()


if __name__ == "__main__":
    cli.run(main)
