"""Train one model in several processes with Keras' JAX backend: each holds all variables and a share of each batch."""

import contextlib
import functools
from collections.abc import Callable, Iterator

import keras
import numpy as np

from utils.base import processes
from utils.base.errors import UserError


def on_all_devices(fit: Callable) -> Callable:
    """Decorate a function of (model, ...) that compiles and trains a model to train it on the devices of all processes.

    With one process it is called as it is. Otherwise all processes must call it with equal arguments.
    """

    @functools.wraps(fit)
    def distributed(model, *arguments, **settings):
        if processes.count() == 1:
            return fit(model, *arguments, **settings)
        with replicated(model):
            return fit(model, *arguments, **settings)

    return distributed


@contextlib.contextmanager
def replicated(model) -> Iterator[None]:
    """Hold the variables of a model, as process 0 has them, on all devices while the block runs.

    Variables that are created in the block, such as those of the optimiser, are on all devices from the start.
    """
    distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
    print(f"training on {distribution.num_model_replicas} devices of {processes.count()} processes")
    variables = list({id(variable): variable for variable in model.variables + model.metrics_variables}.values())
    values = processes.array_of_main([np.asarray(variable) for variable in variables])
    with distribution.scope():
        for variable, value in zip(variables, values):
            variable._layout = distribution.get_variable_layout(variable)  # Keras sets it for new variables only
            variable.assign(np.asarray(value))
        yield
    for variable in variables:
        value = np.asarray(variable)
        variable._layout = None
        variable.assign(value)


def require_divisible(batch_size: int) -> None:
    """Raise UserError unless the devices of several processes get equal shares of a batch."""
    if processes.count() == 1:
        return
    devices = len(keras.distribution.list_devices())
    if batch_size % devices:
        raise UserError(f"--batch_size: must be a multiple of the {devices} devices of all processes, got {batch_size}")


def share_of(batch_size: int) -> slice:
    """Return the positions in a batch that this process reads: an equal, consecutive part."""
    size = batch_size // processes.count()
    return slice(processes.number() * size, (processes.number() + 1) * size)
