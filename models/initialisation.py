"""Initialisation by data: the signal keeps its size, and clips their differences, through all layers."""

import keras
import numpy as np

CLIPS_AT_A_TIME = 8  # bounds the memory of the first layers
SMALL = 0.1  # of the logits: training starts near equal probabilities


def can_be_initialised_by_data(model: keras.Model) -> bool:
    """Whether a model is a chain of layers, none with weights but 3D convolutions and dense layers with a bias."""
    layers, value = layers_after_input(model), model.inputs[0]
    for layer in layers:
        if isinstance(layer, keras.Model) or layer.input is not value:
            return False
        if layer.weights and not (is_scalable(layer) and layer.use_bias):
            return False
        value = layer.output
    return is_scalable(layers[-1])


def layers_after_input(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers in the order of computation, without the input that functional models list first."""
    return [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]


def is_scalable(layer: keras.layers.Layer) -> bool:
    """Whether it is a 3D convolution or a dense layer."""
    return isinstance(layer, (keras.layers.Conv3D, keras.layers.Dense))


def initialise_by_data(model: keras.Model, clips: np.ndarray) -> None:
    """Scales and shifts each layer so that its values before the activation have mean 0 and deviation 1 over `clips`.

    For a chain of layers that starts from random weights (see `can_be_initialised_by_data`); `clips` are some training
    clips, uint8 `(B, *input_shape)`, 0..255. Per channel, layer after layer; the logits get a deviation of 0.1.
    Without normalisation layers what all clips have in common grows from layer to layer, and training has to wait until
    what tells them apart has caught up, or ends in a constant output. After Salimans & Kingma, arXiv:1602.07868,
    section 3, and Mishkin & Matas, arXiv:1511.06422.
    """
    values = [
        np.asarray(clips[start : start + CLIPS_AT_A_TIME], np.float32)
        for start in range(0, len(clips), CLIPS_AT_A_TIME)
    ]
    for layer in layers_after_input(model):
        if is_scalable(layer):
            mean, deviation = channel_statistics(layer, values)
            scale = (SMALL if layer is model.layers[-1] else 1.0) / np.maximum(deviation, 1e-6)
            layer.kernel.assign(np.asarray(layer.kernel) * scale)
            layer.bias.assign(-mean * scale)
        values = [keras.ops.convert_to_numpy(layer(batch, training=False)) for batch in values]


def channel_statistics(layer: keras.layers.Layer, values: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation `(channels,)` of a layer's kernel applied to batches `values`, without its bias."""
    count, total, squares = 0, 0.0, 0.0
    for batch in values:
        if isinstance(layer, keras.layers.Conv3D):
            response = keras.ops.conv(
                batch, layer.kernel, strides=layer.strides, padding=layer.padding, dilation_rate=layer.dilation_rate
            )
        else:
            response = keras.ops.matmul(batch, layer.kernel)
        response = keras.ops.convert_to_numpy(response).reshape(-1, response.shape[-1])
        count += len(response)
        total = total + response.sum(axis=0, dtype=np.float64)
        squares = squares + np.square(response, dtype=np.float64).sum(axis=0)
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0))
