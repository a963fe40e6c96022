"""Batches for training and evaluation: order, views, targets, prefetching."""

import contextlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from utils.base.errors import UserError
from utils.base.interruption import between_steps
from utils.base.machine import cores
from utils.base.options import ViewOptions
from utils.base.threads import read_ahead

PREFETCHED = 4  # batches rendered ahead of the training step
VIEW_STREAM = 1  # keeps the random numbers of the views independent of those of the order


@dataclass(frozen=True)
class RowReader:
    """Inputs or targets by row and view: `read(rows, views)` returns `dtype` `(len(rows), *shape)`.

    `read` must be thread-safe. Training cycles through views 0..`views` of each row. If `fresh`, it draws a new view in
    every epoch instead, unless `views` is 0.
    """

    read: Callable[[np.ndarray, np.ndarray], np.ndarray]
    shape: tuple[int, ...]
    dtype: type | np.dtype
    views: int = 0
    fresh: bool = False


def clip_reader(
    dataset, input_shape: tuple[int, int, int, int], views: ViewOptions | None = None, *, fresh: bool = False
) -> RowReader:
    """Return a reader of a ClipDataset's views at a model's input size; only of view 0 if `views` is None."""
    options = views or ViewOptions(views=0)

    def read(rows, numbers):
        return dataset.view(rows, numbers, input_shape, options)

    return RowReader(read, tuple(input_shape), np.uint8, options.views, fresh)


def views_of_epoch(reader: RowReader, rows: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """Return the view of each row in an epoch: int64 `(len(rows),)`, a function of (seed, epoch, row).

    Each cycle of `reader.views + 1` epochs contains every view of every row once, in random order.
    """
    if reader.views == 0:
        return np.zeros(len(rows), np.int64)
    if reader.fresh:
        generator = np.random.default_rng([seed, epoch, VIEW_STREAM])
        return generator.integers(1, np.iinfo(np.int32).max, size=max(rows) + 1)[rows]
    cycle, position = divmod(epoch, reader.views + 1)
    generator = np.random.default_rng([seed, cycle, VIEW_STREAM])
    return generator.random((max(rows) + 1, reader.views + 1))[rows].argsort(axis=1)[:, position]


def training_batches(
    reader: RowReader,
    rows: np.ndarray,
    targets: Mapping[str, np.ndarray | RowReader],
    *,
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
):
    """Return an infinite tf.data.Dataset of training batches `(inputs, targets)`.

    Each epoch is a permutation of `rows`, a function of (seed, epoch), with the views of `views_of_epoch`. The last
    partial batch is dropped, because under several replicas its clips would get a larger weight. `targets` maps names
    to arrays by row of the dataset, `(N, ...)` with at most two axes, to arrays by row and view, `(N, views + 1, C)`,
    or to RowReaders; each batch holds the matching entries. Raises UserError if `rows` do not fill one
    batch.
    """
    import tensorflow as tf

    if len(rows) < batch_size:
        raise UserError(f"--batch_size {batch_size} is more than the {len(rows)} training clips")

    def order(epoch):
        permutation = np.random.default_rng([seed, int(epoch)]).permutation(rows)
        return np.stack([permutation, views_of_epoch(reader, permutation, seed=seed, epoch=int(epoch))], axis=1)

    def epoch_batches(epoch):
        permutation = tf.ensure_shape(tf.numpy_function(order, [epoch], tf.int64, stateful=False), [len(rows), 2])
        return tf.data.Dataset.from_tensor_slices(permutation).batch(batch_size, drop_remainder=True)

    epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max)
    return load_batches(epochs.flat_map(epoch_batches), reader, targets, batch_size)


def evaluation_batches(reader: RowReader, rows: np.ndarray, targets: Mapping, *, batch_size: int, view: int = 0):
    """Return one pass over one view of `rows`, in order and with the last partial batch; see `training_batches`."""
    import tensorflow as tf

    rows = np.asarray(rows, np.int64)
    order = tf.data.Dataset.from_tensor_slices(np.stack([rows, np.full_like(rows, view)], axis=1))
    return load_batches(order.batch(batch_size), reader, targets)


def clip_batches(reader: RowReader, rows: np.ndarray, *, batch_size: int, view: int = 0) -> Iterator[np.ndarray]:
    """Yield the inputs of `evaluation_batches` without targets, `(B, *reader.shape)`, without TensorFlow."""
    rows = np.asarray(rows, np.int64)
    batches = (rows[start : start + batch_size] for start in range(0, len(rows), batch_size))

    def read(batch: np.ndarray) -> np.ndarray:
        return reader.read(batch, np.full_like(batch, view))

    found = read_ahead(read, batches, threads=cores(), ahead=PREFETCHED)
    with contextlib.closing(found):
        for _, clips in found:
            yield clips


def as_reader(values: np.ndarray | RowReader) -> RowReader:
    """Return a target as a RowReader. An array with three axes is indexed by row and view, any other by row."""
    if isinstance(values, RowReader):
        return values
    values = np.asarray(values)
    if values.ndim == 3:
        return RowReader(lambda rows, views: values[rows, views], values.shape[2:], values.dtype)
    return RowReader(lambda rows, _: values[rows], values.shape[1:], values.dtype)


def load_batches(order, reader: RowReader, targets: Mapping[str, np.ndarray | RowReader], batch_size=None):
    """Map batches of (row, view) `(B, 2)` to `(inputs, targets)`, in order, prefetched on all cores.

    `batch_size` is None if it varies. If it is known, TensorFlow compiles the step for it, which may round otherwise.

    Autotuning is off: in TensorFlow 2.21 its thread sleeps for up to a minute, and deleting an iterator waits for that
    thread, so training would end up to a minute late.
    """
    import tensorflow as tf

    readers = [reader, *(as_reader(values) for values in targets.values())]

    def read(order):
        rows, views = order.T
        return [each.read(rows, views) for each in readers]

    def load(order):
        found = tf.numpy_function(read, [order], [tf.as_dtype(each.dtype) for each in readers], stateful=False)
        inputs, *entries = [tf.ensure_shape(part, (batch_size, *each.shape)) for part, each in zip(found, readers)]
        return inputs, dict(zip(targets, entries))

    options = tf.data.Options()
    options.autotune.enabled = False
    batches = order.map(load, num_parallel_calls=cores(), deterministic=True).prefetch(PREFETCHED)
    return batches.with_options(options)


@contextlib.contextmanager
def batch_loop() -> Iterator[Callable[[], None]]:
    """Guard a loop over batches; yields a function to call after each batch, which raises Interrupted after a signal.

    A UserError in a reader of a tf.data pipeline is raised as such instead of as a TensorFlow error.
    """
    try:
        with between_steps() as check:
            yield check
    except Exception as error:
        tensorflow = sys.modules.get("tensorflow")  # not imported here, since other loops do without it
        is_raised_by_it = tensorflow is not None and isinstance(error, tensorflow.errors.OpError)
        reported = re.search("UserError: (.*)", error.message) if is_raised_by_it else None
        if reported is None:
            raise
        raise UserError(reported[1]) from None
