"""ONNX files, run by ONNX Runtime."""

import contextlib
import gc
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from utils.networks.formats.format import (
    INPUT,
    METADATA_KEY,
    Calibration,
    Format,
    Operators,
    Runtime,
    check_interface,
    package,
)
from utils.networks.model_file import ModelFileError

TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
WITH_WEIGHTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def write(network, path: Path, metadata: str) -> None:
    """Write an ONNX file by Keras and tf2onnx."""
    import onnx
    import tensorflow as tf

    from utils.networks.formats.folding import in_two_dimensions

    network = in_two_dimensions(network)
    (output,) = network.output
    signature = [tf.TensorSpec(network.input_shape, tf.float32, name=INPUT)]
    with garbage_collected_often():
        network.export(str(path), format="onnx", verbose=False, input_signature=signature)
    model = onnx.load(str(path))
    (result,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = [output if name == result.name else name for name in node.output]
        node.input[:] = [output if name == result.name else name for name in node.input]
    result.name = output
    for tensor in (*model.graph.input, result):
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.checker.check_model(model)
    _save(model, path, metadata)


@contextlib.contextmanager
def garbage_collected_often() -> Iterator[None]:
    """Free the copies of a graph that tf2onnx makes before each optimisation, and that refer to themselves.

    Python waits for many small objects before it looks for these few large ones: C3D needs 17 GB otherwise, and 7 GB
    with this.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()  # the objects so far are not searched
    gc.collect()  # counts the others, which decides when all of them are searched
    gc.set_threshold(20, 1, 1)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def write_int8(network, path: Path, metadata: str, calibration: Calibration, float_file: Path) -> None:
    """Quantise the float32 file by ONNX Runtime: QuantizeLinear and DequantizeLinear, scales per channel."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Clips(CalibrationDataReader):
        def __init__(self):
            self.clips = calibration()

        def get_next(self):
            clip = next(self.clips, None)
            return None if clip is None else {INPUT: clip[None]}

    prepared = path.with_name(f"prepared_{path.name}")
    quant_pre_process(str(float_file), str(prepared), skip_symbolic_shape=True)
    graph = onnx.load(str(prepared)).graph
    last = [node.name for node in graph.node if node.op_type == "Softmax" and node.output[0] == graph.output[0].name]
    settings = {"quant_format": QuantFormat.QDQ, "per_channel": True}  # rounded, the softmax would give zeros
    quantize_static(str(prepared), str(path), Clips(), nodes_to_exclude=last, **settings)
    prepared.unlink()
    _save(onnx.load(str(path)), path, metadata)


def _save(model, path: Path, metadata: str) -> None:
    import onnx

    onnx.helper.set_model_props(model, {METADATA_KEY: metadata})
    onnx.save(model, str(path))


def operators(path: Path) -> Operators:
    """Return the operators with weights of a file."""
    import onnx

    graph = onnx.load(str(path)).graph
    producers = {name: node.op_type for node in graph.node for name in node.output}
    return [
        (node.op_type, all(producers.get(name) == "DequantizeLinear" for name in node.input[:2]))
        for node in graph.node
        if node.op_type in WITH_WEIGHTS
    ]


def open_file(path: Path, *, threads: int, precision: str) -> Runtime:
    """Open a file on the CPU. No library of custom operations is registered."""
    runtime = package("onnxruntime", path)
    check_external_data(path)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # only fatal errors, since others are raised
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    interface = check_interface(*map(_shapes, (inputs, outputs)))
    (clip,), (scores,) = inputs, outputs

    def run(clips: np.ndarray) -> np.ndarray:
        return session.run([scores.name], {clip.name: clips})[0]

    return Runtime(path, *interface, run, session.get_modelmeta().custom_metadata_map.get(METADATA_KEY))


def _shapes(tensors) -> list[tuple[list[int | None], str]]:
    """Return shapes and types; a size that is a name is not fixed."""
    sides = ([side if isinstance(side, int) else None for side in tensor.shape] for tensor in tensors)
    return [(shape, TYPES.get(tensor.type, tensor.type)) for shape, tensor in zip(sides, tensors)]


def check_external_data(path: Path) -> None:
    """Check that tensors which are stored outside a file are in regular files below its folder.

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


FORMAT = Format(
    runtime="onnxruntime",
    modules=("onnx", "tf2onnx", "onnxruntime"),
    write=write,
    write_int8=write_int8,
    open_file=open_file,
    operators=operators,
)
