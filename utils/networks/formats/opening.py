"""Exported files by their name: the format, and the opened file."""

import importlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from utils.base.devices import native_output_held_back
from utils.base.errors import UserError
from utils.base.formats import FORMATS
from utils.base.machine import cores
from utils.networks.formats.format import Format, Runtime, files_of, memory_held, memory_limited, reason_of
from utils.networks.model_file import ModelFileError

GROWTH, SLACK = 10, 4 * 1024**3  # a network may need GROWTH times the size of its files, and SLACK bytes


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
    size, held = sum(file.stat().st_size for file in files_of(path) if file.is_file()), memory_held()
    try:
        with native_output_held_back(shown=False), memory_limited(GROWTH * size + SLACK):
            runtime = kind.open_file(path, threads=threads or cores(), precision=precision)
            runtime(np.zeros((1, *runtime.input_shape), np.float32))
    except (UserError, ModelFileError):
        raise
    except Exception as error:  # a file that is not a network
        raise ModelFileError(reason_of(error)) from None
    return runtime if held is None else replace(runtime, memory=max(memory_held() - held, 0))
