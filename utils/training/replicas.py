"""Training on several devices of one machine with tf.distribute.MirroredStrategy.

Each device holds a replica of the network and computes an equal share of each batch. Keras scales the loss by the
number of replicas and sums the gradients. This module adds what makes a step equal to that on one device.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import keras
import numpy as np
import tensorflow as tf

from utils.base.devices import mirrored_strategy, training_devices
from utils.base.errors import UserError
from utils.base.options import TrainingOptions

SEED_STATE = "seed_generator_state"  # name of the variables of keras.random.SeedGenerator: [seed, counter]
SEED_DISTANCE = 10**9  # between replicas; Keras draws the seeds of layers below it


def check_devices(options: TrainingOptions) -> list[str]:
    """Return the names of the devices to train on.

    Raises UserError if there are fewer than asked for, or if they do not divide a batch into equal parts.
    """
    names = training_devices(options.devices)
    if options.batch_size % len(names):
        raise UserError(
            f"--batch_size: must be a multiple of {len(names)}, the number of devices, got {options.batch_size}"
        )
    return names


def replica_count() -> int:
    """Return the number of replicas of the strategy whose scope is entered, 1 without a strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def use_replicas(model, options: TrainingOptions):
    """Let a compiled model train on the devices of `options`; return their strategy, or None for one device.

    The model must have been built and compiled in the scope of the strategy. Functions that wrap its steps later see
    whole batches, those that have wrapped them before see divided ones.
    """
    strategy, names = mirrored_strategy(options.devices), check_devices(options)
    if strategy is not None:
        print(f"training on {', '.join(names)}, {options.batch_size // len(names)} clips each per step")
        follow_scope(model)
        divide_steps(model, strategy)
    return strategy


def divide_steps(model, strategy) -> None:
    """Let the training and validation steps of a compiled `model` divide their batch among the replicas.

    They fetch the batch of a tf.data.Dataset, as on one device. It is not distributed by TensorFlow, whose iterators
    take up to a minute to be deleted, see `load_batches`, and give replicas empty batches, which not all kernels
    support.
    """
    model.make_train_function()
    model.make_test_function()
    model.train_function = divided(model.train_function, strategy)
    model.test_function = divided(model.test_function, strategy)


def divided(step: Callable, strategy) -> Callable:
    """Return a function like Keras' `step` of an iterator, for batches of all replicas.

    Replicas get successive clips, in equal numbers or, if these do not divide the batch, one more in the first ones.
    """

    def part(batch):
        count = strategy.num_replicas_in_sync
        bounds = np.cumsum([0, *map(len, np.array_split(np.arange(len(batch)), count))]).tolist()
        parts = [batch[start:stop] for start, stop in pairwise(bounds)]
        return strategy.experimental_distribute_values_from_function(lambda each: parts[each.replica_id_in_sync_group])

    def divided_step(iterator):
        batch = next(iter(iterator))
        with strategy.scope():
            return step([tf.nest.map_structure(part, batch)])

    return divided_step


def evenly_batched(validation, options: TrainingOptions, *, clips: int):
    """Return a tf.data.Dataset of `clips` validation clips in batches of about equal size, unchanged for one device.

    Each replica has clips in each batch, also in the last one. If there are few clips, batches may be larger than
    `batch_size`. Raises UserError if there are fewer clips than replicas.
    """
    count = len(training_devices(options.devices))
    if count == 1:
        return validation
    if clips < count:
        raise UserError(f"--devices: must be at most the number of validation clips, {clips}, got {count}")
    steps = min(math.ceil(clips / options.batch_size), clips // count)
    sizes = [len(part) for part in np.array_split(np.arange(clips), steps)]
    return validation.rebatch(sizes).apply(tf.data.experimental.assert_cardinality(steps))


def follow_scope(model) -> None:
    """Let a model use the strategy in whose scope it is called, instead of that in whose scope it was created.

    Otherwise `fit` distributes the data set, and `predict_on_batch` returns a prediction per replica for each clip.
    """
    for each in (model, getattr(model, "student", None), getattr(model, "teacher", None)):
        if each is not None:
            each._distribute_strategy = None


def sum_over_replicas(tensors: Sequence) -> list:
    """Return the sums of tensors, or of None, over all replicas; called in a replica."""
    if replica_count() == 1:
        return list(tensors)
    found = [tensor for tensor in tensors if tensor is not None]
    summed = iter(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, found))
    return [None if tensor is None else next(summed) for tensor in tensors]


class SummedGradients:
    """Mixin of optimisers that sums the gradients over the replicas before they are clipped.

    Keras clips the gradients of each replica and sums them afterwards, so that the threshold would apply to a part of
    the batch.
    """

    def _clip_gradients(self, grads):
        return super()._clip_gradients(sum_over_replicas(grads))

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars


class ReplicatedLossScale(keras.optimizers.LossScaleOptimizer):
    """Skips a step if the gradients of any replica are not finite; Keras looks at the first replica only."""

    def check_finite(self, grads):
        is_finite = keras.ops.cast(super().check_finite(grads), "float32")
        (finite,) = sum_over_replicas([is_finite])
        return keras.ops.equal(finite, replica_count())


def replicated(optimizer: type) -> type:
    """Return a subclass of an optimiser that sums gradients first, or the class itself outside of a strategy."""
    if replica_count() == 1:
        return optimizer
    return type(optimizer.__name__, (SummedGradients, optimizer), {})


@contextlib.contextmanager
def synchronised_statistics(model, strategy) -> Iterator[None]:
    """Let batch normalisation use the mean and variance of the whole batch while the block runs.

    Each replica would otherwise use those of its own clips, and the moving averages would differ between replicas.
    """
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    changed = [layer for layer in layers if not layer.synchronized] if strategy is not None else []
    try:
        for layer in changed:
            layer.synchronized = True
        yield
    finally:
        for layer in changed:
            layer.synchronized = False


class SeedPerReplica(keras.callbacks.Callback):
    """Gives each replica its own dropout masks; must follow the callback that restores a training.

    Otherwise the clips at one position in the parts of all replicas would have equal masks. The first replica keeps
    its seed, which is what the state of a training holds.
    """

    def __init__(self, strategy):
        super().__init__()
        self.strategy = strategy

    def on_train_begin(self, logs=None):
        for variable in self.model.variables:
            if variable.name == SEED_STATE:
                for number, copy in enumerate(self.strategy.experimental_local_results(variable.value)):
                    copy.assign_add(np.array([number * SEED_DISTANCE, 0], copy.dtype.as_numpy_dtype))


def seed_per_replica(strategy) -> list[keras.callbacks.Callback]:
    """Return the callback SeedPerReplica if there are several replicas."""
    return [] if strategy is None else [SeedPerReplica(strategy)]
