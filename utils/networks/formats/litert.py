"""LiteRT (TensorFlow Lite) models."""

import re
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.networks.formats.format import (
    METADATA_KEY,
    Calibration,
    Format,
    Operators,
    Runtime,
    check_interface,
    package,
)
from utils.networks.formats.saved_model import as_saved_model
from utils.networks.model_file import ModelFileError

IDENTIFIER = b"TFL3"  # bytes 4 to 7 of a file
NO_OPERATOR = re.compile(r"'(tf\.\w+)' op is neither a custom op nor a flex op")  # of the converter
WITH_WEIGHTS = ("CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL", "TRANSPOSE_CONV")
LACKS = "for which LiteRT has no built-in operator"


def write(network, path: Path, metadata: str) -> None:
    """Write a model with built-in operators only. Raises UserError if an operator is missing."""
    _convert(network, path, metadata)


def write_int8(network, path: Path, metadata: str, calibration: Calibration, float_file: Path) -> None:
    """Write a model in which all operators for which LiteRT has integer arithmetic use it."""
    _convert(network, path, metadata, calibration)


def _convert(network, path: Path, metadata: str, calibration: Calibration | None = None) -> None:
    import tensorflow as tf

    from utils.networks.formats.folding import in_two_dimensions

    sets = tf.lite.OpsSet
    with as_saved_model(in_two_dimensions(network), path) as folder:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
        converter.target_spec.supported_ops = [sets.TFLITE_BUILTINS]
        if calibration is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([clip[None]] for clip in calibration())
            converter.target_spec.supported_ops = [sets.TFLITE_BUILTINS_INT8, sets.TFLITE_BUILTINS]
        try:
            content = converter.convert()
        except Exception as error:
            missing = sorted(set(NO_OPERATOR.findall(str(error))))
            if not missing:
                raise
            raise UserError(f"it uses {', '.join(missing)}, {LACKS}") from None
    path.write_bytes(with_metadata(content, metadata))
    operators(path)


def with_metadata(content: bytes, metadata: str) -> bytes:
    """Return a LiteRT file with the metadata of this project in a buffer of its own."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer = METADATA_KEY, len(model.buffers)
    buffer.data = np.frombuffer(metadata.encode(), np.uint8)
    model.metadata = [*(model.metadata or ()), entry]
    model.buffers.append(buffer)
    builder = flatbuffers.Builder(len(content) + len(metadata))
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def operators(path: Path) -> Operators:
    """Return the operators with weights of a file.

    Raises UserError if it has an operator that is not built in: a custom one, or one of TensorFlow ("Flex").
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes()))
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    kinds = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
    foreign = [code.customCode.decode() for code, kind in zip(model.operatorCodes, kinds) if kind == "CUSTOM"]
    if foreign:
        raise UserError(f"it uses {', '.join(sorted(foreign))}, {LACKS}")
    return [
        (kind, {graph.tensors[number].type for number in operator.inputs[:2]} == {schema.TensorType.INT8})
        for graph in model.subgraphs
        for operator in graph.operators
        if (kind := kinds[operator.opcodeIndex]) in WITH_WEIGHTS
    ]


def open_file(path: Path, *, threads: int, precision: str) -> Runtime:
    """Open a model on the CPU, without TensorFlow's operations and without custom ones.

    The interpreter is resized to each number of clips, unless the network has a fixed one.
    """
    litert = package("ai_edge_litert.interpreter", path)
    with open(path, "rb") as file:
        if file.read(8)[4:] != IDENTIFIER:
            raise ModelFileError("it is not a LiteRT model")
    interpreter = litert.Interpreter(str(path), num_threads=threads)
    interface = check_interface(_shapes(interpreter.get_input_details()), _shapes(interpreter.get_output_details()))
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
    schema = package("ai_edge_litert.schema_py_generated", path)
    model = schema.Model.GetRootAs(path.read_bytes())  # the interpreter has checked it
    return Runtime(path, *interface, run, metadata_in(model), step=step_of(model, schema.BuiltinOperator.DEQUANTIZE))


def _shapes(details) -> list[tuple[list[int | None], str]]:
    """Return shapes and types."""
    signatures = ([int(side) for side in each["shape_signature"]] for each in details)
    shapes = ([None if side < 0 else side for side in signature] for signature in signatures)
    return [(shape, np.dtype(each["dtype"]).name) for shape, each in zip(shapes, details)]


def metadata_in(model) -> str | None:
    """Return the text of the metadata of this project in a parsed file, or None."""
    for number in range(model.MetadataLength()):
        entry = model.Metadata(number)
        if entry.Name() == METADATA_KEY.encode():
            content = model.Buffers(entry.Buffer()).DataAsNumpy()
            return bytes(content).rstrip(b"\0").decode()
    return None


def step_of(model, dequantize: int) -> float:
    """Return the step to which the scores of a parsed file are rounded, 0 if they are not converted from integers."""
    graph = model.Subgraphs(0)
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = model.OperatorCodes(operator.OpcodeIndex())
        if operator.Outputs(0) == graph.Outputs(0) and code.BuiltinCode() == dequantize:
            return float(graph.Tensors(operator.Inputs(0)).Quantization().Scale(0))
    return 0.0


FORMAT = Format(
    runtime="ai-edge-litert",
    modules=("ai_edge_litert",),
    write=write,
    write_int8=write_int8,
    open_file=open_file,
    operators=operators,
)
