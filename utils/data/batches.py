"""Batches for training and evaluation as tf.data: order, views, targets, reading ahead."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from utils.runtime.devices import cores
from utils.runtime.errors import UserError
from utils.runtime.interruption import between_steps
from utils.settings.options import ViewOptions

READ_AHEAD = 4  # batches that wait, decoded, while the network computes
VIEW_STREAM = 1  # keeps the random numbers of the views apart from those of the order


@dataclass(frozen=True)
class Source:
    """Where inputs come from: `read(rows, views)` gives `dtype` `(len(rows), *shape)`; several threads call it.

    Training reads views 0..`views` of each row in turn; if `fresh`, a new one in every epoch, unless `views` is 0.
    """

    read: Callable[[np.ndarray, np.ndarray], np.ndarray]
    shape: tuple[int, ...]
    dtype: type | np.dtype
    views: int = 0
    fresh: bool = False


def clip_source(
    dataset, input_shape: tuple[int, int, int, int], views: ViewOptions | None = None, *, fresh: bool = False
) -> Source:
    """Views of a ClipDataset's clips at a model's input size; without `views` view 0 alone."""
    options = views or ViewOptions(views=0)

    def read(rows, numbers):
        return dataset.view(rows, numbers, input_shape, options)

    return Source(read, tuple(input_shape), np.uint8, options.views, fresh)


def views_of_epoch(source: Source, rows: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """Which view of each row training reads in an epoch: int64 `(len(rows),)`, a function of (seed, epoch, row) alone.

    Every `source.views + 1` epochs each row shows each of its views once, in an order of its own.
    """
    if source.views == 0:
        return np.zeros(len(rows), np.int64)
    if source.fresh:
        generator = np.random.default_rng([seed, epoch, VIEW_STREAM])
        return generator.integers(1, np.iinfo(np.int32).max, size=max(rows) + 1)[rows]
    cycle, position = divmod(epoch, source.views + 1)
    generator = np.random.default_rng([seed, cycle, VIEW_STREAM])
    return generator.random((max(rows) + 1, source.views + 1))[rows].argsort(axis=1)[:, position]


def training_batches(
    source: Source,
    rows: np.ndarray,
    targets: Mapping[str, np.ndarray | Source],
    *,
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
):
    """Endless batches for training, a tf.data.Dataset of `(inputs, targets)`.

    Every epoch is a full permutation of `rows`, each in the view that `views_of_epoch` says, a function of (seed,
    epoch) alone; a last partial batch is dropped (under several replicas it would weigh its clips more). `targets`
    holds arrays with one entry a row of the dataset, or one a row and view: `(N, ...)` of at most two axes, or `(N,
    views + 1, C)`; or Sources. Batches hold, under the same names, the entries of their rows and views. Raises
    UserError if there are fewer rows than one batch.
    """
    import tensorflow as tf

    if len(rows) < batch_size:
        raise UserError(f"--batch_size {batch_size} is more than the {len(rows)} training clips")

    def order(epoch):
        permutation = np.random.default_rng([seed, int(epoch)]).permutation(rows)
        return np.stack([permutation, views_of_epoch(source, permutation, seed=seed, epoch=int(epoch))], axis=1)

    def epoch_batches(epoch):
        permutation = tf.ensure_shape(tf.numpy_function(order, [epoch], tf.int64, stateful=False), [len(rows), 2])
        return tf.data.Dataset.from_tensor_slices(permutation).batch(batch_size, drop_remainder=True)

    epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max)
    return load_batches(epochs.flat_map(epoch_batches), source, targets)


def evaluation_batches(
    source: Source, rows: np.ndarray, targets: Mapping[str, np.ndarray | Source], *, batch_size: int, view: int = 0
):
    """One pass over one view of `rows` in their order, the last batch as small as it is; else as `training_batches`."""
    import tensorflow as tf

    rows = np.asarray(rows, np.int64)
    order = tf.data.Dataset.from_tensor_slices(np.stack([rows, np.full_like(rows, view)], axis=1))
    return load_batches(order.batch(batch_size), source, targets)


def as_source(values: np.ndarray | Source) -> Source:
    """What `targets` may hold, as a Source: an array with an entry a row, or of three axes with one a row and view."""
    if isinstance(values, Source):
        return values
    values = np.asarray(values)
    if values.ndim == 3:
        return Source(lambda rows, views: values[rows, views], values.shape[2:], values.dtype)
    return Source(lambda rows, _: values[rows], values.shape[1:], values.dtype)


def load_batches(order, source: Source, targets: Mapping[str, np.ndarray | Source]):
    """Batches of (row, view) `(B, 2)` to batches of `(inputs, targets)`, read ahead on all cores, in order.

    Without tf.data's autotuning: the thread that tunes sleeps up to a minute between its rounds, and an iterator is not
    deleted before it wakes (TensorFlow 2.21), so that a training of a minute ended a minute late.
    """
    import tensorflow as tf

    sources = [source, *(as_source(values) for values in targets.values())]

    def read(order):
        rows, views = order.T
        return [each.read(rows, views) for each in sources]

    def load(order):
        found = tf.numpy_function(read, [order], [tf.as_dtype(each.dtype) for each in sources], stateful=False)
        inputs, *entries = [tf.ensure_shape(part, (None, *each.shape)) for part, each in zip(found, sources)]
        return inputs, dict(zip(targets, entries))

    options = tf.data.Options()
    options.autotune.enabled = False
    batches = order.map(load, num_parallel_calls=cores(), deterministic=True).prefetch(READ_AHEAD)
    return batches.with_options(options)


@contextlib.contextmanager
def batch_loop() -> Iterator[Callable[[], None]]:
    """Around a loop over batches; yields a function to call after each, where Ctrl-C and SIGTERM end the loop.

    Raises Interrupted there (see interruption.py), and a read's UserError as such, not as TensorFlow's report of
    it.
    """
    import tensorflow as tf

    try:
        with between_steps() as check:
            yield check
    except tf.errors.OpError as error:
        reported = re.search("UserError: (.*)", error.message)
        if reported is None:
            raise
        raise UserError(reported[1]) from None
