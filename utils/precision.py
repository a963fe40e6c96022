"""In which number format a network trains: what the device can do right, and how layers are set to it."""

import contextlib
from collections.abc import Iterator

from utils.devices import compute_capability, has_gpu
from utils.errors import UserError

PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
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
