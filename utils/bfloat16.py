"""Frozen forward passes in bfloat16, about twice as fast on a CPU that has it, where the answers stay the same."""

from pathlib import Path

import numpy as np

from utils.cost import multiply_accumulates
from utils.devices import has_gpu, jit_compile
from utils.errors import first_line

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
