"""Types of command-line arguments. Each converts text to a value, or raises an error that says what was expected."""

import argparse
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from models import BACKBONES, STUDENTS
from utils.base.formats import EXPORTED_SUFFIXES
from utils.base.frame_students import IMAGENET, NO_WEIGHTS, PREFIX, backbone_name

MODEL_SUFFIXES = (".keras", ".h5")
ALL_DEVICES = "all"
SCORES_SUFFIX = ".npy"
FRAMES_FILE = "frames.npy"
TEACHER_OUTPUTS = ("cached", "live")
Error = argparse.ArgumentTypeError


PATTERNS = {
    int: re.compile(r"[+-]?\d+", re.ASCII),
    float: re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE),
}
LARGEST_INT = 2**31 - 1  # TensorFlow counts with 32 bits in places
LARGEST_FLOAT = 3.4e38  # of float32, in which networks are trained
LARGEST_VIEWS = 10_000  # memory grows with the product of clips and views
LARGEST_WIDTH = 100


@dataclass(frozen=True)
class Number:
    """The type of numbers of `kind` up to `limit` for which `accepts` is true; `expected` describes them in errors.

    Python's other spellings, such as 1_000, inf and digits of other scripts, are refused. -0 becomes 0.
    """

    kind: type
    expected: str
    accepts: Callable[[float], bool]
    limit: float = float("inf")

    def __call__(self, text: str):
        try:
            value = self.kind(text) + 0 if PATTERNS[self.kind].fullmatch(text) else None
        except ValueError:  # more digits than Python converts
            value = None
        found = text if text.isprintable() else repr(text)
        found = found if len(found) <= 60 else f"{found[:57]}..."
        if value is not None and value > self.limit:
            raise Error(f"must be at most {self.limit}, got {found}")
        if value is None or not self.accepts(value):
            raise Error(f"must be {self.expected}, got {found}")
        return value


def _positive(value: float) -> bool:
    return value > 0


def _non_negative(value: float) -> bool:
    return value >= 0


positive_int = Number(int, "a whole number of at least 1", _positive, LARGEST_INT)
non_negative_int = Number(int, "a whole number of at least 0", _non_negative, LARGEST_INT)
view_count = Number(int, "a whole number of at least 0", _non_negative, LARGEST_VIEWS)
seed = Number(int, "a whole number from 0 to 4294967295", lambda value: 0 <= value < 2**32)
positive_float = Number(float, "a number above 0", _positive, LARGEST_FLOAT)
non_negative_float = Number(float, "a number of at least 0", _non_negative, LARGEST_FLOAT)
width = Number(float, "a number above 0", _positive, LARGEST_WIDTH)
share = Number(float, "a number from 0 to 1", lambda value: 0 <= value <= 1)
_clip_norm = Number(float, "a number above 0 or none", lambda value: 0 < value < 1e9)


def clip_norm(text: str) -> float | None:
    """Return a finite number above 0, or None for "none"."""
    return None if text == "none" else _clip_norm(text)


def _listed(suffixes: Sequence[str]) -> str:
    return " or ".join([", ".join(suffixes[:-1]), suffixes[-1]] if len(suffixes) > 1 else suffixes)


@dataclass(frozen=True)
class Existing:
    """The type of paths of existing files, with one of `suffixes` if there are any."""

    suffixes: tuple[str, ...] = ()
    kind = Path

    def __call__(self, text: str) -> Path:
        if self.suffixes and Path(text).suffix not in self.suffixes:
            raise Error(f"must end in {_listed(self.suffixes)}, got {text}")
        if not os.path.isfile(text):  # unlike Path.is_file, False for a name that is too long
            raise Error(f"must be an existing file, got {text or 'nothing'}")
        return Path(text)


@dataclass(frozen=True)
class Output:
    """The type of paths of files to write, with one of `suffixes`; utils/runs/files.py checks that they can be."""

    suffixes: tuple[str, ...]
    kind = Path

    def __call__(self, text: str) -> Path:
        if Path(text).suffix.lower() not in self.suffixes:
            raise Error(f"must end in {_listed(self.suffixes)}, got {text}")
        if os.path.isdir(text):
            raise Error(f"must be a file, got the folder {text}")
        return Path(text)


existing_file = Existing()
existing_model = Existing(MODEL_SUFFIXES)
existing_recognizer = Existing((*MODEL_SUFFIXES, *EXPORTED_SUFFIXES))
existing_teacher = Existing((*MODEL_SUFFIXES, SCORES_SUFFIX))
existing_scores = Existing((SCORES_SUFFIX,))
output_model = Output(MODEL_SUFFIXES)
output_scores = Output((SCORES_SUFFIX,))
output_video = Output((".mp4",))


def frames_file(text: str) -> Path:
    """Return the path of frames.npy, given as such or as its folder."""
    if os.path.isdir(text):
        if not os.path.isfile(os.path.join(text, FRAMES_FILE)):
            raise Error(f"must be {FRAMES_FILE} or a folder that holds it, got {text}")
        return Path(text) / FRAMES_FILE
    return existing_file(text)


def existing_folder(text: str) -> Path:
    """Return the path of an existing folder."""
    if not os.path.isdir(text):
        raise Error(f"must be an existing folder, got {text or 'nothing'}")
    return Path(text)


def output_folder(text: str) -> Path:
    """Return the path of a folder to write to; utils/runs/files.py checks that it can be."""
    if not text:
        raise Error("must be a folder, got nothing")
    return Path(text)


def output_stem(text: str) -> Path:
    """Return a path, with or without suffix, from which the paths of output files are formed."""
    if not Path(text).name:
        raise Error(f"must end in a file name, got {text or 'nothing'}")
    return Path(text)


def teacher_or_outputs(text: str) -> Path | str:
    """Return a path as `existing_teacher` does, or "cached" or "live", which --teacher meant before."""
    return text if text in TEACHER_OUTPUTS else existing_teacher(text)


def student(text: str) -> str:
    """Return the name of a built-in student, or of a function as package.module:function."""
    if (backbone := backbone_name(text)) is not None:
        if backbone not in BACKBONES:
            raise Error(f"must be {PREFIX}NAME with one of {', '.join(BACKBONES)}, got {text}")
        return text
    if text not in STUDENTS and not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", text):
        raise Error(f"must be {', '.join(STUDENTS)}, {PREFIX}NAME or package.module:function, got {text}")
    return text


def student_weights(text: str) -> str | Path:
    """Return "none", "imagenet", or the path of an existing file of weights."""
    if text in (NO_WEIGHTS, IMAGENET):
        return text
    if not text.endswith(".h5") or not os.path.isfile(text):
        raise Error(f"must be {NO_WEIGHTS}, {IMAGENET} or an existing .h5 file of weights, got {text}")
    return Path(text)


def device_count(text: str) -> int | str:
    """Return "all" or a number of devices."""
    if text == ALL_DEVICES:
        return text
    try:
        return positive_int(text)
    except Error:
        raise Error(f"must be {ALL_DEVICES} or a whole number above 0, got {text}") from None


def scheduler(text: str) -> str:
    """Return the address of a Dask scheduler, or "local"."""
    if text != "local" and not re.fullmatch(r"(tcp|tls)://(\[[^\s\[\]]+\]|[^\s/:]+):[0-9]{1,5}", text):
        raise Error(f"must be local or an address like tcp://host:8786, got {text}")
    return text


def input_size(text: str) -> tuple[int, int]:
    """Return (height, width) in pixels from SIDE or HEIGHTxWIDTH."""
    try:
        sides = tuple(positive_int(part) for part in text.lower().split("x"))
    except Error:
        sides = ()
    if len(sides) not in (1, 2):
        raise Error(f"must be SIDE or HEIGHTxWIDTH in pixels, e.g. 112 or 120x160, got {text}")
    return sides[0], sides[-1]


def input_size_text(size: tuple[int, int]) -> str:
    """Return the text from which `input_size` reads `size`, (height, width)."""
    height, width = size
    return str(height) if height == width else f"{height}x{width}"


METAVARS = {
    existing_folder: "DIR",
    output_folder: "DIR",
    frames_file: "PATH",
    output_stem: "PATH",
    teacher_or_outputs: "FILE",
    input_size: "SIZE",
    student: "NAME",
    student_weights: "WEIGHTS",
    scheduler: "ADDRESS",
    clip_norm: "X",
}
KINDS = {int: "N", float: "X", Path: "FILE"}


def metavar_of(kind: Callable | None) -> str:
    """Return the placeholder of a type in `--help`, by default TEXT."""
    return METAVARS.get(kind) or KINDS.get(getattr(kind, "kind", None), "TEXT")
