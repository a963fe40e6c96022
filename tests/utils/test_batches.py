"""Batches: every clip once an epoch, with its own targets, in an order that a seed and an epoch number fix."""

import numpy as np
import pytest

from utils.batches import Source, evaluation_batches, training_batches
from utils.errors import UserError

ROWS = np.array([1, 3, 4, 6, 7, 8, 10, 11, 12, 15])
NUMBERS = Source(lambda rows: np.stack([np.full(2, row, np.float32) for row in rows]), (2,), np.float32)
TARGETS = {"labels": np.arange(20) * 10}


def epochs_of(batches, count, steps):
    """Row numbers, (count, steps, batch), read from the inputs; checks that targets belong to them."""
    rows = []
    for inputs, targets in batches.take(count * steps).as_numpy_iterator():
        np.testing.assert_array_equal(inputs[:, 0] * 10, targets["labels"])
        rows.append(inputs[:, 0].astype(int))
    return np.array(rows).reshape(count, steps, -1)


def test_each_epoch_is_a_full_permutation():
    """A clip left out, or drawn twice, biases training without a sign."""
    epochs = epochs_of(training_batches(NUMBERS, ROWS, TARGETS, batch_size=5, seed=0), 3, 2)
    for epoch in epochs:
        assert sorted(epoch.ravel()) == ROWS.tolist()
    assert not np.array_equal(epochs[0], epochs[1])


def test_order_is_a_function_of_seed_and_epoch():
    """A training that is continued at epoch 2 must see what an undisturbed one sees."""
    whole = epochs_of(training_batches(NUMBERS, ROWS, TARGETS, batch_size=5, seed=4), 4, 2)
    later = epochs_of(training_batches(NUMBERS, ROWS, TARGETS, batch_size=5, seed=4, first_epoch=2), 2, 2)
    np.testing.assert_array_equal(whole[2:], later)
    other = epochs_of(training_batches(NUMBERS, ROWS, TARGETS, batch_size=5, seed=5), 4, 2)
    assert not np.array_equal(whole, other)


def test_a_partial_batch_is_dropped_in_training_and_kept_in_evaluation():
    """Dropped, since it would weigh its clips more; kept, since each test clip counts once."""
    epochs = epochs_of(training_batches(NUMBERS, ROWS, TARGETS, batch_size=4, seed=0), 2, 2)
    assert all(len(np.unique(epoch)) == 8 for epoch in epochs)
    batches = evaluation_batches(NUMBERS, ROWS, TARGETS, batch_size=4)
    rows = [inputs[:, 0].astype(int) for inputs, _ in batches.as_numpy_iterator()]
    assert [len(batch) for batch in rows] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate(rows), ROWS)


def test_fewer_clips_than_a_batch_is_an_error():
    with pytest.raises(UserError, match="--batch_size 11 is more than the 10 training clips"):
        training_batches(NUMBERS, ROWS, TARGETS, batch_size=11, seed=0)
