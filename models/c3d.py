"""The C3D teacher (Tran et al., arXiv:1412.0767), and the topology that it shares with the compact students."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

C3D_FILTERS = (64, 128, 256, 256, 512, 512, 512, 512)
C3D_DENSE_UNITS = (4096, 4096)
DENSE_DROPOUT = 0.5
CONVOLUTIONS = ("conv1", "conv2", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b")
WEIGHT_LAYERS = (*CONVOLUTIONS, "fc6", "fc7", "fc8")  # layer names in the Sports-1M file
SPORTS1M_CLASSES = 487
SPORTS1M_MEAN_RGB = (101.41, 97.66, 90.25)
SMALLEST_SIDE = 32  # five halvings
SMALLEST_LENGTH = 16  # four halvings


def build_c3d(
    num_classes: int,
    *,
    input_shape: tuple[int, int, int, int] = (16, 112, 112, 3),
    width: float = 1.0,
    dropout: float = 1.0,
    block_dropout: float = 0.3,
    sports1m_preprocessing: bool = False,
) -> keras.Model:
    """Build C3D as published, with logits as output.

    The model maps RGB clips `(B, frames, height, width, 3)`, 0..255, to logits float32 `(B, num_classes)`. It has
    79,991,015 parameters with 487 classes, 16x112x112 input and `width` 1. Its first layer scales the input to [-1, 1],
    or subtracts the Sports-1M channel means if `sports1m_preprocessing`. Dropout with rate `block_dropout` follows each
    of the last three convolution blocks (0, as published, for none), and with rate 0.5 each dense layer; `dropout`
    multiplies both rates. Raises ValueError if the input is too small for the five poolings.
    """
    return build_topology(
        num_classes,
        filters=C3D_FILTERS,
        dense_units=C3D_DENSE_UNITS,
        input_shape=input_shape,
        width=width,
        block_dropout=dropout * block_dropout,
        dense_dropout=dropout * DENSE_DROPOUT,
        sports1m_preprocessing=sports1m_preprocessing,
        name="c3d",
    )


def build_topology(
    num_classes: int,
    *,
    filters: Sequence[int],
    dense_units: Sequence[int],
    input_shape: tuple[int, int, int, int],
    width: float,
    block_dropout: float,
    dense_dropout: float,
    sports1m_preprocessing: bool = False,
    name: str,
) -> keras.Model:
    """Build eight 3x3x3 convolutions in five pooled blocks, two dense layers and a layer of logits.

    `width` multiplies `filters` and `dense_units`. If `dense_units` is empty, global average pooling replaces the dense
    layers. The layers form a chain, so `model.layers` is in the order of computation.
    """
    frames, height, image_width, channels = input_shape
    if channels != 3:
        raise ValueError(f"input_shape must end in 3 channels, got {tuple(input_shape)}")
    if frames < SMALLEST_LENGTH or min(height, image_width) < SMALLEST_SIDE:
        raise ValueError(
            f"{name} needs at least {SMALLEST_LENGTH} frames of {SMALLEST_SIDE}x{SMALLEST_SIDE} pixels (its poolings "
            f"halve time four times and the picture five times), got {frames} frames of {height}x{image_width}"
        )
    filters = [scaled_width(count, width) for count in filters]
    dense_units = [scaled_width(count, width) for count in dense_units]

    inputs = keras.Input(input_shape, name="clip")  # (B, frames, height, width, 3), RGB, 0..255
    x = rescaling(sports1m=sports1m_preprocessing)(inputs)
    for block, names in enumerate((["conv1"], ["conv2"], *([f"conv{b}a", f"conv{b}b"] for b in (3, 4, 5))), start=1):
        for layer_name in names:
            x = keras.layers.Conv3D(
                filters[CONVOLUTIONS.index(layer_name)],
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                name=layer_name,
            )(x)
        if block == 5:
            # Caffe rounds 7 / 2 up to 4 by padding only the far end; padding both ends would shift every window by one.
            x = keras.layers.ZeroPadding3D(((0, 0), (0, x.shape[2] % 2), (0, x.shape[3] % 2)), name="pad5")(x)
        pool = (1, 2, 2) if block == 1 else 2
        x = keras.layers.MaxPooling3D(pool, strides=pool, name=f"pool{block}")(x)
        if block >= 3 and block_dropout:
            x = keras.layers.Dropout(block_dropout, name=f"dropout{block}")(x)
    if dense_units:
        x = keras.layers.Flatten(name="flatten")(x)
    else:
        x = keras.layers.GlobalAveragePooling3D(name="average")(x)  # (B, filters[-1])
    for layer_name, units in zip(("fc6", "fc7"), dense_units):
        x = keras.layers.Dense(units, activation="relu", kernel_initializer="he_normal", name=layer_name)(x)
        if dense_dropout:
            x = keras.layers.Dropout(dense_dropout, name=f"dropout_{layer_name}")(x)
    logits = keras.layers.Dense(num_classes, dtype="float32", name="fc8")(x)  # (B, num_classes)
    return keras.Model(inputs, logits, name=name)


def rescaling(*, sports1m: bool) -> keras.layers.Layer:
    """Return the first layer, which scales 0..255 to [-1, 1] or subtracts the Sports-1M channel means."""
    if sports1m:
        return keras.layers.Rescaling(1.0, offset=[-mean for mean in SPORTS1M_MEAN_RGB], name="preprocessing")
    return keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="preprocessing")


def scaled_width(count: int, width: float) -> int:
    """Return `count` times `width`, rounded to a multiple of 8, at least 8."""
    return max(8, 8 * round(count * width / 8))


def set_sports1m_weights(model: keras.Model, weights: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Set the Sports-1M weights of a C3D; those of the classifier only if it has 487 classes.

    `weights` maps each of `WEIGHT_LAYERS` to (kernel, bias) in the Keras layout. conv1 is for BGR input, as
    distributed; its input axis is flipped, so that the model takes RGB. `model` must be built with
    `sports1m_preprocessing`. Raises ValueError that names the first layer with another shape, before setting anything.
    """
    layers = [model.get_layer(name) for name in WEIGHT_LAYERS]
    if layers[-1].units != SPORTS1M_CLASSES:
        layers.pop()
    for layer in layers:
        expected = [tuple(variable.shape) for variable in layer.weights]
        found = [tuple(array.shape) for array in weights[layer.name]]
        if expected != found:
            raise ValueError(f"layer {layer.name} needs a kernel and a bias of shapes {expected}, got {found}")
    for layer in layers:
        kernel, bias = weights[layer.name]
        layer.set_weights([kernel[:, :, :, ::-1, :] if layer.name == "conv1" else kernel, bias])


def split_at(model: keras.Model, layer_name: str) -> tuple[keras.Model, keras.Model]:
    """Split a chain of layers before `layer_name` into two models that share their layers with it.

    Dropout directly before that layer belongs to the second model, where it stays active in training. Raises ValueError
    if there is no such layer.
    """
    layers = model.layers
    names = [layer.name for layer in layers]
    if layer_name not in names[1:]:  # the first is the input
        raise ValueError(f"{model.name} has no layer {layer_name}; it has {', '.join(names[1:])}")
    cut = names.index(layer_name)
    while isinstance(layers[cut - 1], keras.layers.Dropout):
        cut -= 1
    features = keras.Model(model.input, layers[cut - 1].output, name=f"{model.name}_before_{layer_name}")
    inputs = keras.Input(features.output_shape[1:], name="features")
    x = inputs
    for layer in layers[cut:]:
        x = layer(x)
    return features, keras.Model(inputs, x, name=f"{model.name}_from_{layer_name}")
