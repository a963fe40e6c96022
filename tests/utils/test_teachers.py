"""A teacher before its student starts: who may teach, and answers that lie beside their own clips."""

import numpy as np
import pytest

from tests.fake_recognizer import fake_recognizer, record_of
from utils.clips import open_clips
from utils.errors import UserError
from utils.options import DistillationOptions, ViewOptions
from utils.splits import make_split
from utils.teachers import check_teacher, load_teacher, teacher_logits


@pytest.fixture
def dataset(make_arrays):
    folder = make_arrays(height=32, width=32)
    return open_clips(folder / "frames.npy", folder / "labels.npy")


def split_of(dataset, protocol="group", seed=0):
    return make_split(
        dataset.labels, dataset.paths, class_names=dataset.class_names, protocol=protocol, split_seed=seed
    )


def test_a_teacher_that_has_seen_test_clips_is_refused(dataset):
    """What it knows of the test clips would reach the student, and the test would measure memory."""
    split = split_of(dataset)
    for protocol, seed, differing in (("random", 0, "--split is random"), ("group", 1, "--split_seed is 1")):
        teacher = fake_recognizer("t.h5", record=record_of(dataset, split_of(dataset, protocol, seed)))
        with pytest.raises(UserError, match=rf"--source t\.h5 has seen \d of the 6 test clips .*{differing} in the re"):
            check_teacher(teacher, dataset, split)


def test_a_clean_teacher_passes_without_a_word(dataset, capsys):
    split = split_of(dataset)
    check_teacher(fake_recognizer("t.h5", record=record_of(dataset, split)), dataset, split)
    assert capsys.readouterr().out == ""


def test_what_cannot_be_known_is_said(dataset, make_arrays, capsys):
    """Silence would read as a clean bill of health."""
    split = split_of(dataset)
    check_teacher(fake_recognizer("t.h5"), dataset, split)
    assert "t.h5 has no record, so it cannot be known" in capsys.readouterr().out
    folder = make_arrays("others", groups=6)
    others = open_clips(folder / "frames.npy", folder / "labels.npy")
    check_teacher(fake_recognizer("t.h5", record=record_of(others, split_of(others))), dataset, split)
    assert "t.h5 was trained on other arrays, so it cannot be known" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_classes": 4}, r"--source: t\.h5 knows 4 classes but --data holds 3"),
        ({"classes": ["Class0", "Jump", "Class2"]}, r"but 1 differ \(its class / that of --data: Jump / Class1\)"),
        ({"classes": ["Class1", "Class0", "Class2"]}, r"but 2 differ \(its class / that of --data: Class1 / Class0, "),
        ({"frames": 20}, r"--source: t\.h5 takes 20 frames but --data holds clips of 16"),
    ],
)
def test_a_teacher_of_other_classes_or_clips_is_refused(dataset, change, message):
    """Its third score would be taught as the third class of these arrays, whatever it means."""
    split = split_of(dataset)
    record = record_of(dataset, split)
    record["class_names"] = change.pop("classes", record["class_names"])
    with pytest.raises(UserError, match=message) as error:
        check_teacher(fake_recognizer("t.h5", record=record, **change), dataset, split)
    assert "\n" not in str(error.value)


def test_answers_lie_in_the_rows_of_their_clips(dataset, capsys):
    """Answers in another order would teach each clip its neighbour's; a test clip's answer must not exist at all."""
    split = split_of(dataset)
    scores = np.random.default_rng(0).normal(size=(len(dataset), 3)).astype(np.float32)
    scores[split.train] += 9 * np.eye(3)[dataset.labels[split.train]]  # always right in training
    scores[split.validation] -= 9 * np.eye(3)[dataset.labels[split.validation]]  # never right in validation
    teacher = fake_recognizer("t.h5", scores=scores)
    logits = teacher_logits(teacher, dataset, split, ViewOptions(views=2))
    assert logits.shape == (len(dataset), 3, 3)
    for view in range(3):
        np.testing.assert_array_equal(logits[split.train, view], scores[split.train] + view)
    np.testing.assert_array_equal(logits[split.validation, 0], scores[split.validation])
    assert np.isnan(logits[split.validation, 1:]).all()
    assert np.isnan(logits[split.test]).all()
    assert not set(teacher.asked) & set(split.test)
    assert logits.dtype == np.float32
    assert "100.0 % right on training clips, 0.0 % on validation clips" in capsys.readouterr().out


def test_no_teacher_is_one_error():
    with pytest.raises(UserError, match="--source must name a teacher unless --alpha is 1, got none"):
        load_teacher(DistillationOptions())
