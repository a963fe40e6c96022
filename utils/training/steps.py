"""The training step of a compiled model with another way to get its batch."""

from collections.abc import Callable, Iterator

from utils.base.backend import is_jax


def on_each_batch(model, fetch: Callable[[Iterator, tuple | None], object]) -> None:
    """Make the training step of a compiled `model` use the batch that `fetch(iterator, state)` returns.

    `state` is the state of Keras' step with JAX: the values of the trainable variables, of the other variables of the
    model, of the optimiser and of the metrics. During an epoch the variables themselves have no values with JAX. With
    TensorFlow it is None.
    """
    if is_jax():
        _wrap_when_made(model, fetch)
        return
    model.make_train_function()
    step = model.train_function
    model.train_function = lambda iterator: step([fetch(iter(iterator), None)])


def _wrap_when_made(model, fetch: Callable) -> None:
    """Wrap the step of JAX when `fit` makes it, after it has built the variables of the optimiser and the metrics."""
    make = model.make_train_function

    def make_wrapped(force: bool = False) -> None:
        if model.train_function is None or force:
            make(force)
            step = model.train_function
            model.train_function = lambda state, iterator: step(state, iter([fetch(iterator, state)]))

    model.make_train_function = make_wrapped


def attach_values(model) -> None:
    """Give the variables of a model their current values during an epoch with JAX; see `on_each_batch`."""
    if is_jax():
        model.jax_state_sync()
