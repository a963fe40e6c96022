"""A recogniser is tested on clips that it has not seen, or a note says that they may be known to it."""

import re

import numpy as np
import pytest

from tests.fake_recognizer import fake_recognizer, record_of, valid_record
from utils.base.errors import UserError
from utils.data.clips import open_clips, with_unlabelled
from utils.data.protocols import make_split
from utils.evaluation.testing import choose_test_clips, predict, with_seen_unlabelled


@pytest.fixture
def dataset(make_arrays):
    folder = make_arrays(height=32, width=32)
    return open_clips(folder / "frames.npy", folder / "labels.npy")


@pytest.fixture
def renamed(make_arrays, dataset):
    """Open arrays of other videos than `dataset`, with 10 clips per class and the given class names."""

    def rename(*names):
        folder = make_arrays("renamed", classes=len(names), height=32, width=32, seed=1)
        paths = np.load(folder / "video_file_paths.npy")
        paths = np.array([re.sub(r"Class(\d)", lambda match: names[int(match[1])], path) for path in paths])
        np.save(folder / "video_file_paths.npy", paths)
        return open_clips(folder / "frames.npy", folder / "labels.npy")

    return rename


def split_of(dataset, protocol="group", seed=0):
    return make_split(
        dataset.labels, dataset.paths, class_names=dataset.class_names, protocol=protocol, split_seed=seed
    )


def test_the_recorded_test_clips(dataset):
    """Otherwise a recogniser could be tested on its training clips."""
    split = split_of(dataset, seed=3)
    chosen = choose_test_clips(fake_recognizer("s.h5", record=record_of(dataset, split)), dataset, None)
    np.testing.assert_array_equal(chosen.rows, split.test)
    np.testing.assert_array_equal(chosen.labels, dataset.labels[split.test])
    assert chosen.class_names == dataset.class_names
    assert chosen.protocol == "group, seed 3"
    assert chosen.notes == split.notes
    assert chosen.seen.as_dict() == {"test_clips": 6, "seen_test_clips": 0, "unknown": []}
    assert not set(chosen.rows) & set(np.concatenate([split.train, split.validation]))


def test_requesting_the_recorded_split_changes_nothing(dataset):
    split = split_of(dataset)
    recognizer = fake_recognizer("s.h5", record=record_of(dataset, split))
    one, other = (choose_test_clips(recognizer, dataset, asked) for asked in (None, split_of(dataset)))
    np.testing.assert_array_equal(one.rows, other.rows)
    assert one.notes == other.notes


def test_another_split_is_refused_or_marked_as_forced(dataset):
    """Otherwise the accuracy on training clips would pass for a test accuracy."""
    split, asked = split_of(dataset), split_of(dataset, "random", 5)
    recognizer = fake_recognizer("s.h5", record=record_of(dataset, split))
    with pytest.raises(
        UserError, match=r"--recognizer s\.h5 must be tested on the split in its record, but --split is"
    ):
        choose_test_clips(recognizer, dataset, asked)
    chosen = choose_test_clips(recognizer, dataset, asked, force=True)
    np.testing.assert_array_equal(chosen.rows, asked.test)
    np.testing.assert_array_equal(chosen.labels, dataset.labels[asked.test])
    assert chosen.notes[0].startswith("FORCED: s.h5 was trained with --split group --split_seed 0 and is tested on ")
    seen = set(asked.test) - set(split.test)
    assert seen
    assert set(chosen.seen.seen) == seen
    assert chosen.protocol == "random, seed 5, FORCED"


def test_without_a_record_all_clips_and_a_warning(dataset):
    """Otherwise a user would not know that the test may contain training clips."""
    chosen = choose_test_clips(fake_recognizer("old.h5"), dataset, None)
    np.testing.assert_array_equal(chosen.rows, np.arange(30))
    np.testing.assert_array_equal(chosen.labels, dataset.labels)
    assert chosen.protocol == "all clips"
    assert chosen.notes == ()
    assert chosen.seen.unknown == ("old.h5 has no record (old.json)",)
    asked = split_of(dataset)
    chosen = choose_test_clips(fake_recognizer("old.h5"), dataset, asked)
    np.testing.assert_array_equal(chosen.rows, asked.test)
    assert chosen.protocol == "group, seed 0"
    with pytest.raises(UserError, match=r"--recognizer: old\.h5 has 5 classes but --data has 3"):
        choose_test_clips(fake_recognizer("old.h5", num_classes=5), dataset, None)


def test_other_arrays_are_tested_on_all_clips_with_classes_by_name(dataset, renamed):
    """Otherwise predictions would be compared with wrong labels, because other arrays number classes differently."""
    recognizer = fake_recognizer("s.h5", record=record_of(dataset, split_of(dataset)))
    others = renamed("Class2", "Hop", "Class0")
    chosen = choose_test_clips(recognizer, others, None)
    np.testing.assert_array_equal(chosen.rows, np.flatnonzero(others.labels != 1))
    np.testing.assert_array_equal(chosen.labels, np.repeat([2, 0], 10))  # in the recogniser's numbering
    assert chosen.class_names == dataset.class_names
    assert chosen.protocol == "all clips"
    assert chosen.notes[0].startswith("These are not the arrays that s.h5 was trained on: classes are matched by name")
    assert chosen.seen.unknown == ("s.h5 was trained on other arrays",)
    assert chosen.notes[1] == "10 clips of unknown classes are left out: Hop."


def test_other_arrays_with_a_requested_split(dataset, renamed):
    recognizer = fake_recognizer("s.h5", record=record_of(dataset, split_of(dataset)))
    others = renamed("Class1", "Class0")
    asked = split_of(others)
    chosen = choose_test_clips(recognizer, others, asked)
    np.testing.assert_array_equal(chosen.rows, asked.test)
    np.testing.assert_array_equal(chosen.labels, 1 - others.labels[asked.test])
    assert len(chosen.notes) == 1


def test_arrays_without_a_known_class_are_an_error(dataset, renamed):
    recognizer = fake_recognizer("s.h5", record=record_of(dataset, split_of(dataset)))
    with pytest.raises(UserError, match=r"s\.h5 has none of the classes in --data, which are Hop, Run; it has Cl"):
        choose_test_clips(recognizer, renamed("Hop", "Run"), None)


def test_predictions_are_of_the_chosen_clips_in_order(dataset):
    """Otherwise the accuracy would include the warm-up or other clips."""
    split = split_of(dataset)
    scores = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    recognizer = fake_recognizer("s.h5", record=record_of(dataset, split), scores=scores)
    predictions = predict(recognizer, dataset, choose_test_clips(recognizer, dataset, None), batch_size=4)
    np.testing.assert_array_equal(predictions.logits, scores[split.test])
    assert predictions.clips_per_second > 0
    assert set(recognizer.asked) == set(split.test)


def removed(path):
    path.unlink()
    return "more/frames.npy does not exist"


def changed(path):
    np.save(path, 255 - np.load(path))
    return "more/frames.npy changed since the training"


def shortened(path):
    np.save(path, np.load(path)[:, 1:])
    return "more/frames.npy must hold clips of 16 frames, as --data does, found 15"


@pytest.mark.parametrize("change", [removed, changed, shortened])
def test_unlabelled_clips_of_the_training_are_seen_again_or_a_note_says_why_not(dataset, make_arrays, change):
    """The test would be reported as free of leaks although a part of the seen clips is unknown, or not run at all."""
    path = make_arrays("more", classes=1, groups=2, seed=1) / "frames.npy"
    (part,) = with_unlabelled(dataset, [path]).unlabelled
    record = valid_record(unlabelled={"files": [{"path": str(path), "arrays": part.fingerprint()}], "leaks": {}})
    assert with_seen_unlabelled(dataset, valid_record())[1] == ""
    seen, note = with_seen_unlabelled(dataset, record)
    assert (seen.row_count, note) == (34, "")
    problem = change(path)
    seen, note = with_seen_unlabelled(dataset, record)
    assert seen is dataset
    assert note.startswith("Unlabelled clips of the training could not be searched for leaks: ")
    assert note.endswith(f"{problem}.")
