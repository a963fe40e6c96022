"""Initialisation by data: sizes stay, differences stay, and only weights change."""

import keras
import numpy as np
import pytest

from models.c3d import build_c3d
from models.initialisation import can_be_initialised_by_data, initialise_by_data
from models.student import build_student_gap


@pytest.fixture
def clips():
    """Clips that hardly differ, as those of one camera do: a common picture and a little of their own."""
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
    """A layer left out would let the signal fade there, and training would wait at chance for many epochs."""
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


def test_clips_that_look_alike_are_told_apart(clips):
    """Random weights answer nearly alike for all clips; that common answer is what keeps training at chance."""
    _, before, after = logits_before_and_after(clips)

    def share_in_common(logits):
        return np.linalg.norm(logits.mean(axis=0)) / np.linalg.norm(logits - logits.mean(axis=0), axis=1).mean()

    assert share_in_common(before) > 3
    assert share_in_common(after) < 0.01


def test_the_student_without_dense_layers_starts_alike(clips):
    """Its logits follow a mean over time and picture; they too start small, centred and different for each clip."""
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
def test_which_networks_can_be(layers, can):
    """A network that cannot be scaled layer by layer must be left alone: half of it scaled is worse than none."""
    assert can_be_initialised_by_data(chain(*layers)) is can


def test_a_strided_convolution_is_scaled_where_it_looks():
    """Statistics over positions that the layer skips would be those of another layer."""
    clips = np.random.default_rng(0).integers(0, 256, (4, 4, 6, 6, 3)).astype(np.uint8)
    clips[:, :, 1::2] = 0
    layer = keras.layers.Conv3D(5, 1, strides=2, name="strided")
    model = chain(layer)
    initialise_by_data(model, clips)
    values = np.asarray(layer(clips.astype(np.float32))).reshape(-1, 5)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-3)
