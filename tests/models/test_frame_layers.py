"""The layers of frames students, compared with NumPy."""

import keras
import numpy as np
import pytest

from models.frame_layers import BatchToFrames, FramesToBatch, TemporalShift


def shifted(clips):
    """Return the temporal shift of `(B, T, h, w, C)` by loops over frames, as in section 3 of arXiv:1811.08383."""
    eighth, frames = clips.shape[-1] // 8, clips.shape[1]
    result = clips.copy()
    for frame in range(frames):
        following = clips[:, frame + 1] if frame + 1 < frames else np.zeros_like(clips[:, 0])
        preceding = clips[:, frame - 1] if frame > 0 else np.zeros_like(clips[:, 0])
        result[:, frame, ..., :eighth] = following[..., :eighth]
        result[:, frame, ..., eighth : 2 * eighth] = preceding[..., eighth : 2 * eighth]
    return result


@pytest.mark.parametrize("shape", [(2, 4, 3, 5, 16), (1, 2, 2, 2, 24), (3, 5, 1, 1, 20)])
def test_the_shift_equals_the_definition(shape):
    """With frames of other clips or wrong directions, a network learns no motion. The batch size is not fixed."""
    clips = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    batch, frames, height, width, channels = shape
    inputs = keras.Input(shape[2:])
    model = keras.Model(inputs, TemporalShift(frames)(inputs))
    found = np.asarray(model(clips.reshape(batch * frames, *shape[2:]))).reshape(shape)
    np.testing.assert_array_equal(found, shifted(clips))
    assert not np.array_equal(found, clips)
    assert model.output_shape == (None, height, width, channels)


def test_frames_are_the_images_of_their_clip():
    """Features of one clip would be averaged with those of another."""
    clips = np.arange(2 * 3 * 4 * 5 * 3, dtype=np.float32).reshape(2, 3, 4, 5, 3)
    inputs = keras.Input(clips.shape[1:])
    images = FramesToBatch()(inputs)
    model = keras.Model(inputs, [images, BatchToFrames(3)(images)])
    found, back = model(clips)
    np.testing.assert_array_equal(found, clips.reshape(6, 4, 5, 3))
    np.testing.assert_array_equal(back, clips)
    assert model.output_shape == [(None, 4, 5, 3), (None, 3, 4, 5, 3)]
