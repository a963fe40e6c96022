"""OpenVINO models: NAME.xml with its weights NAME.bin."""

from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.networks.model_file import ModelFileError
from utils.networks.runtimes.runtime import Runtime, check_interface, package

TYPES = {"f32": "float32", "f16": "float16", "f64": "float64", "bf16": "bfloat16"}
MOST_COMPILED = 2  # numbers of clips for which a compiled network is kept, each with a copy of its weights
START = 4096  # bytes in which the root element of a model begins


def open_openvino(path: Path, *, threads: int, bfloat16: bool = False) -> Runtime:
    """Open an OpenVINO model on the CPU, in float32 unless `bfloat16`. By default OpenVINO chooses the format.

    It is compiled for each number of clips, because a call is then faster than with a dynamic batch.
    """
    openvino = package("openvino", path)
    with open(path, "rb") as file:
        start = file.read(START)
    if not start.startswith(b"<") or b"<net" not in start:  # OpenVINO reads other formats whatever the suffix
        raise ModelFileError("it is not an OpenVINO model")
    core = openvino.Core()
    if bfloat16 and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise UserError(f"{path} cannot be run in bfloat16, because this CPU has no instructions for it")
    model = core.read_model(path, path.with_suffix(".bin"))
    input_shape, num_classes, is_dynamic = check_interface(_shapes(model.inputs), _shapes(model.outputs))
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
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

    def metadata(key: str) -> str | None:
        return str(model.get_rt_info(key).value) if model.has_rt_info(key) else None

    return Runtime(path, input_shape, num_classes, run, is_dynamic, metadata)


def _shapes(ports) -> list[tuple[list[int | None], str]]:
    """Return shapes and types."""
    found = []
    for port in ports:
        shape = port.get_partial_shape()
        sides = [] if shape.rank.is_dynamic else [None if side.is_dynamic else side.get_length() for side in shape]
        name = port.get_element_type().get_type_name()
        found.append((sides, TYPES.get(name, name)))
    return found
