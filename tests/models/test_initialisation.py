"""Initialisation by data: sizes stay, differences stay, and only weights change."""

import keras
import numpy as np
import pytest

from models.c3d import build_c3d
from models.initialisation import initialise_by_data


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
