"""Write a model card: python -m utils.cards --recognizer student.keras"""

import argparse
from collections.abc import Sequence
from pathlib import Path

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
        prog="python -m utils.cards",
    )
    parser.add_argument("--recognizer", type=existing_model, nargs="+", required=True, help="one or several models")
    return parser.parse_args(arguments)


def main() -> None:
    args = parse_arguments()
    check_cards(args)
    from utils.networks.recognizer import read_record

    for path in args.recognizer:
        record = read_record(path, file_fingerprint, argument="--recognizer")
        if record is None:
            raise UserError(f"--recognizer: {path} must have a record {path.stem}.json, from which its card is made")
        print(f"wrote {write_card(path, with_cost(path, record))}")


def with_cost(path: Path, record: dict) -> dict:
    """Return a record with the cost of the network, which records of earlier versions lack."""
    if record.get("cost") is not None:
        return record
    cli.start_tensorflow()
    from utils.networks.cost import cost_of_model
    from utils.networks.recognizer import load_recognizer

    return record | {"cost": cost_of_model(load_recognizer(path, argument="--recognizer").model).model_dump()}


if __name__ == "__main__":
    cli.run(main)
