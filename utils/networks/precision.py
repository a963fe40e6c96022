"""Number formats: the formats in which a device trains correctly, and teachers in bfloat16 on a CPU."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from utils.base.devices import compute_capability, has_gpu, jit_compile
from utils.base.errors import UserError, first_line
from utils.networks.cost import multiply_accumulates

NEEDED_CAPABILITY = {"mixed_bfloat16": 8.0, "mixed_float16": 7.0}  # of GPUs with tensor cores for the format
WRONG_ON_CPU = {
    "mixed_bfloat16": "on a CPU the gradients of 3D convolutions are wrong in bfloat16, and training ends in a "
    "constant output",
    "mixed_float16": "on a CPU there is no 3D pooling in float16",
}
TOLERANCE = 0.02  # of bfloat16 logits, relative to their standard deviation; trained C3Ds differ by 0.005 to 0.008
WORTHWHILE = 1e9  # multiply-accumulates per clip; smaller networks gain little from bfloat16


def training_precision(requested: str) -> str:
    """Return the Keras dtype policy to train in; `requested` is one of PRECISIONS.

    `auto` is float32 on a CPU. On a GPU it is bfloat16 from compute capability 8 (Ampere), float16 from 7 (Volta), and
    float32 below. Weights are always float32. Raises UserError if the device does not support `requested`.
    """
    if requested == "float32" or (requested == "auto" and not has_gpu()):
        return "float32"
    capability = compute_capability()
    if requested == "auto":
        fitting = (name for name, needed in NEEDED_CAPABILITY.items() if (capability or 0) >= needed)
        return next(fitting, "float32")
    if not has_gpu():
        raise UserError(f"--precision {requested}: {WRONG_ON_CPU[requested]}; use float32 or auto")
    if capability is not None and capability < NEEDED_CAPABILITY[requested]:
        raise UserError(
            f"--precision {requested}: needs a GPU of compute capability {NEEDED_CAPABILITY[requested]:g}, found "
            f"{capability:g}; use auto"
        )
    return requested


@contextlib.contextmanager
def computing_in(model, precision: str) -> Iterator[None]:
    """Set all layers of `model`, or of a Distiller's student, except the last to `precision` while the block runs.

    Afterwards they compute in float32 again, as a saved model has to on any device. Weights are always float32.
    """
    network = getattr(model, "student", model)
    layers = list(network._flatten_layers())  # also those in wrappers
    last = network.layers[-1] if getattr(network, "outputs", None) else None
    changed = [layer for layer in layers if layer is not last and layer.dtype_policy.name == "float32"]
    try:
        for layer in changed:
            layer.dtype_policy = precision
        yield
    finally:
        for layer in changed:
            layer.dtype_policy = "float32"


def is_mixed(model) -> bool:
    """Return whether `computing_in` has set the network to a format other than float32."""
    return getattr(model, "student", model).dtype_policy.name != "float32"


def cpu_has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether the CPU has bfloat16 instructions; without them bfloat16 is slower than float32."""
    flags = cpuinfo.read_text().split() if cpuinfo.is_file() else []
    return "avx512_bf16" in flags or "amx_bf16" in flags


def faster_if_equal(model, clips: np.ndarray):
    """Return a bfloat16 copy of `model` if its logits for `clips`, uint8 `(B, *input_shape)`, agree; else `model`.

    They agree if the root mean square of their difference is at most 2 % of the logits' standard deviation, both taken
    after subtracting the mean over the classes, which a softmax ignores. On a GPU, on a CPU without bfloat16
    instructions, and for a small network the result is `model`.
    """
    if has_gpu() or not cpu_has_bfloat16() or multiply_accumulates(model) < WORTHWHILE:
        return model
    try:
        copy = in_bfloat16(model)
        found = centred(copy.predict_on_batch(clips))
    except Exception as error:  # a custom layer may not support copying or other dtypes
        print(f"note: computing the teacher in float32; its bfloat16 copy failed: {first_line(error)}")
        return model
    expected = centred(model.predict_on_batch(clips))
    difference = np.sqrt(np.mean((found - expected) ** 2)) / expected.std()
    if not difference <= TOLERANCE:
        print(f"note: computing the teacher in float32; its bfloat16 logits differ by {100 * difference:.1f} %")
        return model
    return copy


def in_bfloat16(model):
    """Return a copy that computes in bfloat16, except for dense layers; weights and logits stay float32."""
    import keras

    def clone(layer):
        config = layer.get_config()
        if not isinstance(layer, (keras.layers.Dense, keras.layers.InputLayer)):
            config["dtype"] = "mixed_bfloat16"
        return type(layer).from_config(config)

    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    copy.jit_compile = jit_compile()
    return copy


def centred(logits) -> np.ndarray:
    """Return logits as float64 `(B, C)` with mean 0 over the classes."""
    logits = np.asarray(logits, np.float64)
    return logits - logits.mean(axis=1, keepdims=True)
