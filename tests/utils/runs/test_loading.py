"""Loading and splitting of arrays, the first step of every stage."""

from dataclasses import replace

import numpy as np
import pytest

from utils.base.errors import UserError
from utils.base.options import DataOptions
from utils.data.clips import open_clips
from utils.runs.loading import load, split_of

SHAPE = (16, 32, 32, 3)


@pytest.fixture
def data(make_arrays):
    folder = make_arrays(height=32, width=40, groups=6)
    return DataOptions(folder / "frames.npy", folder / "labels.npy")


def test_all_stages_see_one_split(data, capsys):
    """With different splits, the teacher's training clips would include test clips of the student."""
    loaded, again = load(data, SHAPE), load(data, SHAPE).split
    dataset, split = loaded.dataset, loaded.split
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(split, name), getattr(again, name))
    assert split.protocol == "group"
    other = split_of(replace(data, split_seed=1), dataset)
    assert not np.array_equal(split.test, other.test)
    out = capsys.readouterr().out
    assert "36 clips of 16 frames 32x40 (HxW) in 3 classes" in out
    assert f"split group: {len(split.train)} train" in out
    assert "No test clip shares a group with a training or validation clip." in out


def test_clips_that_are_too_short_are_rejected(data):
    with pytest.raises(UserError, match=r"--data: .*frames\.npy holds clips of 16 frames, the model takes 20"):
        load(data, (20, 32, 32, 3))


def test_group_settings_reach_the_split(data):
    """Otherwise the split would silently use other groups."""
    dataset = open_clips(data.data, data.annotations)
    split = split_of(replace(data, group_pattern=r"_g(\d+)_"), dataset)  # groups across classes
    numbers = np.array([path.split("_g")[1][:2] for path in dataset.paths])
    assert not set(numbers[split.test]) & set(numbers[split.train])
