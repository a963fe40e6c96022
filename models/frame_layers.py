"""Layers between clips and the images that they consist of, among them the temporal shift.

They are registered with Keras. Saved models that contain them load once this module is imported.
"""

import keras
from keras import ops

PACKAGE = "video_action_distillation"  # part of the layers' names in saved models
SHIFTED_SHARE = 1 / 8  # of the channels, in each direction


@keras.saving.register_keras_serializable(PACKAGE)
class FramesToBatch(keras.layers.Layer):
    """Reshapes clips `(B, T, ...)` to their frames in succession `(B * T, ...)`."""

    def call(self, clips):
        return ops.reshape(clips, (-1, *clips.shape[2:]))

    def compute_output_shape(self, input_shape):
        batch, frames, *image_shape = input_shape
        return (None if batch is None else batch * frames, *image_shape)


@keras.saving.register_keras_serializable(PACKAGE)
class BatchToFrames(keras.layers.Layer):
    """Reshapes frames in succession `(B * frames, ...)` to clips `(B, frames, ...)`."""

    def __init__(self, frames: int, **kwargs):
        super().__init__(**kwargs)
        self.frames = frames

    def call(self, images):
        return ops.reshape(images, (-1, self.frames, *images.shape[1:]))

    def compute_output_shape(self, input_shape):
        batch, *image_shape = input_shape
        return (None if batch is None else batch // self.frames, self.frames, *image_shape)

    def get_config(self):
        return {**super().get_config(), "frames": self.frames}


@keras.saving.register_keras_serializable(PACKAGE)
class TemporalShift(keras.layers.Layer):
    """Moves an eighth of the channels one frame back and another eighth one frame forward, with zeros at the ends.

    Input and output are `(B * frames, h, w, C)`, the frames of each clip in succession. In the output, the first
    channels of a frame are those of the next frame, and the following ones those of the frame before. From TSM
    (Lin et al., arXiv:1811.08383).
    """

    def __init__(self, frames: int, **kwargs):
        super().__init__(**kwargs)
        self.frames = frames

    def call(self, images):
        _, height, width, channels = images.shape
        count = int(channels * SHIFTED_SHARE)
        clips = ops.reshape(images, (-1, self.frames, height * width, channels))  # LiteRT slices at most 5 axes
        padded = ops.pad(clips, [[0, 0], [1, 1], [0, 0], [0, 0]])
        following, preceding = padded[:, 2:, :, :count], padded[:, :-2, :, count : 2 * count]
        mixed = ops.concatenate([following, preceding, clips[:, :, :, 2 * count :]], axis=-1)
        return ops.reshape(mixed, (-1, height, width, channels))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "frames": self.frames}
