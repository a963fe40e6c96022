"""LiteRT (TensorFlow Lite) models."""

from pathlib import Path

import numpy as np

from utils.networks.model_file import ModelFileError
from utils.networks.runtimes.runtime import Runtime, check_interface, package

IDENTIFIER = b"TFL3"  # bytes 4 to 7 of a file


def open_litert(path: Path, *, threads: int) -> Runtime:
    """Open a LiteRT model on the CPU, without TensorFlow's operations and without custom ones.

    The interpreter is resized to each number of clips, unless the network has a fixed one.
    """
    litert = package("ai_edge_litert.interpreter", path)
    with open(path, "rb") as file:
        if file.read(8)[4:] != IDENTIFIER:
            raise ModelFileError("it is not a LiteRT model")
    interpreter = litert.Interpreter(str(path), num_threads=threads)
    input_shape, num_classes, is_dynamic = check_interface(
        _shapes(interpreter.get_input_details()), _shapes(interpreter.get_output_details())
    )
    (clip,), (scores,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(clips: np.ndarray) -> np.ndarray:
        nonlocal allocated
        if allocated != len(clips):
            interpreter.resize_tensor_input(clip["index"], clips.shape, strict=True)
            interpreter.allocate_tensors()
            allocated = len(clips)
        interpreter.set_tensor(clip["index"], clips)
        interpreter.invoke()
        return interpreter.get_tensor(scores["index"])

    allocated = 0
    return Runtime(path, input_shape, num_classes, run, is_dynamic, lambda key: metadata_in(path, key))


def _shapes(details) -> list[tuple[list[int | None], str]]:
    """Return shapes and types."""
    signatures = ([int(side) for side in each["shape_signature"]] for each in details)
    shapes = ([None if side < 0 else side for side in signature] for signature in signatures)
    return [(shape, np.dtype(each["dtype"]).name) for shape, each in zip(shapes, details)]


def metadata_in(path: Path, key: str) -> str | None:
    """Return the text of a metadata buffer of a LiteRT file, which the interpreter has checked, or None."""
    schema = package("ai_edge_litert.schema_py_generated", path)
    model = schema.Model.GetRootAs(path.read_bytes())
    for number in range(model.MetadataLength()):
        entry = model.Metadata(number)
        if entry.Name() == key.encode():
            content = model.Buffers(entry.Buffer()).DataAsNumpy()
            return bytes(content).rstrip(b"\0").decode(errors="replace")
    return None
