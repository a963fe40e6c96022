"""OpenVINO models: NAME.xml with its weights NAME.bin."""

import logging
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

TYPES = {"f32": "float32", "f16": "float16", "f64": "float64", "bf16": "bfloat16"}
MOST_COMPILED = 2  # numbers of clips for which a compiled network is kept, each with a copy of its weights
START = 4096  # bytes in which the root element of a model begins
WITH_WEIGHTS = ("Convolution", "ConvolutionBackpropData", "GroupConvolution", "MatMul")
MOVING = ("Reshape", "Transpose", "MaxPool", "StridedSlice", "Concat", "Pad", "Squeeze", "Unsqueeze")
SCALING = ("Multiply", "Subtract", "Convert")


def write(network, path: Path, metadata: str) -> None:
    """Write a model with its weights as they are, without rounding to 16 bits."""
    import openvino

    with as_saved_model(network, path) as folder:
        _save(openvino.convert_model(str(folder)), path, metadata)


def write_int8(network, path: Path, metadata: str, calibration: Calibration, float_file: Path) -> None:
    """Write a model quantised by NNCF: symmetric weights, asymmetric activations."""
    import nncf
    import openvino
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    from utils.networks.formats.folding import with_convolved_shifts

    nncf.set_log_level(logging.ERROR)
    clips = list(calibration())
    with as_saved_model(with_convolved_shifts(network), path) as folder:
        model = nncf.quantize(
            openvino.convert_model(str(folder)),
            nncf.Dataset(clips, lambda clip: clip[None]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(clips),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX  # means over clips cut off values
            ),
        )
        _save(model, path, metadata)


def _save(model, path: Path, metadata: str) -> None:
    import openvino

    model.set_rt_info(metadata, METADATA_KEY)
    openvino.save_model(model, str(path), compress_to_fp16=False)


def operators(path: Path) -> Operators:
    """Return the operators with weights of a model."""
    import openvino

    def is_quantised(value) -> bool:
        """Return whether a value comes from a FakeQuantize, or from weights stored as 8-bit integers."""
        node = value.get_node()
        while node.get_type_name() in (*MOVING, *SCALING):
            node = node.input_value(0).get_node()
        is_integer = node.get_type_name() == "Constant" and node.get_element_type().get_type_name() in ("i8", "u8")
        return is_integer or node.get_type_name() == "FakeQuantize"

    return [
        (node.get_type_name(), all(is_quantised(node.input_value(number)) for number in (0, 1)))
        for node in openvino.Core().read_model(str(path)).get_ordered_ops()
        if node.get_type_name() in WITH_WEIGHTS
    ]


def open_file(path: Path, *, threads: int, precision: str) -> Runtime:
    """Open a model on the CPU, in "float32" or "bfloat16". By default OpenVINO would choose the format.

    It is compiled for each number of clips, because a call is then faster than with a dynamic batch.
    """
    openvino = package("openvino", path)
    if not path.with_suffix(".bin").is_file():
        raise ModelFileError(f"its weights {path.stem}.bin must be a file next to it, found none")
    with open(path, "rb") as file:
        start = file.read(START)
    if not start.startswith(b"<") or b"<net" not in start:  # OpenVINO reads other formats whatever the suffix
        raise ModelFileError("it is not an OpenVINO model")
    core = openvino.Core()
    if precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise UserError(f"{path} cannot be run in bfloat16, because this CPU has no instructions for it")
    model = core.read_model(path, path.with_suffix(".bin"))
    input_shape, num_classes, is_dynamic = check_interface(_shapes(model.inputs), _shapes(model.outputs))
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
    }
    requests = {}

    def run(clips: np.ndarray) -> np.ndarray:
        if len(clips) not in requests:
            if len(requests) == MOST_COMPILED:
                del requests[next(iter(requests))]
            model.reshape([len(clips), *input_shape])
            requests[len(clips)] = core.compile_model(model, "CPU", settings).create_infer_request()
        request = requests[len(clips)]
        request.infer([clips], share_inputs=True)
        return np.array(request.get_output_tensor(0).data)

    text = str(model.get_rt_info(METADATA_KEY).value) if model.has_rt_info(METADATA_KEY) else None
    return Runtime(path, input_shape, num_classes, is_dynamic, run, text)


def _shapes(ports) -> list[tuple[list[int | None], str]]:
    """Return shapes and types."""
    found = []
    for port in ports:
        shape = port.get_partial_shape()
        sides = [] if shape.rank.is_dynamic else [None if side.is_dynamic else side.get_length() for side in shape]
        name = port.get_element_type().get_type_name()
        found.append((sides, TYPES.get(name, name)))
    return found


FORMAT = Format(
    runtime="openvino",
    modules=("openvino",),
    modules_int8=("nncf",),
    write=write,
    write_int8=write_int8,
    open_file=open_file,
    operators=operators,
    has_bfloat16=True,
)
