"""What a recogniser has seen of its test clips: known from its record, or unknown with the reason."""

from pathlib import Path

import numpy as np
import pytest

from tests.fake_recognizer import record_of
from utils.data.clips import open_clips
from utils.runs.scores import Key, ScoresFile
from utils.runs.seen import Seen, mark, over_folds, seen_cell, seen_clips, united, warnings

MODEL = Path("models/s.h5")
UNKNOWN = Seen(np.arange(3), np.zeros(0, np.int64), ("b.npy has no record (b.json)",))


def some(*clips):
    return Seen(np.arange(3), np.array(clips, np.int64))


@pytest.fixture
def record(arrays):
    return record_of(*arrays)


def test_training_and_validation_clips_are_seen(arrays, record):
    """A recogniser would be called new to clips that chose its epoch."""
    dataset, split = arrays
    rows = np.array([split.train[0], split.validation[1], split.test[0]])
    found = seen_clips(record, dataset, rows, path=MODEL)
    np.testing.assert_array_equal(found.seen, np.sort(rows[:2]))
    assert found.as_dict() == {"test_clips": 3, "seen_test_clips": 2, "unknown": []}
    assert seen_clips(record, dataset, rows, path=MODEL, sets=("train",)).seen.tolist() == [split.train[0]]
    assert not len(seen_clips(record, dataset, split.test, path=MODEL).seen)


def test_each_case_without_knowledge_has_its_reason(arrays, record, make_arrays):
    """An unknown recogniser would be called new to its test clips."""
    dataset, _ = arrays
    key = Key(**dataset.fingerprint(), rows="0" * 64, view_version=1, view_seed=0, flip=True)
    folder = make_arrays("others", groups=4, height=32, width=32)
    others = open_clips(folder / "frames.npy", folder / "labels.npy")
    for about, clips, reason in [
        (None, dataset, "s.h5 has no record (s.json)"),
        (record, others, "s.h5 was trained on other arrays"),
        (ScoresFile(key=key), dataset, "s.json does not list the training clips of s.h5"),
    ]:
        found = seen_clips(about, clips, np.arange(5), path=MODEL)
        assert found.as_dict() == {"test_clips": 5, "seen_test_clips": 0, "unknown": [reason]}


@pytest.mark.parametrize(
    ("members", "cell"),
    [
        ([some()], "none"),
        ([some(0, 2)], "2 of 3"),
        ([some(0), some(0, 1)], "2 of 3"),
        ([some(), UNKNOWN], "unknown"),
        ([some(1), UNKNOWN, UNKNOWN], "at least 1 of 3"),
    ],
)
def test_an_average_has_seen_what_any_member_has_seen(members, cell):
    """An average with a teacher that knows the test clips would look clean."""
    seen = united(members).as_dict()
    assert seen_cell(seen) == cell
    assert mark(seen) == ("" if cell == "none" else f" (test clips seen: {cell})")
    assert len(warnings("both", seen)) == {"none": 0, "at least 1 of 3": 2}.get(cell, 1)
    assert len(seen["unknown"]) <= 1


def test_folds_are_added():
    """A teacher that has seen the test clips of one fold only would count as clean, or as wholly leaked."""
    folds = [Seen(np.arange(4), np.array([2])), Seen(np.arange(4, 6), np.zeros(0, np.int64))]
    assert seen_cell(over_folds(folds).as_dict()) == "1 of 6"
