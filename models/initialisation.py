"""Data-dependent initialisation: activations keep their scale and their differences between clips in all layers."""

import keras
import numpy as np

CLIPS_AT_A_TIME = 8  # limits the memory for the activations of the first layers
SMALL = 0.1  # standard deviation of the logits, so that training starts near equal probabilities


def can_be_initialised_by_data(model: keras.Model) -> bool:
    """Return whether a model is a chain whose layers with weights are 3D convolutions and dense layers with a bias."""
    layers, value = layers_after_input(model), model.inputs[0]
    for layer in layers:
        if isinstance(layer, keras.Model) or layer.input is not value:
            return False
        if layer.weights and not (is_scalable(layer) and layer.use_bias):
            return False
        value = layer.output
    return is_scalable(layers[-1])


def layers_after_input(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers in the order of computation, without the input layer of functional models."""
    return [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]


def is_scalable(layer: keras.layers.Layer) -> bool:
    """Return whether a layer is a 3D convolution or a dense layer."""
    return isinstance(layer, (keras.layers.Conv3D, keras.layers.Dense))


def initialise_by_data(model: keras.Model, clips: np.ndarray) -> None:
    """Rescale each layer so that every channel has mean 0 and standard deviation 1 over `clips` before the activation.

    `model` is a chain of layers with random weights (see `can_be_initialised_by_data`); `clips` are some training
    clips, uint8 `(B, *input_shape)`, 0..255. Layers are rescaled one after the other; the logits get a standard
    deviation of 0.1. In deep networks without normalisation layers, the part of the activations that all clips share
    grows from layer to layer, so that training starts late or collapses to a constant output. After Salimans & Kingma,
    arXiv:1602.07868, section 3, and Mishkin & Matas, arXiv:1511.06422.
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
    """Return mean and standard deviation `(channels,)` of a layer's output for batches `values`, without its bias."""
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
