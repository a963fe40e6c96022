"""What a recogniser has seen of its test clips: known from its record, or unknown with the reason."""

from pathlib import Path

import numpy as np
import pytest

from tests.fake_recognizer import record_of
from utils.base.errors import UserError
from utils.data.clips import open_clips
from utils.data.protocols import Split
from utils.runs.clips import Inherited
from utils.runs.scores import Key, ScoresFile
from utils.runs.seen import (
    Parent,
    Seen,
    inherited_from,
    mark,
    over_folds,
    seen_cell,
    seen_clips,
    sets_of_model,
    united,
    warnings,
)

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
    for about, clips, seen, reason in [
        (None, dataset, 0, "s.h5 has no record (s.json)"),
        (record, others, 5, "s.h5 was trained on other arrays"),  # five clips have paths of training clips
        (ScoresFile(key=key), dataset, 0, "s.json does not list the training clips of s.h5"),
    ]:
        found = seen_clips(about, clips, np.arange(5), path=MODEL)
        assert found.as_dict() == {"test_clips": 5, "seen_test_clips": seen, "unknown": [reason]}


@pytest.fixture
def subset(arrays):
    """Return a function that writes some clips of the arrays to a folder of their own and opens them."""
    dataset, _ = arrays

    def write(name, rows):
        folder = dataset.frames.path.parent.with_name(name)
        folder.mkdir()
        np.save(folder / "frames.npy", np.load(dataset.frames.path)[rows])
        np.save(folder / "labels.npy", dataset.labels[rows])
        np.save(folder / "video_file_paths.npy", dataset.paths[rows])
        return open_clips(folder / "frames.npy", folder / "labels.npy")

    return write


def split_by(dataset, test_numbers):
    """Test the groups with these numbers, validate on group 5 or the last one below, and train on the others."""
    numbers = np.array([int(path.partition("_g")[2][:2]) for path in dataset.paths.tolist()])
    test = np.isin(numbers, test_numbers)
    validation = numbers == max(set(numbers) - set(test_numbers))
    rows = (np.flatnonzero(part) for part in (~test & ~validation, validation, test))
    return Split("group", 0, *rows, ())


def trained(name, dataset, split, *parents):
    """Return a model that learns from the `parents`, each a path and its record, and its record."""
    found = inherited_from([Parent(*each, "--initial_weights", ", its parent,") for each in parents], dataset, split)
    return Path(name), record_of(dataset, split, inherited=found)


def test_what_a_grandparent_has_seen_is_seen(arrays, subset, capsys):
    """Test clips on which the first of three generations was trained would count as unseen."""
    dataset, _ = arrays
    numbers = np.array([int(path.partition("_g")[2][:2]) for path in dataset.paths.tolist()])
    first = trained("a.keras", dataset, split_by(dataset, [5]))
    part = subset("part", np.flatnonzero(numbers > 2))
    second = trained("b.keras", part, split_by(part, [5]), first)
    assert len(second[1].inherited.clips) == np.count_nonzero(numbers <= 2)
    with pytest.raises(UserError, match=r"--initial_weights: b\.keras has seen 6 of the 6 test clips of this split"):
        trained("c.keras", dataset, split_by(dataset, [1]), second)
    found = seen_clips(second[1], dataset, np.flatnonzero(numbers == 1), path=second[0])
    assert seen_cell(found.as_dict()) == "at least 6 of 6"
    third = trained("c.keras", dataset, split_by(dataset, [5]), second)
    assert third[1].inherited == Inherited()
    assert seen_cell(seen_clips(third[1], dataset, np.flatnonzero(numbers == 5), path=third[0]).as_dict()) == "none"
    assert capsys.readouterr().out == ""


def test_what_is_unknown_stays_unknown_in_all_generations(arrays, make_arrays, capsys):
    """A student of a teacher that may have seen the test clips would pass --fail_on_leak."""
    dataset, split = arrays
    child = trained("b.keras", dataset, split, (Path("a.keras"), None))
    grandchild = trained("c.keras", dataset, split, child)
    reason = "a.keras, its parent, has no record (a.json)"
    for path, record in (child, grandchild):
        found = seen_clips(record, dataset, split.test, path=path)
        assert (seen_cell(found.as_dict()), found.unknown) == ("unknown", (reason,))
        with pytest.raises(
            UserError, match=r"^x must be new, but it is unknown which test clips it has seen: a\.keras"
        ):
            found.refuse("x must be new")
    assert capsys.readouterr().out == f"note: it is unknown which test clips the model has seen: {reason}.\n" * 2
    others = make_arrays("others", seed=1)
    names = np.char.replace(np.load(others / "video_file_paths.npy"), "_c", "_d")
    np.save(others / "video_file_paths.npy", names)
    others = open_clips(others / "frames.npy", others / "labels.npy")
    elsewhere = trained("d.keras", others, split_by(others, [5]), (Path("a.keras"), record_of(dataset, split)))
    assert elsewhere[1].inherited.unknown == ["a.keras, its parent, was trained on other arrays"]


def test_the_sets_of_a_model_need_its_paths(arrays, tmp_path):
    """Rows of other clips would be taken for those of the record."""
    dataset, split = arrays
    record_of(dataset, split).save(tmp_path / "old.keras")
    sets = sets_of_model(tmp_path / "old.keras", argument="--split")
    assert {name: sorted(path for path in sets if sets[path] == name) for name in ("train", "test")} == {
        name: sorted(dataset.paths[getattr(split, name)].tolist()) for name in ("train", "test")
    }
    file = dataset.frames.path.with_name("video_file_paths.npy")
    np.save(file, dataset.paths[::-1])
    with pytest.raises(UserError, match=r"--split: .*old\.keras was trained on clips of which its paths must still be"):
        sets_of_model(tmp_path / "old.keras", argument="--split")
    with pytest.raises(UserError, match=r"--split: none\.keras must have a record, but none\.json does not exist"):
        sets_of_model(Path("none.keras"), argument="--split")


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
