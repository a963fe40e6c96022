"""What every stage begins with: arrays opened and divided, labels taken away where few are wanted."""

from dataclasses import replace

import numpy as np
import pytest

from utils.data.clips import open_clips
from utils.data.labels import with_few_labels
from utils.data.loading import open_data, split_of
from utils.runtime.errors import UserError
from utils.settings.options import DataOptions
from utils.splits.groups import groups_or_reason

SHAPE = (16, 32, 32, 3)


@pytest.fixture
def data(make_arrays):
    folder = make_arrays(height=32, width=40, groups=6)
    return DataOptions(folder / "frames.npy", folder / "labels.npy")


def test_all_stages_see_one_split(data, capsys):
    """A teacher and a student that divided the clips otherwise would leak test clips into training."""
    dataset, split = open_data(data, SHAPE)
    _, again = open_data(data, SHAPE)
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(split, name), getattr(again, name))
    assert split.protocol == "group"
    other = split_of(replace(data, split_seed=1), dataset)
    assert not np.array_equal(split.test, other.test)
    out = capsys.readouterr().out
    assert "36 clips of 16 frames 32x40 (HxW) in 3 classes" in out
    assert f"split group: {len(split.train)} train" in out
    assert "No test clip shares a group with a training or validation clip." in out


def test_clips_that_are_too_short_are_named(data):
    with pytest.raises(UserError, match=r"--data: .*frames\.npy holds clips of 16 frames, the model takes 20"):
        open_data(data, (20, 32, 32, 3))


def test_group_settings_reach_the_split(data):
    """A pattern that is dropped on the way gives a group split of other groups, without a sign."""
    dataset = open_clips(data.data, data.annotations)
    split = split_of(replace(data, group_pattern=r"_g(\d+)_"), dataset)  # one group over all classes
    numbers = np.array([path.split("_g")[1][:2] for path in dataset.paths])
    assert not set(numbers[split.test]) & set(numbers[split.train])


def test_groups_or_reason(data):
    """Intervals by group need them; names without groups, or no names, give None, a wrong pattern an error."""
    dataset = open_clips(data.data, data.annotations)
    assert len(set(groups_or_reason(dataset.paths)[0].keys)) == 18
    assert groups_or_reason(None)[0] is None
    flat = np.array([f"Class{label}/clip{row}.avi" for row, label in enumerate(dataset.labels)])
    assert groups_or_reason(flat)[0] is None
    with pytest.raises(UserError, match="--group_pattern must be a regular expression"):
        groups_or_reason(dataset.paths, "(")


def test_few_labels_are_so_many_of_each_class_and_the_same_each_time(data):
    """A comparison of students with 2 labels a class must give all of them the same 2."""
    dataset, split = open_data(data, SHAPE)
    kept_split, labels = with_few_labels(dataset, split, 2, keep_unlabelled=True)
    _, again = with_few_labels(dataset, split, 2, keep_unlabelled=True)
    np.testing.assert_array_equal(labels, again)
    labelled = split.train[labels[split.train] >= 0]
    assert np.bincount(dataset.labels[labelled]).tolist() == [2, 2, 2]
    np.testing.assert_array_equal(labels[labelled], dataset.labels[labelled])
    held_out = np.concatenate([split.validation, split.test])
    np.testing.assert_array_equal(labels[held_out], dataset.labels[held_out])
    np.testing.assert_array_equal(kept_split.train, split.train)
    assert dataset.labels.min() == 0  # the arrays' own labels are untouched
    _, other = with_few_labels(dataset, replace(split, split_seed=9), 2, keep_unlabelled=True)
    assert not np.array_equal(labels, other)
    fewer = with_few_labels(dataset, split, 1, keep_unlabelled=True)[1]
    assert (labels[split.train][fewer[split.train] >= 0] >= 0).all()  # 1 of each class is among the 2


def test_without_a_teacher_unlabelled_clips_leave_the_training(data):
    """A label of -1 in a plain cross entropy would count as a class."""
    dataset, split = open_data(data, SHAPE)
    few, labels = with_few_labels(dataset, split, 2, keep_unlabelled=False)
    assert np.bincount(labels[few.train]).tolist() == [2, 2, 2]
    np.testing.assert_array_equal(few.validation, split.validation)
    np.testing.assert_array_equal(few.test, split.test)


def test_more_labels_than_there_are_is_all_of_them(data):
    dataset, split = open_data(data, SHAPE)
    np.testing.assert_array_equal(with_few_labels(dataset, split, 99, keep_unlabelled=False)[0].train, split.train)
