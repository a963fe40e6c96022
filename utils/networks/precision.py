"""In which number format a network trains: what the device can do right, and how layers are set to it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from utils.networks.cost import multiply_accumulates
from utils.runtime.devices import compute_capability, has_gpu, jit_compile
from utils.runtime.errors import UserError, first_line

NEEDED_CAPABILITY = {"mixed_bfloat16": 8.0, "mixed_float16": 7.0}  # of tensor cores that multiply in this format
WRONG_ON_CPU = {
    "mixed_bfloat16": "on a CPU the gradients of 3D convolutions are wrong in bfloat16, and training ends in a "
    "constant output",
    "mixed_float16": "on a CPU there is no 3D pooling in float16",
}


def training_precision(asked: str) -> str:
    """The Keras dtype policy to train in, for one of PRECISIONS.

    `auto` is float32 on a CPU; on a GPU bfloat16 from compute capability 8 (Ampere), float16 from 7 (Volta), else
    float32. Weights stay float32 in all. Raises UserError where the format asked for gives wrong results or none.
    """
    if asked == "float32" or (asked == "auto" and not has_gpu()):
        return "float32"
    capability = compute_capability()
    if asked == "auto":
        fitting = (name for name, needed in NEEDED_CAPABILITY.items() if (capability or 0) >= needed)
        return next(fitting, "float32")
    if not has_gpu():
        raise UserError(f"--precision {asked}: {WRONG_ON_CPU[asked]}; use float32 or auto")
    if capability is not None and capability < NEEDED_CAPABILITY[asked]:
        raise UserError(
            f"--precision {asked}: needs a GPU of compute capability {NEEDED_CAPABILITY[asked]:g}, this one has "
            f"{capability:g}; use auto"
        )
    return asked


@contextlib.contextmanager
def computing_in(model, precision: str) -> Iterator[None]:
    """While the block runs, the layers of `model` compute in `precision`, its last layer in float32.

    Afterwards they are as before, so that what is saved computes in float32 on any device. A Distiller's student is
    what is meant. The weights are float32 all the time.
    """
    network = trained_network(model)
    layers = list(network._flatten_layers())  # Keras has no public way to the layers inside of layers
    last = network.outputs[0]._keras_history.operation if getattr(network, "outputs", None) else None
    changed = [layer for layer in layers if layer is not last and layer.dtype_policy.name == "float32"]
    try:
        for layer in changed:
            layer.dtype_policy = precision
        yield
    finally:
        for layer in changed:
            layer.dtype_policy = "float32"


def is_mixed(model) -> bool:
    """Whether `computing_in` has set the network to another format than float32."""
    return trained_network(model).dtype_policy.name != "float32"


def trained_network(model):
    """The student of a Distiller; any other model itself."""
    from models.distiller import Distiller

    return model.student if isinstance(model, Distiller) else model


def scaled_for(precision: str, optimizer):
    """The optimiser, in float16 behind a loss that is scaled up, so that small gradients do not vanish."""
    import keras

    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "mixed_float16" else optimizer


TOLERANCE = 0.02  # of the answers' own deviation; trained C3Ds differ by 0.005 to 0.008 of it
WORTHWHILE = 1e9  # multiply-accumulates a clip; below, the gain is small


def cpu_has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU multiplies bfloat16 itself; without that it is slower than float32."""
    flags = cpuinfo.read_text().split() if cpuinfo.is_file() else []
    return "avx512_bf16" in flags or "amx_bf16" in flags


def faster_if_equal(model, clips: np.ndarray):
    """`model`, or a copy in bfloat16 whose answers to `clips` (uint8 `(B, *input_shape)`) agree with it.

    They agree if their difference has at most 2 % of the deviation of the answers; both without what all classes of
    a clip share, which no softmax sees. On a GPU, without the CPU's support, or for a small network: `model` itself.
    """
    if has_gpu() or not cpu_has_bfloat16() or multiply_accumulates(model) < WORTHWHILE:
        return model
    try:
        copy = in_bfloat16(model)
        found = centred(copy.predict_on_batch(clips))
    except Exception as error:  # a layer of someone's own may not be made twice, nor know other types
        print(f"note: the teacher answers in float32, its copy in bfloat16 failed: {first_line(error)}")
        return model
    expected = centred(model.predict_on_batch(clips))
    difference = np.sqrt(np.mean((found - expected) ** 2)) / expected.std()
    if not difference <= TOLERANCE:
        print(f"note: the teacher answers in float32, in bfloat16 its answers differ by {100 * difference:.1f} %")
        return model
    return copy


def in_bfloat16(model):
    """A copy that computes all but its dense layers in bfloat16; weights stay float32, and the answers."""
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
    """Logits float64 `(B, C)` whose mean over the classes is 0."""
    logits = np.asarray(logits, np.float64)
    return logits - logits.mean(axis=1, keepdims=True)
