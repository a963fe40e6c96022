"""Networks with equal outputs whose layers consist of operations that other runtimes have and compute correctly.

LiteRT has no 3D pooling. A pooling over time, height and width equals a pooling of each frame, followed by one over
frames: exactly for maxima, and up to rounding for averages. LiteRT and ONNX Runtime compute 2D convolutions several
times as fast as 3D ones, and only those with integers. A convolution over time, height and width equals one over height
and width of the frames of each window, joined along the channels, up to rounding.

OpenVINO 2026.4 computes the padding and slicing of a temporal shift wrongly once it is quantised. A convolution over
time with weights 0 and 1 equals the shift exactly.
"""

import keras
import numpy as np
from keras import ops

from models.frame_layers import SHIFTED_SHARE, TemporalShift


class FoldedPooling3D(keras.layers.Layer):
    """Computes a MaxPooling3D or AveragePooling3D `(B, T, H, W, C)` as a 2D pooling and elementwise operations."""

    def __init__(self, pooling: keras.layers.Layer):
        super().__init__(name=pooling.name, dtype=pooling.dtype_policy)
        self.is_maximum = isinstance(pooling, keras.layers.MaxPooling3D)
        self.pool_size, self.strides, self.padding = pooling.pool_size, pooling.strides, pooling.padding

    def call(self, clips):
        _, frames, height, width, channels = clips.shape
        pool = ops.max_pool if self.is_maximum else ops.average_pool
        images = ops.reshape(clips, (-1, height, width, channels))
        images = pool(images, self.pool_size[1:], self.strides[1:], self.padding)
        _, height, width, _ = images.shape
        pooled = self.over_time(ops.reshape(images, (-1, frames, height * width, channels)))
        return ops.reshape(pooled, (-1, pooled.shape[1], height, width, channels))

    def over_time(self, frames):
        """Pool `(B, T, N, C)` over time."""
        unlimited = windows(frames.shape[1], self.pool_size[0], self.strides[0], self.padding)
        numbers = unlimited.clip(0, frames.shape[1] - 1)
        is_inside = numbers == unlimited
        chosen = [ops.take(frames, column, axis=1) for column in numbers.T]
        if self.is_maximum:  # a frame that stands for one outside the clip is another one of its window
            result = chosen[0]
            for other in chosen[1:]:
                result = ops.maximum(result, other)
            return result
        shares = is_inside / is_inside.sum(axis=1, keepdims=True)
        weighted = [part * share[:, None, None].astype(np.float32) for part, share in zip(chosen, shares.T)]
        return sum(weighted[1:], weighted[0])


class FoldedConvolution3D(keras.layers.Layer):
    """Computes a Conv3D `(B, T, H, W, C)` as a 2D convolution."""

    def __init__(self, convolution: keras.layers.Conv3D):
        super().__init__(name=convolution.name, dtype=convolution.dtype_policy)
        self.convolution = convolution

    def call(self, clips):
        layer = self.convolution
        _, frames, height, width, channels = clips.shape
        numbers = windows(frames, layer.kernel_size[0], layer.strides[0], layer.padding)
        count, size = numbers.shape
        before, after = -numbers.min(), max(numbers.max() + 1 - frames, 0)
        images = ops.reshape(clips, (-1, frames, height * width, channels))
        images = ops.pad(images, ((0, 0), (before, after), (0, 0), (0, 0)))
        chosen = [images[:, first : last + 1 : layer.strides[0]] for first, last in (numbers[[0, -1]] + before).T]
        joined = ops.reshape(ops.concatenate(chosen, axis=-1), (-1, height, width, size * channels))
        kernel = ops.transpose(layer.kernel, (1, 2, 0, 3, 4))  # (height, width, frames, channels, filters)
        kernel = ops.reshape(kernel, (*layer.kernel_size[1:], size * channels, layer.filters))
        images = ops.conv(joined, kernel, layer.strides[1:], layer.padding)
        images = layer.activation(images + layer.bias if layer.use_bias else images)
        return ops.reshape(images, (-1, count, *images.shape[1:]))


def windows(frames: int, size: int, stride: int, padding: str) -> np.ndarray:
    """Return the frame numbers in each window over time, `(windows, size)`; those outside the clip are to be padded.

    With the padding "same", missing frames are distributed as TensorFlow does, the odd one at the end.
    """
    if padding == "same":
        count = -(-frames // stride)
        before = max((count - 1) * stride + size - frames, 0) // 2
    else:
        count, before = (frames - size) // stride + 1, 0
    return np.arange(count, dtype=np.int32)[:, None] * stride + np.arange(size, dtype=np.int32) - before


class ConvolvedShift(keras.layers.Layer):
    """Computes a TemporalShift as a depthwise convolution over time."""

    def __init__(self, shift: TemporalShift):
        super().__init__(name=shift.name, dtype=shift.dtype_policy)
        self.frames = shift.frames

    def call(self, images):
        _, height, width, channels = images.shape
        count = int(channels * SHIFTED_SHARE)
        kernel = np.zeros((3, 1, channels, 1), np.float32)  # the frame before, the same frame, the next frame
        kernel[2, :, :count] = kernel[0, :, count : 2 * count] = kernel[1, :, 2 * count :] = 1
        clips = ops.reshape(images, (-1, self.frames, height * width, channels))
        mixed = ops.depthwise_conv(clips, kernel, padding="same")
        return ops.reshape(mixed, (-1, height, width, channels))


def leaves(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers of a model and of the models in it."""
    parts = [leaves(layer) if isinstance(layer, keras.Model) else [layer] for layer in model.layers]
    return [layer for part in parts for layer in part]


def in_float32(model: keras.Model) -> keras.Model:
    """Return the model itself if all of its layers compute in float32, otherwise a copy that does."""
    if {layer.compute_dtype for layer in leaves(model)} == {"float32"}:
        return model

    def clone(layer):
        return type(layer).from_config({**layer.get_config(), "dtype": "float32"})

    copy = keras.models.clone_model(model, clone_function=clone, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def in_two_dimensions(model: keras.Model) -> keras.Model:
    """Return a model with the layers and weights of `model` whose 3D poolings and convolutions are folded."""

    def change(layer):
        if getattr(layer, "data_format", None) != "channels_last":
            return layer
        if isinstance(layer, (keras.layers.MaxPooling3D, keras.layers.AveragePooling3D)):
            return FoldedPooling3D(layer)
        is_plain = isinstance(layer, keras.layers.Conv3D) and layer.groups == 1 and set(layer.dilation_rate) == {1}
        return FoldedConvolution3D(layer) if is_plain else layer

    return keras.models.clone_model(model, clone_function=change, recursive=True)


def with_convolved_shifts(model: keras.Model) -> keras.Model:
    """Return a model with the layers and weights of `model` whose temporal shifts are ConvolvedShift."""

    def change(layer):
        return ConvolvedShift(layer) if isinstance(layer, TemporalShift) else layer

    return keras.models.clone_model(model, clone_function=change, recursive=True)
