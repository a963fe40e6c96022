"""Gradients on either backend, for tests that compare them with closed forms."""

from collections.abc import Callable

import keras
import numpy as np

IS_JAX = keras.config.backend() == "jax"


def gradient(loss_of: Callable, value: np.ndarray) -> np.ndarray:
    """Return the gradient of the scalar `loss_of(value)`."""
    if IS_JAX:
        import jax

        return np.asarray(jax.grad(loss_of)(jax.numpy.asarray(value)))
    import tensorflow as tf

    variable = tf.Variable(value)
    with tf.GradientTape() as tape:
        loss = loss_of(variable)
    return tape.gradient(loss, variable).numpy()


def gradient_norm(model: keras.Model, loss_of: Callable, inputs: np.ndarray) -> float:
    """Return the norm of the gradient of `loss_of(model(inputs))` with respect to the trainable variables."""
    if IS_JAX:
        import jax

        def loss(trainable):
            others = [variable.value for variable in model.non_trainable_variables]
            return loss_of(model.stateless_call(trainable, others, inputs, training=False)[0])

        gradients = jax.grad(loss)([variable.value for variable in model.trainable_variables])
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            found = loss_of(model(inputs, training=False))
        gradients = tape.gradient(found, model.trainable_variables)
    return float(np.sqrt(sum(np.square(part, dtype=np.float64).sum() for part in map(np.asarray, gradients))))
