"""Exported files by their name: the format, and the opened file."""

import importlib
import os
import re
from pathlib import Path

import numpy as np

from utils.base.devices import cores, native_output_held_back
from utils.base.errors import UserError, first_line
from utils.base.formats import FORMATS
from utils.networks.formats.format import Format, Runtime, files_of, memory_limited
from utils.networks.model_file import ModelFileError

GROWTH, SLACK = 10, 4 * 1024**3  # a network may need GROWTH times the size of its files, and SLACK bytes
SOURCE_POSITION = r"Exception from |Check '"  # starts of errors of OpenVINO, whose last line is the reason
NO_MEMORY = "bad_alloc|AllocateRaw|allocate memory"
ERROR_CODE = r"^\[ONNXRuntimeError\] : \d+ : \w+ : "


def format_of(name: str) -> Format:
    """Return the format of this name, a key of FORMATS."""
    return importlib.import_module(f"utils.networks.formats.{name}").FORMAT


def format_name(path: Path) -> str:
    """Return the name of the format of an exported file or folder."""
    return next(name for name, end in FORMATS.items() if path.name.endswith(end))


def open_runtime(path: str | os.PathLike, *, threads: int | None = None, precision: str = "float32") -> Runtime:
    """Open an exported file. Files other than SavedModels are opened without TensorFlow and Keras.

    `threads` is the number of threads per call, by default one per core. `precision` is float32, or bfloat16 for
    OpenVINO on a CPU with such instructions.
    Raises ModelFileError, whose message is the reason, if the file is not a network of clips, reads files outside its
    folder, or cannot be run; UserError if the package that runs it is missing, or does not offer the precision.
    """
    path = Path(path)
    kind = format_of(format_name(path))
    if precision != "float32" and not kind.has_bfloat16:
        raise UserError(f"{path} must be an OpenVINO model (.xml) to be run in {precision}")
    if not path.exists():
        raise ModelFileError("it is not a file")
    allowed = GROWTH * sum(file.stat().st_size for file in files_of(path) if file.is_file()) + SLACK
    try:
        with native_output_held_back(shown=False), memory_limited(allowed):
            runtime = kind.open_file(path, threads=threads or cores(), precision=precision)
            scores = runtime(np.zeros((1, *runtime.input_shape), np.float32))
    except (UserError, ModelFileError):
        raise
    except Exception as error:  # each runtime has its own types for a file that is not a network
        raise ModelFileError(reason_of(error)) from None
    if scores.shape != (1, runtime.num_classes):
        raise ModelFileError(f"it must output scores (B, {runtime.num_classes}), it outputs {scores.shape}")
    if not np.isfinite(scores).all():
        raise ModelFileError("its scores for a black clip hold NaN or infinite values")
    return runtime


def reason_of(error: Exception) -> str:
    """Return the reason in an error of a runtime on one line, without codes and positions in the runtime's source."""
    if isinstance(error, MemoryError) or re.search(NO_MEMORY, str(error)):
        return "it needs too much memory for a file of its size"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = lines[-1] if re.match(SOURCE_POSITION, lines[0]) else re.sub(ERROR_CODE, "", lines[0])
    return first_line(ValueError(reason))
