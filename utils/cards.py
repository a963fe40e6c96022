"""Write a model card: python -m utils.cards --recognizer student.keras"""

import argparse
from collections.abc import Sequence

from utils.base import cli
from utils.base.argument_types import existing_model
from utils.base.errors import UserError
from utils.base.files import file_fingerprint
from utils.base.parser import ArgumentParser
from utils.runs.card import write_card
from utils.runs.files import check_cards


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = ArgumentParser(
        "Write or update the model card NAME.md from the record of a model. Nothing is uploaded.",
        examples=("python -m utils.cards --recognizer student.keras", "python -m utils.cards --recognizer *.keras"),
        docs="docs/experiments.md",
        prog="python -m utils.cards",
    )
    parser.add_argument("--recognizer", type=existing_model, nargs="+", required=True, help="one or several models")
    return parser.parse_args(arguments)


def main() -> None:
    args = parse_arguments()
    check_cards(args)
    from utils.runs.record import read_record

    for path in args.recognizer:
        record = read_record(path, file_fingerprint, argument="--recognizer")
        if record is None:
            raise UserError(f"--recognizer: {path} must have a record {path.stem}.json, from which its card is made")
        print(f"wrote {write_card(path, record)}")


if __name__ == "__main__":
    cli.run(main)
