"""The training step of a compiled model with another way to get its batch."""

from collections.abc import Callable, Iterator

from utils.runtime.backend import is_jax


def on_each_batch(model, fetch: Callable[[Iterator, tuple | None], object]) -> None:
    """Make the training step of a compiled `model` use the batch that `fetch(iterator, state)` returns.

    `state` is the state of Keras' step with JAX: the values of the trainable variables, of the other variables of the
    model, of the optimiser and of the metrics. During an epoch the variables themselves have no values with JAX. With
    TensorFlow it is None.
    """
    model.make_train_function()
    step = model.train_function
    if is_jax():
        model.train_function = lambda state, iterator: step(state, iter([fetch(iterator, state)]))
    else:
        model.train_function = lambda iterator: step([fetch(iter(iterator), None)])


def attach_values(model) -> None:
    """Give the variables of a model their current values during an epoch with JAX; see `on_each_batch`."""
    if is_jax():
        model.jax_state_sync()
