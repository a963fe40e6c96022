"""The shares that several processes read of each batch, put together and compared with the batches of one process."""

import numpy as np
import pytest

from utils.data.batches import RowReader, evaluation_batches, padded_batches, training_batches

READER = RowReader(lambda rows, views: np.stack([rows, views], axis=1), (2,), np.int64, views=2)
LABELS = np.arange(30) % 4


def shares(processes, batch_size):
    size = batch_size // processes
    return [slice(number * size, (number + 1) * size) for number in range(processes)]


def taken(batches, count):
    return list(batches.take(count).as_numpy_iterator())


@pytest.mark.parametrize("processes", [2, 3])
def test_the_shares_of_a_training_batch_are_that_batch(processes):
    """Clips would be read twice or never, and the weights depend on the number of processes."""
    settings = {"batch_size": 6, "seed": 1, "first_epoch": 2}
    rows, targets = np.arange(3, 28), {"labels": LABELS}
    whole = taken(training_batches(READER, rows, targets, **settings), 9)
    parts = [
        taken(training_batches(READER, rows, targets, share=share, **settings), 9) for share in shares(processes, 6)
    ]
    for (clips, found), *each in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(np.concatenate([part[0] for part in each]), clips)
        np.testing.assert_array_equal(np.concatenate([part[1]["labels"] for part in each]), found["labels"])


@pytest.mark.parametrize("count", [12, 13, 16, 3])
def test_weighted_means_of_padded_batches_are_those_of_all_clips(count):
    """Validation losses would depend on how many clips the last batch lacks, and its clips on the batch size."""
    rows, values = np.arange(5, 5 + count), np.random.default_rng(0).normal(size=30)
    settings = {"batch_size": 4}
    parts = [
        taken(padded_batches(READER, rows, {"labels": LABELS}, share=share, **settings), 99) for share in shares(2, 4)
    ]
    flat = [[(clips, found["labels"], weight) for clips, found, weight in part] for part in parts]
    batches = [[np.concatenate(pair) for pair in zip(*each)] for each in zip(*flat)]
    means = [np.mean(weight * values[clips[:, 0]]) for clips, _, weight in batches]
    assert np.mean(means) == pytest.approx(values[rows].mean(), rel=1e-6)
    clips, labels, weights = (np.concatenate(part) for part in zip(*batches))
    np.testing.assert_array_equal(clips[weights > 0, 0], rows)
    np.testing.assert_array_equal(labels[weights > 0], LABELS[rows])
    assert (labels[weights == 0] == -1).all()
    assert len(clips) % 4 == 0
    plain = taken(evaluation_batches(READER, rows, {"labels": LABELS}, **settings), 99)
    np.testing.assert_array_equal(np.concatenate([part[0] for part in plain]), clips[weights > 0])
