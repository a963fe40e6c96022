"""Types of command-line arguments: each turns a text into a value or says what was expected."""

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path

from models import STUDENTS
from utils.settings.options import MODEL_SUFFIXES, SCORES_SUFFIX


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


def non_negative_int(text: str) -> int:
    """A whole number of at least 0."""
    return number(text, int, "a whole number of at least 0", lambda value: value >= 0)


def seed(text: str) -> int:
    """A whole number of at least 0 that fits 32 bits."""
    return number(text, int, "a whole number from 0 to 4294967295", lambda value: 0 <= value < 2**32)


def positive_float(text: str) -> float:
    """A finite number above 0."""
    return number(text, float, "a number above 0", lambda value: 0 < value < float("inf"))


def non_negative_float(text: str) -> float:
    """A finite number of at least 0."""
    return number(text, float, "a number of at least 0", lambda value: 0 <= value < float("inf"))


def clip_norm(text: str) -> float | None:
    """A finite number above 0, or none."""
    return None if text == "none" else number(text, float, "a number above 0 or none", lambda value: 0 < value < 1e9)


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


def output_folder(text: str) -> Path:
    """A path of a folder that is there or can be made, and be written to; nothing is made yet.

    Checked before the work, whose result would otherwise be lost at its end.
    """
    path = Path(text)
    existing = path.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise argparse.ArgumentTypeError(f"must be a folder or lie in one, got {text}, where {existing} is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"must be in a folder that can be written to, got {text} in {existing}")
    return path


def output_stem(text: str) -> Path:
    """A path, with or without suffix, for files whose names begin so."""
    path = Path(text)
    if not path.name:
        raise argparse.ArgumentTypeError(f"must end in a name for the files, got {text or 'nothing'}")
    output_folder(str(path.parent))
    return path


def output_model(text: str) -> Path:
    """A path to write a model to: it ends in .keras or .h5, and its folder is there or can be made."""
    path = with_model_suffix(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file, got the folder {text}")
    output_folder(str(path.parent))
    return path


def existing_model(text: str) -> Path:
    """A path of a model file that is there and ends in .keras or .h5."""
    return existing_file(str(with_model_suffix(text)))


def existing_teacher(text: str) -> Path:
    """A path of a model file, or of a .npy of class scores, that is there."""
    path = Path(text)
    if path.suffix not in (*MODEL_SUFFIXES, SCORES_SUFFIX):
        raise argparse.ArgumentTypeError(f"must end in .keras or .h5, or in .npy for class scores, got {text}")
    return existing_file(text)


def output_scores(text: str) -> Path:
    """A path to keep scores at: it ends in .npy, and its folder is there or can be made."""
    path = Path(text)
    if path.suffix != SCORES_SUFFIX or path.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file that ends in .npy, got {text}")
    output_folder(str(path.parent))
    return path


def with_model_suffix(text: str) -> Path:
    """`text` as a path, if it ends in .keras or .h5."""
    path = Path(text)
    if path.suffix not in MODEL_SUFFIXES:
        raise argparse.ArgumentTypeError(f"must end in .keras or .h5, got {text}")
    return path


def student(text: str) -> str:
    """The name of a built-in student, or of a function as package.module:function."""
    if text not in STUDENTS and not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", text):
        raise argparse.ArgumentTypeError(f"must be {', '.join(STUDENTS)} or package.module:function, got {text}")
    return text


def input_size(text: str) -> tuple[int, int]:
    """A picture size: one number for a square, or HEIGHTxWIDTH. Returns (height, width) in pixels."""
    try:
        sides = tuple(positive_int(part) for part in text.lower().split("x"))
    except argparse.ArgumentTypeError:
        sides = ()
    if len(sides) not in (1, 2):
        raise argparse.ArgumentTypeError(f"must be SIDE or HEIGHTxWIDTH in pixels, as 112 or 120x160, got {text}")
    return sides[0], sides[-1]
