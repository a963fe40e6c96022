"""The operators in exported files: which of those with weights compute with integers, and which LiteRT lacks."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from utils.base.errors import UserError
from utils.networks.runtimes.runtime import package

Operators = list[tuple[str, bool]]  # kind, and whether inputs and weights are 8-bit integers
ONNX_KINDS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
OPENVINO_KINDS = ("Convolution", "ConvolutionBackpropData", "GroupConvolution", "MatMul")
LITERT_KINDS = ("CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL", "TRANSPOSE_CONV")
MOVING = ("Reshape", "Transpose", "MaxPool", "StridedSlice", "Concat", "Pad", "Squeeze", "Unsqueeze")  # of OpenVINO


def onnx_operators(path: Path) -> Operators:
    """Return the operators with weights of an ONNX file."""
    onnx = package("onnx", path)
    graph = onnx.load(str(path)).graph
    producers = {name: node.op_type for node in graph.node for name in node.output}
    return [
        (node.op_type, all(producers.get(name) == "DequantizeLinear" for name in node.input[:2]))
        for node in graph.node
        if node.op_type in ONNX_KINDS
    ]


def openvino_operators(path: Path) -> Operators:
    """Return the operators with weights of an OpenVINO model."""
    openvino = package("openvino", path)

    def is_quantised(value) -> bool:
        """Return whether a value comes from a FakeQuantize, or from weights stored as 8-bit integers."""
        node = value.get_node()
        while node.get_type_name() in (*MOVING, "Multiply", "Subtract", "Convert"):
            node = node.input_value(0).get_node()
        is_integer = node.get_type_name() == "Constant" and node.get_element_type().get_type_name() in ("i8", "u8")
        return is_integer or node.get_type_name() == "FakeQuantize"

    operators = openvino.Core().read_model(str(path)).get_ordered_ops()
    return [
        (node.get_type_name(), all(is_quantised(node.input_value(number)) for number in (0, 1)))
        for node in operators
        if node.get_type_name() in OPENVINO_KINDS
    ]


def litert_operators(path: Path) -> Operators:
    """Return the operators with weights of a LiteRT file.

    Raises UserError if it has an operator that is not built in: a custom one, or one of TensorFlow.
    """
    schema = package("ai_edge_litert.schema_py_generated", path)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes()))
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    kinds = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
    foreign = [code.customCode.decode() for code, kind in zip(model.operatorCodes, kinds) if kind == "CUSTOM"]
    if foreign:
        raise UserError(f"it uses {', '.join(sorted(foreign))}, for which LiteRT has no built-in operator")
    found = []
    for graph in model.subgraphs:
        for operator in graph.operators:
            if (kind := kinds[operator.opcodeIndex]) in LITERT_KINDS:
                types = {graph.tensors[number].type for number in operator.inputs[:2]}
                found.append((kind, types == {schema.TensorType.INT8}))
    return found


READERS: dict[str, Callable[[Path], Operators]] = {
    "onnx": onnx_operators,
    "openvino": openvino_operators,
    "litert": litert_operators,
}


def in_float(path: Path, kind: str) -> dict[str, str]:
    """Return which operators of a quantised file compute in float32, as "2 of 8" by kind of operator.

    Only convolutions and matrix products are considered, which take nearly all of the time.
    """
    operators = READERS[kind](path)
    total, floating = Counter(name for name, _ in operators), Counter(name for name, is_int in operators if not is_int)
    return {name: f"{count} of {total[name]}" for name, count in sorted(floating.items())}
