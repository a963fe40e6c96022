"""Batches: every clip once per epoch, with its own targets, in an order determined by seed and epoch."""

import numpy as np
import pytest

from utils.base.errors import UserError
from utils.data.batches import RowReader, batch_loop, clip_batches, evaluation_batches, training_batches, views_of_epoch

ROWS = np.array([1, 3, 4, 6, 7, 8, 10, 11, 12, 15])
NUMBERS = RowReader(lambda rows, _: np.stack([np.full(2, row, np.float32) for row in rows]), (2,), np.float32)
TARGETS = {"labels": np.arange(20) * 10}


def epochs_of(batches, count, steps):
    """Return row numbers `(count, steps, batch)` read from the inputs; check that the targets are theirs."""
    rows = []
    for inputs, targets in batches.take(count * steps).as_numpy_iterator():
        np.testing.assert_array_equal(inputs[:, 0] * 10, targets["labels"])
        rows.append(inputs[:, 0].astype(int))
    return np.array(rows).reshape(count, steps, -1)


def test_each_epoch_is_a_full_permutation():
    """A clip that is skipped or repeated would bias training unnoticed."""
    epochs = epochs_of(training_batches(NUMBERS, ROWS, TARGETS, batch_size=5, seed=0), 3, 2)
    for epoch in epochs:
        assert sorted(epoch.ravel()) == ROWS.tolist()
    assert not np.array_equal(epochs[0], epochs[1])


def test_order_is_a_function_of_seed_and_epoch():
    """A run resumed at epoch 2 must see the same batches as an uninterrupted run."""
    whole = epochs_of(training_batches(NUMBERS, ROWS, TARGETS, batch_size=5, seed=4), 4, 2)
    later = epochs_of(training_batches(NUMBERS, ROWS, TARGETS, batch_size=5, seed=4, first_epoch=2), 2, 2)
    np.testing.assert_array_equal(whole[2:], later)
    other = epochs_of(training_batches(NUMBERS, ROWS, TARGETS, batch_size=5, seed=5), 4, 2)
    assert not np.array_equal(whole, other)


def test_the_partial_batch_is_dropped_in_training_and_kept_in_evaluation():
    """In training its clips would get a larger weight; in evaluation every clip must count once."""
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
BY_VIEW = {"labels": np.arange(20) * 10, "logits": np.arange(20 * 3 * 2).reshape(20, 3, 2)}


def views_by_epoch(batches, epochs, steps=2):
    """Return {row: view} of each epoch, read from the inputs; check that the targets belong to row and view."""
    found = [{} for _ in range(epochs)]
    for step, (inputs, targets) in enumerate(batches.take(epochs * steps).as_numpy_iterator()):
        rows, views = inputs.astype(int).T
        np.testing.assert_array_equal(targets["labels"], rows * 10)
        np.testing.assert_array_equal(targets["logits"], BY_VIEW["logits"][rows, views])
        found[step // steps].update(zip(rows.tolist(), views.tolist()))
    return found


def test_each_cycle_reads_every_view_once_with_its_own_targets():
    """A skipped view wastes its logits; the logits of another view would teach something else."""
    epochs = views_by_epoch(training_batches(VIEWS, ROWS, BY_VIEW, batch_size=5, seed=0), 6)
    for cycle in (epochs[:3], epochs[3:]):
        for row in ROWS.tolist():
            assert sorted(epoch[row] for epoch in cycle) == [0, 1, 2]
    assert len(set(epochs[0].values())) > 1  # clips are not all in the same view


def test_views_are_a_function_of_seed_and_epoch():
    """A run resumed at epoch 4 must read the same views as an uninterrupted run."""
    whole = views_by_epoch(training_batches(VIEWS, ROWS, BY_VIEW, batch_size=5, seed=1), 6)
    later = views_by_epoch(training_batches(VIEWS, ROWS, BY_VIEW, batch_size=5, seed=1, first_epoch=4), 2)
    assert whole[4:] == later
    assert whole != views_by_epoch(training_batches(VIEWS, ROWS, BY_VIEW, batch_size=5, seed=2), 6)
    few = views_of_epoch(VIEWS, ROWS[:3], seed=1, epoch=4)
    assert few.tolist() == [whole[4][row] for row in ROWS[:3].tolist()]  # independent of the other rows


def test_fresh_views_are_never_repeated():
    """A teacher that sees new views in every epoch learns more than from eight fixed views."""
    source = RowReader(VIEWS.read, (2,), np.float32, views=2, fresh=True)
    numbers = np.array([views_of_epoch(source, ROWS, seed=0, epoch=epoch) for epoch in range(50)])
    assert len(np.unique(numbers)) == numbers.size
    assert numbers.min() >= 1
    assert not views_of_epoch(RowReader(VIEWS.read, (2,), np.float32, fresh=True), ROWS, seed=0, epoch=3).any()


def test_evaluation_reads_the_given_view():
    """Validation on augmented views would choose another epoch than validation on whole clips."""
    for view in (0, 2):
        for inputs, targets in evaluation_batches(VIEWS, ROWS, BY_VIEW, batch_size=4, view=view).as_numpy_iterator():
            assert (inputs[:, 1] == view).all()
            np.testing.assert_array_equal(targets["logits"], BY_VIEW["logits"][inputs[:, 0].astype(int), view])


def test_clips_without_tensorflow_are_those_of_the_pipeline():
    """A test would be of other clips than validation, or miss the last ones."""
    for view in (0, 2):
        pipeline = [inputs for inputs, _ in evaluation_batches(VIEWS, ROWS, {}, batch_size=4, view=view)]
        for found, expected in zip(clip_batches(VIEWS, ROWS, batch_size=4, view=view), pipeline, strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("batches", [clip_batches, lambda *args, **named: evaluation_batches(*args, {}, **named)])
def test_errors_of_a_reader_are_raised_as_they_are(batches):
    """A file that was truncated while in use would end in a traceback."""

    def read(rows, _):
        raise UserError("--data: frames.npy was changed")

    with pytest.raises(UserError, match=r"^--data: frames\.npy was changed$"), batch_loop():
        list(batches(RowReader(read, (2,), np.float32), ROWS, batch_size=4))


def test_a_reader_among_the_targets_reads_the_same_view():
    """A live teacher with another input size must see the same view as the student."""
    targets = {**BY_VIEW, "teacher_clips": RowReader(lambda rows, views: rows * 100 + views, (), np.int64)}
    for inputs, found in training_batches(VIEWS, ROWS, targets, batch_size=5, seed=0).take(6).as_numpy_iterator():
        np.testing.assert_array_equal(found["teacher_clips"], inputs[:, 0] * 100 + inputs[:, 1])


def test_iterators_have_no_autotuning_thread():
    """The thread sleeps for up to a minute, and training would wait for it before it saves the model."""
    source = RowReader(lambda rows, views: rows.astype(np.float32), (), np.float32)
    batches = training_batches(source, np.arange(4), {"labels": np.arange(4)}, batch_size=2, seed=0)
    changed = batches.skip(1).map(lambda inputs, targets: (inputs, targets["labels"]))
    assert changed.options().autotune.enabled is False
