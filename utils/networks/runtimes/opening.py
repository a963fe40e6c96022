"""Exported networks by their suffix."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from utils.base.devices import cores, native_output_held_back
from utils.base.errors import UserError, first_line
from utils.networks.model_file import ModelFileError
from utils.networks.runtimes import litert_runtime, onnx_runtime, openvino_runtime
from utils.networks.runtimes.runtime import Runtime, memory_limited

FORMATS: dict[str, Callable[..., Runtime]] = {
    ".onnx": onnx_runtime.open_onnx,
    ".xml": openvino_runtime.open_openvino,
    ".tflite": litert_runtime.open_litert,
}
SOURCE_POSITION = r"Exception from |Check '"  # starts of errors of OpenVINO, whose last line is the reason
NO_MEMORY = "bad_alloc|AllocateRaw|allocate memory"
ERROR_CODE = r"^\[ONNXRuntimeError\] : \d+ : \w+ : "


def open_runtime(path: str | os.PathLike, *, threads: int | None = None, bfloat16: bool = False) -> Runtime:
    """Open an exported network, by its suffix .onnx, .xml (OpenVINO, with the .bin file next to it) or .tflite.

    `threads` is the number of threads per call, by default one per core. It computes in float32, or with `bfloat16` in
    that format, which OpenVINO offers on a CPU with such instructions.
    Raises ModelFileError, whose message is the reason, if the file is not a network of clips, reads files outside its
    folder, or cannot be run; UserError if the package that runs it is missing, or does not offer bfloat16.
    """
    path = Path(path)
    open_file = FORMATS[path.suffix]
    settings = {"threads": threads or cores()}
    if bfloat16:
        if path.suffix != ".xml":
            raise UserError(f"{path} must be an OpenVINO model (.xml) to be run in bfloat16")
        settings["bfloat16"] = True
    if not path.is_file():
        raise ModelFileError("it is not a file")
    weights = [path.with_suffix(".bin")] if path.suffix == ".xml" else []
    if weights and not weights[0].is_file():
        raise ModelFileError(f"its weights {weights[0].name} must be a file next to it, found none")
    try:
        with native_output_held_back(shown=False), memory_limited(path, *weights):
            runtime = open_file(path, **settings)
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
