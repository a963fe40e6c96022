"""Data-dependent initialisation keeps the scale of activations and the differences between clips."""

import keras
import numpy as np
import pytest

from models.c3d import build_c3d
from models.initialisation import can_be_initialised_by_data, initialise_by_data
from models.student import build_student_gap


@pytest.fixture
def clips():
    """Clips that differ little, like those of one camera: a common image with small differences."""
    rng = np.random.default_rng(0)
    common = rng.integers(40, 200, (1, 1, 32, 32, 3))
    return np.clip(common + rng.integers(-12, 13, (12, 16, 32, 32, 3)), 0, 255).astype(np.uint8)


def logits_before_and_after(clips):
    keras.utils.set_random_seed(0)
    model = build_c3d(5, input_shape=(16, 32, 32, 3), width=0.125)
    before = np.asarray(model(clips, training=False))
    initialise_by_data(model, clips)
    return model, before, np.asarray(model(clips, training=False))


def test_every_layer_has_mean_0_and_deviation_1(clips):
    """If a layer is skipped, activations fade there, and training stays at chance for many epochs."""
    model, _, after = logits_before_and_after(clips)
    for name in ("conv1", "conv3b", "conv5b", "fc6", "fc7"):
        layer = model.get_layer(name)
        inputs = np.asarray(keras.Model(model.input, layer.input)(clips, training=False))
        layer.activation = keras.activations.linear
        values = np.asarray(layer(inputs)).reshape(-1, layer.kernel.shape[-1])
        layer.activation = keras.activations.relu
        np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-3)
        np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-2)
    np.testing.assert_allclose(after.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(after.std(axis=0), 0.1, atol=1e-3)


def test_similar_clips_get_different_logits(clips):
    """With random weights, all clips have nearly the same logits, which keeps training at chance."""
    _, before, after = logits_before_and_after(clips)

    def common_part(logits):
        return np.linalg.norm(logits.mean(axis=0)) / np.linalg.norm(logits - logits.mean(axis=0), axis=1).mean()

    assert common_part(before) > 3
    assert common_part(after) < 0.01


def test_the_student_with_global_average_pooling_starts_the_same_way(clips):
    """Its logits, too, must start small, centred and different for each clip."""
    keras.utils.set_random_seed(0)
    model = build_student_gap(5, input_shape=(16, 32, 32, 3), width=0.5)
    initialise_by_data(model, clips)
    logits = np.asarray(model(clips, training=False))
    np.testing.assert_allclose(logits.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(logits.std(axis=0), 0.1, atol=1e-3)


def chain(*layers):
    return keras.Sequential([keras.Input((4, 6, 6, 3)), *layers, keras.layers.Flatten(), keras.layers.Dense(2)])


@pytest.mark.parametrize(
    ("layers", "can"),
    [
        ([keras.layers.Conv3D(4, 3), keras.layers.ReLU(), keras.layers.MaxPooling3D(2)], True),
        ([keras.layers.Conv3D(4, 3, use_bias=False)], False),
        ([keras.layers.Conv3D(4, 3), keras.layers.BatchNormalization()], False),
        ([chain(), keras.layers.Reshape((2, 1))], False),
    ],
)
def test_which_networks_can_be_initialised_by_data(layers, can):
    """Other networks must keep their random weights, because rescaling only some layers is worse than none."""
    assert can_be_initialised_by_data(chain(*layers)) is can


def test_a_strided_convolution_is_scaled_by_its_own_positions():
    """Positions that the layer skips must not count in its statistics."""
    clips = np.random.default_rng(0).integers(0, 256, (4, 4, 6, 6, 3)).astype(np.uint8)
    clips[:, :, 1::2] = 0
    layer = keras.layers.Conv3D(5, 1, strides=2, name="strided")
    model = chain(layer)
    initialise_by_data(model, clips)
    values = np.asarray(layer(clips.astype(np.float32))).reshape(-1, 5)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-3)
