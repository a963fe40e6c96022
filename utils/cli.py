"""What the scripts' command lines share: argument types, argument groups, one-line errors.

Nothing here imports TensorFlow, Keras or matplotlib, so that `--help` and an argument error answer at once.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from utils.errors import UserError

MODEL_SUFFIXES = (".keras", ".h5")


class ArgumentParser(argparse.ArgumentParser):
    """argparse with defaults shown by `--help`, no abbreviated flags, and errors of one line."""

    def __init__(self, description: str):
        super().__init__(
            description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False
        )

    def error(self, message: str):
        self.exit(2, f"error: {message.removeprefix('argument ')}\n")


def run(main: Callable[[], None]) -> None:
    """Runs a script's `main`; a UserError becomes one line on stderr and exit code 2, Ctrl-C exit code 130."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up messages say nothing to a user
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def number(text: str, kind: type, expected: str, accepts: Callable[[float], bool]):
    """`text` as a number of `kind` that `accepts` it; argparse shows `expected` and what was found otherwise."""
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not accepts(value):
        raise argparse.ArgumentTypeError(f"must be {expected}, got {text}")
    return value


def positive_int(text: str) -> int:
    """A whole number of at least 1."""
    return number(text, int, "a whole number of at least 1", lambda value: value >= 1)


def seed(text: str) -> int:
    """A whole number of at least 0 that fits 32 bits."""
    return number(text, int, "a whole number from 0 to 4294967295", lambda value: 0 <= value < 2**32)


def positive_float(text: str) -> float:
    """A finite number above 0."""
    return number(text, float, "a number above 0", lambda value: 0 < value < float("inf"))


def non_negative_float(text: str) -> float:
    """A finite number of at least 0."""
    return number(text, float, "a number of at least 0", lambda value: 0 <= value < float("inf"))


def share(text: str) -> float:
    """A number from 0 to 1."""
    return number(text, float, "a number from 0 to 1", lambda value: 0 <= value <= 1)


def existing_file(text: str) -> Path:
    """A path of a file that is there."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"must be an existing file, got {text}")
    return path


def existing_folder(text: str) -> Path:
    """A path of a folder that is there."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"must be an existing folder, got {text}")
    return path


def model_path(text: str) -> Path:
    """A path for a model: it ends in .keras or .h5."""
    path = Path(text)
    if path.suffix not in MODEL_SUFFIXES:
        raise argparse.ArgumentTypeError(f"must end in .keras or .h5, got {text}")
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file, got the folder {text}")
    return path


def existing_model(text: str) -> Path:
    """A path of a model file that is there and ends in .keras or .h5."""
    return existing_file(str(model_path(text)))
