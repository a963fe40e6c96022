"""Gradients, for tests that compare them with closed forms."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf


def gradient(loss_of: Callable, value: np.ndarray) -> np.ndarray:
    """Return the gradient of the scalar `loss_of(value)`."""
    variable = tf.Variable(value)
    with tf.GradientTape() as tape:
        loss = loss_of(variable)
    return tape.gradient(loss, variable).numpy()


def gradient_norm(model: keras.Model, loss_of: Callable, inputs: np.ndarray) -> float:
    """Return the norm of the gradient of `loss_of(model(inputs))` with respect to the trainable variables."""
    with tf.GradientTape() as tape:
        found = loss_of(model(inputs, training=False))
    gradients = tape.gradient(found, model.trainable_variables)
    return float(np.sqrt(sum(np.square(part, dtype=np.float64).sum() for part in map(np.asarray, gradients))))
