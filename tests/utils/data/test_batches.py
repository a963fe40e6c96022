"""Batches: every clip once an epoch, with its own targets, in an order that a seed and an epoch number fix."""

import numpy as np
import pytest

from utils.data.batches import RowReader, evaluation_batches, training_batches, views_of_epoch
from utils.runtime.errors import UserError

ROWS = np.array([1, 3, 4, 6, 7, 8, 10, 11, 12, 15])
NUMBERS = RowReader(lambda rows, _: np.stack([np.full(2, row, np.float32) for row in rows]), (2,), np.float32)
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


VIEWS = RowReader(lambda rows, views: np.stack([rows, views], axis=1).astype(np.float32), (2,), np.float32, views=2)
BY_VIEW = {"labels": np.arange(20) * 10, "answers": np.arange(20 * 3 * 2).reshape(20, 3, 2)}


def views_by_epoch(batches, epochs, steps=2):
    """{row: view} of each epoch, read from the inputs; checks that the targets are those of row and view."""
    found = [{} for _ in range(epochs)]
    for step, (inputs, targets) in enumerate(batches.take(epochs * steps).as_numpy_iterator()):
        rows, views = inputs.astype(int).T
        np.testing.assert_array_equal(targets["labels"], rows * 10)
        np.testing.assert_array_equal(targets["answers"], BY_VIEW["answers"][rows, views])
        found[step // steps].update(zip(rows.tolist(), views.tolist()))
    return found


def test_each_view_is_read_once_in_turn_beside_its_own_answer():
    """A view never read wastes its answers; another view's answer beside a clip teaches what the teacher never said."""
    epochs = views_by_epoch(training_batches(VIEWS, ROWS, BY_VIEW, batch_size=5, seed=0), 6)
    for cycle in (epochs[:3], epochs[3:]):
        for row in ROWS.tolist():
            assert sorted(epoch[row] for epoch in cycle) == [0, 1, 2]
    assert len(set(epochs[0].values())) > 1  # not one view for all clips at a time


def test_views_are_a_function_of_seed_and_epoch():
    """A training that is continued at epoch 4 must read the views that an undisturbed one reads."""
    whole = views_by_epoch(training_batches(VIEWS, ROWS, BY_VIEW, batch_size=5, seed=1), 6)
    later = views_by_epoch(training_batches(VIEWS, ROWS, BY_VIEW, batch_size=5, seed=1, first_epoch=4), 2)
    assert whole[4:] == later
    assert whole != views_by_epoch(training_batches(VIEWS, ROWS, BY_VIEW, batch_size=5, seed=2), 6)
    few = views_of_epoch(VIEWS, ROWS[:3], seed=1, epoch=4)
    assert few.tolist() == [whole[4][row] for row in ROWS[:3].tolist()]  # whoever else is trained on


def test_fresh_views_never_come_again():
    """A teacher that sees new views in each epoch has more to learn from than one that sees eight."""
    source = RowReader(VIEWS.read, (2,), np.float32, views=2, fresh=True)
    numbers = np.array([views_of_epoch(source, ROWS, seed=0, epoch=epoch) for epoch in range(50)])
    assert len(np.unique(numbers)) == numbers.size
    assert numbers.min() >= 1
    assert not views_of_epoch(RowReader(VIEWS.read, (2,), np.float32, fresh=True), ROWS, seed=0, epoch=3).any()


def test_evaluation_reads_the_view_that_is_asked_for():
    """Validation in training views would choose the epoch by other clips than the test's."""
    for view in (0, 2):
        for inputs, targets in evaluation_batches(VIEWS, ROWS, BY_VIEW, batch_size=4, view=view).as_numpy_iterator():
            assert (inputs[:, 1] == view).all()
            np.testing.assert_array_equal(targets["answers"], BY_VIEW["answers"][inputs[:, 0].astype(int), view])


def test_a_source_among_the_targets_is_read_in_the_same_view():
    """A teacher in the step, of another input size, must be shown what the student is shown."""
    targets = {**BY_VIEW, "teacher_clips": RowReader(lambda rows, views: rows * 100 + views, (), np.int64)}
    for inputs, found in training_batches(VIEWS, ROWS, targets, batch_size=5, seed=0).take(6).as_numpy_iterator():
        np.testing.assert_array_equal(found["teacher_clips"], inputs[:, 0] * 100 + inputs[:, 1])


def test_an_iterator_has_no_tuning_thread():
    """Its thread sleeps up to a minute, and a training waits for it to wake before it saves what it trained."""
    source = RowReader(lambda rows, views: rows.astype(np.float32), (), np.float32)
    batches = training_batches(source, np.arange(4), {"labels": np.arange(4)}, batch_size=2, seed=0)
    changed = batches.skip(1).map(lambda inputs, targets: (inputs, targets["labels"]))
    assert changed.options().autotune.enabled is False
