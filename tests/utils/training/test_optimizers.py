"""The optimiser: a smaller rate for pretrained layers, compared with Adam by hand."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from models.distiller import Distiller
from utils.base.options import TrainingOptions
from utils.training.fit import compile_model
from utils.training.optimizers import TwoRateAdam, optimizer

OPTIONS = TrainingOptions(learning_rate=0.1, schedule="constant", clip_norm=None)
STEPS = 3


def adam_by_hand(value, gradients, *, rate, decay=0.0):
    """Return a variable after steps of AdamW (arXiv:1711.05101, algorithm 2), in float64."""
    first = second = 0.0
    for step, gradient in enumerate(gradients, start=1):
        value = value - rate * decay * value
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        corrected = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        value = value - corrected * first / (np.sqrt(second) + 1e-7)
    return value


@pytest.mark.parametrize("decay", [0.0, 0.5])
@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_updates_and_decay_of_slow_variables_are_multiplied(decay, clip_norm):
    """Scaled gradients would change nothing, because Adam divides by their size; pretrained weights would be lost."""
    options = replace(OPTIONS, backbone_rate=0.25, weight_decay=decay, clip_norm=clip_norm)
    start, slow_gradients, fast_gradients = np.random.default_rng(0).normal(size=(3, STEPS, 2))
    slow, fast = (keras.Variable(start[0], name=name) for name in ("slow", "fast"))
    adam = optimizer(options, 1, [slow])
    adam.build([slow, fast])
    for pair in zip(slow_gradients, fast_gradients):
        adam.apply([keras.ops.convert_to_tensor(gradient, "float32") for gradient in pair], [slow, fast])
    if clip_norm:  # of both together
        norms = np.sqrt((slow_gradients**2).sum(axis=1) + (fast_gradients**2).sum(axis=1))
        factors = np.minimum(1, clip_norm / norms)[:, None]
        slow_gradients, fast_gradients = slow_gradients * factors, fast_gradients * factors
    expected = adam_by_hand(start[0], slow_gradients, rate=0.025, decay=decay)
    np.testing.assert_allclose(slow, expected, rtol=1e-4)
    np.testing.assert_allclose(fast, adam_by_hand(start[0], fast_gradients, rate=0.1, decay=decay), rtol=1e-4)


def test_biases_of_slow_layers_do_not_decay():
    bias = keras.Variable(np.ones(2), name="bias")
    adam = optimizer(replace(OPTIONS, backbone_rate=0.5, weight_decay=0.5), 1, [bias])
    adam.apply([keras.ops.zeros(2)], [bias])
    np.testing.assert_array_equal(bias, [1, 1])


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_only_the_image_network_is_slow(run_eagerly):
    """The new layers would hardly learn. The first step of Adam moves a weight by the learning rate."""
    images = keras.Input((4,))
    backbone = keras.Model(images, keras.layers.Dense(5)(images), name="backbone")
    inputs = keras.Input((4,))
    student = keras.Model(inputs, keras.layers.Dense(3, name="logits")(backbone(inputs)))
    model = Distiller(student, alpha=1.0)
    compile_model(model, replace(OPTIONS, learning_rate=1e-3, backbone_rate=0.01), 1)
    model.run_eagerly = run_eagerly
    before = [np.array(variable) for variable in student.trainable_variables]
    model.train_on_batch(np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32), np.arange(6) % 3)
    moved = [np.abs(variable - old).max() for variable, old in zip(student.trainable_variables, before)]
    np.testing.assert_allclose(moved, [1e-5, 1e-5, 1e-3, 1e-3], rtol=0.02)


def test_other_trainings_keep_their_optimiser():
    """Equal settings must give the weights of before."""
    assert type(optimizer(OPTIONS, 1)) is keras.optimizers.Adam
    assert type(optimizer(replace(OPTIONS, weight_decay=0.1), 1)) is keras.optimizers.AdamW
    variable = keras.Variable([1.0])
    assert type(optimizer(OPTIONS, 1, [variable])) is keras.optimizers.Adam
    assert type(optimizer(replace(OPTIONS, backbone_rate=0.5), 1, [variable])) is TwoRateAdam
