"""Scores of teachers that were run elsewhere: taken for what they are, and refused where they cannot be right."""

import numpy as np
import pytest

from utils.data.clips import open_clips
from utils.data.loading import SplitDataset
from utils.networks.records import split_record
from utils.runtime.errors import UserError
from utils.runtime.files import write_json
from utils.settings.options import ViewOptions
from utils.splits.protocols import make_split
from utils.teachers.exchange import read_scores
from utils.teachers.question import Question


@pytest.fixture
def question(make_arrays):
    folder = make_arrays(height=32, width=32)
    dataset = open_clips(folder / "frames.npy", folder / "labels.npy")
    split = make_split(dataset.labels, dataset.paths, class_names=dataset.class_names)
    return Question(SplitDataset(dataset, split), ViewOptions(views=2))


@pytest.fixture
def scores(question):
    """Logits (30, 3, 3) of a good teacher; views differ."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(30, 3, 3)) + 5 * np.eye(3)[question.dataset.labels][:, None]).astype(np.float32)


def saved(tmp_path, scores, about=None):
    np.save(tmp_path / "scores.npy", scores)
    if about is not None:
        write_json(tmp_path / "scores.json", about)
    return tmp_path / "scores.npy"


def test_answers_a_view_or_a_clip(question, scores, tmp_path):
    """One answer a clip serves all its views; answers of the views lie beside their own."""
    train, validation, test = question.split.train, question.split.validation, question.split.test
    found = read_scores(saved(tmp_path, scores), question)
    np.testing.assert_array_equal(found[train], scores[train])
    np.testing.assert_array_equal(found[validation, 0], scores[validation, 0])
    assert np.isnan(found[test]).all()
    found = read_scores(saved(tmp_path, scores[:, 0].astype(np.float64)), question)
    assert (found.shape, found.dtype) == ((30, 3, 3), np.float32)
    for view in range(3):
        np.testing.assert_array_equal(found[train, view], scores[train, 0])
    assert np.isnan(found[test]).all()


def test_what_is_not_asked_for_may_be_missing(question, scores, tmp_path):
    """A teacher has no business with test clips, nor with other views of validation clips."""
    scores[question.split.test] = np.nan
    scores[question.split.validation, 1:] = np.nan
    more = np.concatenate([scores, np.full((30, 4, 3), np.nan, np.float32)], axis=1)
    assert np.isfinite(read_scores(saved(tmp_path, more), question)[question.split.train]).all()


def test_probabilities_become_logarithms(question, scores, tmp_path):
    """Probabilities taken for logits make the distillation term vanish; a zero must stay finite."""
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    probabilities[question.split.train[0], 1] = [0, 1, 0]
    found = read_scores(saved(tmp_path, probabilities), question)[question.split.train]
    np.testing.assert_allclose(found[1:], np.log(probabilities[question.split.train[1:]]), rtol=1e-5)
    np.testing.assert_allclose(found[0, 1], [np.log(1e-30), 0, np.log(1e-30)], rtol=1e-5)


def spoil_clips(scores, question):
    return scores[:-1]


def spoil_classes(scores, question):
    return scores[:, 0, :2]


def spoil_kind(scores, question):
    return scores.argmax(axis=-1)


def spoil_views(scores, question):
    return scores[:, :2]


def spoil_finite(scores, question):
    scores[question.split.train[2:4], 1] = np.nan
    return scores


def spoil_validation(scores, question):
    scores[question.split.validation[0]] = np.nan
    return scores


def spoil_order(scores, question):
    return np.roll(scores, 10, axis=0)


def spoil_constant(scores, question):
    return np.tile(np.float32([1, 0, 0]), (30, 1))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_clips, r"floats \(30, 3\) or \(30, 3, 3\), found float32 of shape \(29, 3, 3\)"),
        (spoil_classes, r"floats \(30, 3\) or \(30, 3, 3\), found float32 of shape \(30, 2\)"),
        (spoil_kind, r"found int64 of shape \(30, 3\)"),
        (spoil_views, r"holds answers for views 0 to 1, but --views 2 needs 2"),
        (spoil_finite, r"but 2 of 18 in view 1 are not, first row \d+$"),
        (spoil_validation, r"but 1 of 24 in view 0 are not, first row \d+$"),
        (spoil_order, r"must be better than chance on training clips, but is right for 0.0 % of"),
        (spoil_constant, r"must be better than chance .* right for 33.3 % of a class on average \(chance 33.3 %\)"),
    ],
)
def test_scores_that_cannot_be_right_are_refused(question, scores, tmp_path, spoil, message):
    """A shifted row teaches each clip its neighbour's answer; found out only when the student has failed."""
    path = saved(tmp_path, spoil(scores, question))
    with pytest.raises(UserError, match=message) as error:
        read_scores(path, question)
    assert str(error.value).startswith(f"--source: {path}")
    assert "\n" not in str(error.value)


def test_a_majority_answer_is_chance(question, tmp_path, make_arrays):
    """A teacher that always says the largest class is right often and knows nothing."""
    folder = make_arrays("uneven", classes=2, groups=5, clips=4, height=32, width=32)
    keep = np.r_[0:20, 20:40:4]
    for name in ("frames", "labels", "video_file_paths"):
        np.save(folder / f"{name}.npy", np.load(folder / f"{name}.npy")[keep])
    dataset = open_clips(folder / "frames.npy", folder / "labels.npy")
    split = make_split(dataset.labels, dataset.paths, class_names=dataset.class_names)
    path = saved(tmp_path, np.tile(np.float32([1, 0]), (25, 1)))
    with pytest.raises(UserError, match=r"right for 50\.0 % of a class"):
        read_scores(path, Question(SplitDataset(dataset, split), ViewOptions(views=0)))


def test_scores_for_other_views_are_refused(question, scores, tmp_path):
    """Answers to a mirrored or differently cut clip beside this one; whole clips are the same for every view_seed."""
    about = {"key": question.key()}
    read_scores(saved(tmp_path, scores, about), question)
    for change, message in [
        ({"view_seed": 4}, "view_seed is 4 there and 0 here"),
        ({"flip": False}, "flip is False there and True here"),
        ({"frames": "0" * 64}, "frames differs"),
    ]:
        path = saved(tmp_path, scores, {"key": question.key() | change})
        with pytest.raises(UserError, match=f"was answered for something else: {message}"):
            read_scores(path, question)
    read_scores(saved(tmp_path, scores[:, 0], {"key": question.key() | {"view_seed": 4}}), question)
    path = saved(tmp_path, scores[:, 0], {"key": question.key() | {"labels": "0" * 64}})
    with pytest.raises(UserError, match="labels differs"):
        read_scores(path, question)


def test_a_teacher_that_was_given_test_clips_is_refused(question, scores, tmp_path):
    """Views written for another split are of clips that this one tests on."""
    dataset = question.dataset
    other = make_split(dataset.labels, dataset.paths, class_names=dataset.class_names, split_seed=1)
    path = saved(tmp_path, scores, {"key": question.key(), "split": split_record(other)})
    with pytest.raises(UserError, match=r"has seen \d of the 6 test clips of this split"):
        read_scores(path, question)


def test_unknown_origin_is_said(question, scores, tmp_path, capsys):
    read_scores(saved(tmp_path, scores), question)
    assert "cannot be known which views --source" in capsys.readouterr().out
