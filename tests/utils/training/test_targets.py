"""Checks of teachers before training, and the average of several teachers."""

from pathlib import Path

import numpy as np
import pytest

from tests.fake_recognizer import fake_recognizer, record_of
from utils.base.errors import UserError
from utils.base.files import file_fingerprint
from utils.base.options import DistillationOptions, TrainingOptions, ViewOptions
from utils.data.clips import open_clips
from utils.data.protocols import make_split
from utils.runs.clips import Inherited
from utils.runs.loading import SplitDataset
from utils.training import teacher as teacher_module
from utils.training.networks import about_weights
from utils.training.question import Question
from utils.training.targets import teacher_logits
from utils.training.teacher import Teacher, check_network, check_teacher, resolve_teachers


@pytest.fixture
def dataset(make_arrays):
    folder = make_arrays(height=32, width=32)
    return open_clips(folder / "frames.npy", folder / "labels.npy")


def check_record(record, dataset, split):
    check_teacher(Teacher(Path("t.h5"), "", record), SplitDataset(dataset, split))


def split_of(dataset, protocol="group", seed=0):
    return make_split(
        dataset.labels, dataset.paths, class_names=dataset.class_names, protocol=protocol, split_seed=seed
    )


def about(record, dataset, split, **options):
    teacher = Teacher(Path("t.h5"), "", record)
    return about_weights({}, SplitDataset(dataset, split), TrainingOptions(**options), [teacher])


def test_a_teacher_that_has_seen_test_clips_is_rejected(dataset):
    """The student would learn about test clips from the teacher, and its test accuracy would be too high."""
    split = split_of(dataset)
    for protocol, seed, differing in (("random", 0, "--split is random"), ("group", 1, "--split_seed is 1")):
        record = record_of(dataset, split_of(dataset, protocol, seed))
        with pytest.raises(UserError, match=rf"--source: t\.h5 has seen \d of the 6 .*{differing} in the re"):
            about(record, dataset, split)


def test_a_valid_teacher_is_accepted_without_a_message(dataset, capsys):
    split = split_of(dataset)
    check_record(record_of(dataset, split), dataset, split)
    assert about(record_of(dataset, split), dataset, split) == {"inherited": Inherited()}
    check_network(fake_recognizer("t.h5"), dataset)
    assert capsys.readouterr().out == ""


def test_unknown_training_clips_are_reported(dataset, make_arrays, capsys):
    """Without a message a user would assume that the teacher, and so its student, has not seen test clips."""
    split = split_of(dataset)
    reason = "t.h5, its teacher, has no record (t.json)"
    assert about(None, dataset, split)["inherited"].unknown == [reason]
    assert capsys.readouterr().out == f"note: it is unknown which test clips the model has seen: {reason}.\n"


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["Class0", "Class1", "Class2", "Jump"], r"--source: t\.h5 has 4 classes but --data has 3"),
        (["Class0", "Jump", "Class2"], r"but 1 differ \(teacher / --data: Jump / Class1\)"),
        (["Class1", "Class0", "Class2"], r"but 2 differ \(teacher / --data: Class1 / Class0, "),
    ],
)
def test_a_teacher_with_other_classes_is_rejected(dataset, classes, message):
    """Its scores would be used for the classes of these arrays, although they mean something else."""
    split = split_of(dataset)
    with pytest.raises(UserError, match=message) as error:
        check_record(record_of(dataset, split, class_names=classes), dataset, split)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_classes": 4}, r"--source: t\.h5 has 4 classes but --data has 3"),
        ({"frames": 20}, r"--source: t\.h5 takes 20 frames but the clips of --data have 16"),
    ],
)
def test_a_network_that_does_not_fit_the_data_is_rejected(dataset, change, message):
    """Without a record only the number of classes and the clip length are known."""
    with pytest.raises(UserError, match=message):
        check_network(fake_recognizer("t.h5", **change), dataset)


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def test_several_sources_are_averaged_by_row(dataset, tmp_path, capsys):
    """A network and a file of scores can be combined; rows that are not needed stay NaN."""
    split, rng = split_of(dataset), np.random.default_rng(0)
    first, second = (rng.normal(size=(len(dataset), 3)).astype(np.float32) for _ in range(2))
    first[split.train] += 9 * np.eye(3)[dataset.labels[split.train]]
    second += 9 * np.eye(3)[dataset.labels]
    (tmp_path / "t.h5").write_bytes(b"a network")
    record_of(dataset, split, fingerprint=file_fingerprint(tmp_path / "t.h5")).save(tmp_path / "t.h5")
    np.save(tmp_path / "s.npy", second)
    asked = []

    def load(path, record, **conventions):
        asked.append(conventions)
        return fake_recognizer(path, scores=first)

    options = DistillationOptions(
        source=(tmp_path / "t.h5", tmp_path / "s.npy"),
        temperature=4.0,
        source_channels="bgr",
        source_input_scale="0..1",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher_module, "open_network", load)
        question = Question(SplitDataset(dataset, split), ViewOptions(views=1))
        logits = teacher_logits(resolve_teachers(options), question, options)
    for view in range(2):
        rows = split.train
        expected = (softmax((first[rows] + view) / 4) + softmax(second[rows] / 4)) / 2
        np.testing.assert_allclose(softmax(logits[rows, view] / 4), expected, rtol=1e-4)
    assert np.isnan(logits[split.test]).all()
    assert asked == [{"argument": "--source", "channels": "rgb", "input_scale": "0..255"}]  # from its record
    assert "average of 2: accuracy 100.0 % on training clips" in capsys.readouterr().out


def test_a_missing_teacher_is_an_error():
    with pytest.raises(UserError, match="--source must name a teacher unless --alpha is 1, got none"):
        resolve_teachers(DistillationOptions())


def test_scores_cannot_be_a_live_teacher(tmp_path):
    """A file has no scores for new views."""
    np.save(tmp_path / "s.npy", -np.eye(30, 3, dtype=np.float32))
    options = DistillationOptions(source=tmp_path / "s.npy", teacher_mode="live")
    with pytest.raises(UserError, match=r"--teacher_outputs live must have one model as --source, got .*s\.npy"):
        resolve_teachers(options)
