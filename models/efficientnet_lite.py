"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation, with ReLU6, for images or frames of clips.

Definition: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite; blocks: Tan & Le,
arXiv:1905.11946, and Sandler et al., arXiv:1801.04381.
"""

import keras

from models.c3d import scaled_width
from models.frame_layers import TemporalShift

STEM_FILTERS = 32
BLOCKS = (  # repeats, kernel size, stride of the first block, expansion, filters
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
FEATURES = 1280
MOMENTUM, EPSILON = 0.99, 1e-3  # of batch normalisation


def build_efficientnet_lite0(
    image_shape: tuple[int, int, int], *, width: float = 1.0, shifted_frames: int | None = None
) -> keras.Model:
    """Build EfficientNet-Lite0 without its classifier.

    The model maps RGB images `(B, height, width, 3)`, 0..255, to features `(B, 1280)`, the spatial averages of the last
    convolution. It has 3,413,024 parameters. `width` multiplies all filters, so the number of features as well. With
    `shifted_frames` T, the images are the consecutive frames of clips of T frames, and each block with a skip
    connection starts with a `TemporalShift`, which has no weights.
    """
    images = keras.Input(image_shape, name="images")
    x = keras.layers.Rescaling(1 / 128, offset=-127 / 128, name="rescaling")(images)
    x = convolution(x, scaled_width(STEM_FILTERS, width), 3, strides=2, name="stem")
    number = 0
    for repeats, kernel_size, stride, expansion, filters in BLOCKS:
        for repeat in range(repeats):
            number += 1
            x = block(
                x,
                scaled_width(filters, width),
                kernel_size,
                strides=stride if repeat == 0 else 1,
                expansion=expansion,
                shifted_frames=shifted_frames,
                name=f"block{number}",
            )
    x = convolution(x, scaled_width(FEATURES, width), 1, name="head")
    features = keras.layers.GlobalAveragePooling2D(name="average")(x)
    return keras.Model(images, features, name="efficientnet_lite0")


def block(x, filters: int, kernel_size: int, *, strides: int, expansion: int, shifted_frames: int | None, name: str):
    """Apply an inverted residual block to `(B, h, w, C)`, with a skip connection if input and output shapes agree."""
    inputs, channels = x, x.shape[-1]
    has_skip = strides == 1 and filters == channels
    if has_skip and shifted_frames is not None:
        x = TemporalShift(shifted_frames, name=f"{name}_shift")(x)
    if expansion != 1:
        x = convolution(x, expansion * channels, 1, name=f"{name}_expand")
    x = keras.layers.DepthwiseConv2D(
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        depthwise_initializer=kernel_initializer(),
        name=f"{name}_depthwise",
    )(x)
    x = normalised(x, name=f"{name}_depthwise")
    x = convolution(x, filters, 1, activation=False, name=f"{name}_project")
    return keras.layers.Add(name=f"{name}_add")([inputs, x]) if has_skip else x


def convolution(x, filters: int, kernel_size: int, *, strides: int = 1, activation: bool = True, name: str):
    """Apply a convolution without bias, batch normalisation and, if `activation`, ReLU6."""
    x = keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer=kernel_initializer(),
        name=f"{name}_conv",
    )(x)
    return normalised(x, activation=activation, name=name)


def normalised(x, *, activation: bool = True, name: str):
    """Apply batch normalisation and, if `activation`, ReLU6."""
    x = keras.layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=f"{name}_bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu6")(x) if activation else x


def kernel_initializer() -> keras.initializers.Initializer:
    """Return a new initialiser of convolution kernels, as in EfficientNet."""
    return keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="truncated_normal")
