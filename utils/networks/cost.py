"""Computational cost of a network: multiply-accumulates and time per clip."""

import time

import numpy as np

from utils.runtime.devices import jit_compile


def multiply_accumulates(model) -> int:
    """Return the multiply-accumulates per clip of a Keras model's convolutions and dense layers, nested ones included.

    A convolution has kernel volume x input channels per output value, a dense layer inputs x outputs. Biases,
    activations, poolings and other layers are not counted, as is usual.
    """
    import keras

    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += multiply_accumulates(layer)
        elif isinstance(layer, (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)):
            total += int(np.prod(layer.output.shape[1:])) * int(np.prod(layer.kernel.shape[:-1]))
        elif isinstance(layer, keras.layers.Dense):
            positions = int(np.prod(layer.output.shape[1:-1]))  # 1 unless the input has several axes
            total += positions * int(np.prod(layer.kernel.shape))
    return total


def milliseconds_per_clip(model, *, runs: int = 15) -> float:
    """Return the median inference time in ms for one clip in memory, after two warm-up runs."""
    clip = np.zeros((1, *model.input_shape[1:]), np.float32)
    model.jit_compile = jit_compile()
    times = []
    for _ in range(runs + 2):
        start = time.perf_counter()
        model.predict_on_batch(clip)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times[2:]))
