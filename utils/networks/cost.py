"""What a network costs: parameters, multiply-accumulates, time a clip."""

import time

import numpy as np

from utils.runtime.devices import jit_compile


def multiply_accumulates(model) -> int:
    """Multiply-accumulates of one clip in the convolutions and dense layers of a Keras model, nested models included.

    A convolution does kernel volume x input channels for each output value, a dense layer inputs x outputs. Biases,
    activations and poolings are not counted, as is usual. Layers of other kinds count nothing.
    """
    import keras

    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += multiply_accumulates(layer)
        elif isinstance(layer, (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)):
            values = int(np.prod(layer.output.shape[1:]))
            total += values * int(np.prod(layer.kernel.shape[:-1]))
        elif isinstance(layer, keras.layers.Dense):
            positions = int(np.prod(layer.output.shape[1:-1]))  # 1 but for inputs of more than one axis
            total += positions * int(np.prod(layer.kernel.shape))
    return total


def milliseconds_per_clip(model, *, runs: int = 15) -> float:
    """Median time in ms in which the model answers for one clip that lies in memory, after a warm-up."""
    clip = np.zeros((1, *model.input_shape[1:]), np.float32)
    model.jit_compile = jit_compile()
    times = []
    for _ in range(runs + 2):
        start = time.perf_counter()
        model.predict_on_batch(clip)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times[2:]))
