"""Batches for training and evaluation as tf.data: order, targets, reading ahead."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from utils.errors import UserError

READ_AHEAD = 4  # batches that wait, decoded, while the network computes


@dataclass(frozen=True)
class Source:
    """Where inputs come from: `read(rows)` gives `dtype` `(len(rows), *shape)`; several threads call it."""

    read: Callable[[np.ndarray], np.ndarray]
    shape: tuple[int, ...]
    dtype: type


def clip_source(dataset, input_shape: tuple[int, int, int, int]) -> Source:
    """View 0 of a ClipDataset's clips at a model's input size."""
    return Source(lambda rows: dataset.view_zero(rows, input_shape), tuple(input_shape), np.uint8)


def training_batches(
    source: Source,
    rows: np.ndarray,
    targets: Mapping[str, np.ndarray],
    *,
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
):
    """Endless batches for training, a tf.data.Dataset of `(inputs, targets)`.

    Every epoch is a full permutation of `rows`, a function of (seed, epoch) alone; a last partial batch is dropped
    (under several replicas it would weigh its clips more). `targets` holds arrays with one entry a row of the dataset;
    batches hold, under the same names, the entries of their rows. Raises UserError if there are fewer rows than one
    batch.
    """
    import tensorflow as tf

    if len(rows) < batch_size:
        raise UserError(f"--batch_size {batch_size} is more than the {len(rows)} training clips")

    def order(epoch):
        return np.random.default_rng([seed, int(epoch)]).permutation(rows)

    def epoch_batches(epoch):
        permutation = tf.ensure_shape(tf.numpy_function(order, [epoch], tf.int64, stateful=False), [len(rows)])
        return tf.data.Dataset.from_tensor_slices(permutation).batch(batch_size, drop_remainder=True)

    epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max)
    return load_batches(epochs.flat_map(epoch_batches), source, targets)


def evaluation_batches(source: Source, rows: np.ndarray, targets: Mapping[str, np.ndarray], *, batch_size: int):
    """One pass over `rows` in their order, the last batch as small as it is; elements as in `training_batches`."""
    import tensorflow as tf

    rows = tf.data.Dataset.from_tensor_slices(np.asarray(rows, np.int64))
    return load_batches(rows.batch(batch_size), source, targets)


def load_batches(row_batches, source: Source, targets: Mapping[str, np.ndarray]):
    """Batches of row numbers to batches of `(inputs, targets)`, read ahead on all cores, in order."""
    import tensorflow as tf

    tables = {name: tf.constant(values) for name, values in targets.items()}

    def load(rows):
        inputs = tf.numpy_function(source.read, [rows], tf.as_dtype(source.dtype), stateful=False)
        return tf.ensure_shape(inputs, (None, *source.shape)), {name: tf.gather(t, rows) for name, t in tables.items()}

    return row_batches.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(READ_AHEAD)
