"""ONNX files, run by ONNX Runtime."""

import mmap
import os
from pathlib import Path

import numpy as np

from utils.networks.model_file import ModelFileError
from utils.networks.runtimes.runtime import Runtime, check_interface, package

TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}


def open_onnx(path: Path, *, threads: int) -> Runtime:
    """Open an ONNX file on the CPU. No library of custom operations is registered."""
    runtime = package("onnxruntime", path)
    check_external_data(path)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # only fatal errors, since others are raised
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    input_shape, num_classes, is_dynamic = check_interface(*map(_shapes, (inputs, outputs)))
    (clip,), (scores,) = inputs, outputs

    def run(clips: np.ndarray) -> np.ndarray:
        return session.run([scores.name], {clip.name: clips})[0]

    return Runtime(path, input_shape, num_classes, run, is_dynamic, session.get_modelmeta().custom_metadata_map.get)


def _shapes(tensors) -> list[tuple[list[int | None], str]]:
    """Return shapes and types; a size that is a name is not fixed."""
    sides = ([side if isinstance(side, int) else None for side in tensor.shape] for tensor in tensors)
    return [(shape, TYPES.get(tensor.type, tensor.type)) for shape, tensor in zip(sides, tensors)]


def check_external_data(path: Path) -> None:
    """Check that tensors which are stored outside an ONNX file are in regular files below its folder.

    Raises ModelFileError if one is elsewhere, also by a symbolic link.
    """
    if os.path.getsize(path) == 0:
        raise ModelFileError("it is empty")
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"location") < 0:  # the key of a path in the format; the package onnx takes 0.2 s to import
            return
    onnx = package("onnx", path)
    model, folder = onnx.load(path, load_external_data=False), path.parent.resolve()
    for tensor in tensors_in(model, onnx.TensorProto):
        for entry in tensor.external_data:
            target = (folder / entry.value).resolve()
            if entry.key == "location" and not (target.is_relative_to(folder) and target.is_file()):
                raise ModelFileError(f"its tensor {tensor.name} is stored in {entry.value}, not a file in its folder")


def tensors_in(message, tensor_type: type) -> list:
    """Return all tensors in a protobuf message, at any depth: of the graph, its attributes, subgraphs and functions."""
    found, pending = [], [message]
    while pending:
        message = pending.pop()
        if isinstance(message, tensor_type):
            found.append(message)
            continue
        for field, value in message.ListFields():
            if field.message_type is not None:
                pending += value if field.is_repeated else [value]
    return found
