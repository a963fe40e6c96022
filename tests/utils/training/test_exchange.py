"""Class scores of other frameworks: converted to logits, and rejected if they cannot be correct."""

import re

import numpy as np
import pytest

from utils.base.errors import UserError
from utils.base.files import digest, write_json
from utils.base.options import ViewOptions
from utils.data.clips import open_clips, with_unlabelled
from utils.data.protocols import make_split
from utils.runs.clips import RecordedSplit
from utils.runs.loading import SplitDataset
from utils.training.exchange import read_features, read_scores
from utils.training.question import Question
from utils.training.score_files import scores_kind


@pytest.fixture
def question(make_arrays):
    folder = make_arrays(height=32, width=32)
    dataset = open_clips(folder / "frames.npy", folder / "labels.npy")
    split = make_split(dataset.labels, dataset.paths, class_names=dataset.class_names)
    return Question(SplitDataset(dataset, split), ViewOptions(views=2))


@pytest.fixture
def scores(question):
    """Logits `(30, 3, 3)` of a good teacher, different for each view."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(30, 3, 3)) + 5 * np.eye(3)[question.dataset.labels][:, None]).astype(np.float32)


def saved(tmp_path, scores, about=None):
    np.save(tmp_path / "scores.npy", scores)
    if about is not None:
        write_json(tmp_path / "scores.json", about)
    return tmp_path / "scores.npy"


def test_scores_per_view_and_scores_per_clip(question, scores, tmp_path):
    """Scores per view belong to their view; scores per clip are used for all views."""
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


def test_unneeded_scores_may_be_missing(question, scores, tmp_path):
    """A teacher need not be run on test clips, nor on augmented views of validation clips."""
    scores[question.split.test] = np.nan
    scores[question.split.validation, 1:] = np.nan
    more = np.concatenate([scores, np.full((30, 4, 3), np.nan, np.float32)], axis=1)
    assert np.isfinite(read_scores(saved(tmp_path, more), question)[question.split.train]).all()


def probabilities_of(scores):
    return np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("change", "printed"),
    [
        (lambda p: p, "scores.npy: probabilities, log taken"),
        (lambda p: p[:, 0].astype(np.float16), "scores.npy: probabilities, log taken"),
        (np.log, "scores.npy: logits"),
    ],
    ids=["probabilities", "per clip, float16", "logits"],
)
def test_probabilities_become_logarithms(question, scores, tmp_path, capsys, change, printed):
    """Probabilities used as logits make the distillation term vanish, and nobody would know which were found."""
    expected = np.log(probabilities_of(scores))
    given = change(np.exp(expected))
    found = read_scores(saved(tmp_path, given), question)
    train = question.split.train
    accuracy = {"atol": 1e-4} if given.ndim == 3 else {"atol": 1e-3, "rtol": 1e-2}
    for view in range(3):
        np.testing.assert_allclose(found[train, view], expected[train, view if given.ndim == 3 else 0], **accuracy)
    assert f"{tmp_path / printed}\n" in capsys.readouterr().out


def test_rows_of_zeros_among_probabilities_hold_no_scores(question, scores, tmp_path):
    """A clip whose row was never filled would get a uniform target; test clips need no scores."""
    probabilities = probabilities_of(scores)
    probabilities[question.split.test] = 0
    found = read_scores(saved(tmp_path, probabilities), question)
    assert np.isfinite(found[question.split.train]).all()
    row = question.split.validation[0]
    probabilities[row, 0] = 0
    path = saved(tmp_path, probabilities)
    message = rf"must hold probabilities for all .* but row {row} in view 0 sums to 0; for logits, use --source_scores"
    with pytest.raises(UserError, match=message):
        read_scores(path, question)
    read_scores(path, question, scores_kind(path, "--source", "logits"))


@pytest.mark.parametrize(("per_view", "where"), [(True, " in view 0"), (False, "")])
@pytest.mark.parametrize(
    ("values", "asked", "message"),
    [
        (1e308, "logits", "must hold numbers of float32 .* but {} holds 1e+308"),
        (1e308, "probabilities", "must hold probabilities .* but {} holds 1e+308; "),
        (-1e308, "auto", "must hold logits or probabilities; choose one .* because {} of {} rows"),
        (-0.5, "probabilities", "must hold probabilities .* but {} holds -0.5; for logits, use --source_scores logits"),
        (0.0, "probabilities", "must hold probabilities .* but {} sums to 0; for logits, use --source_scores logits"),
        (np.inf, "auto", "must hold finite scores .* but those for 1 of 24{} are not (first: row {})"),
        (-np.inf, "logits", "must hold finite scores .* but those for 1 of 24{} are not (first: row {})"),
        (np.nan, "probabilities", "must hold finite scores .* but those for 1 of 24{} are not (first: row {})"),
    ],
)
def test_rows_without_scores_are_named(question, scores, tmp_path, values, asked, message, per_view, where):
    """An overflow, a negative probability or an infinity would become a target."""
    probabilities = probabilities_of(scores.astype(np.float64))
    row = question.split.train[1]
    probabilities[row, 0] = values
    path = saved(tmp_path, probabilities if per_view else probabilities[:, 0])
    numbers = {"logits or": [89, 90] if per_view else [29, 30], "finite": [where, row]}
    parts = next((found for start, found in numbers.items() if f"hold {start}" in message), [f"row {row}{where}"])
    pattern = re.escape(message.format(*parts)).replace(r"\.\*", ".*")
    with pytest.raises(UserError, match=pattern) as error:
        read_scores(path, question, scores_kind(path, "--source", asked))
    assert str(error.value).startswith(f"--source: {path} must hold ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((30, 3), "c8"), r"complex64 of shape \(30, 3\)"),
        (np.zeros((30, 3), np.longdouble), r"float\d+ of shape \(30, 3\)"),
        (np.zeros((30, 3), bool), r"bool of shape \(30, 3\)"),
        (np.zeros((30, 3), "U2"), r"<U2 of shape \(30, 3\)"),
        (np.zeros((30, 3, 3, 1), "f4"), r"float32 of shape \(30, 3, 3, 1\)"),
        (np.zeros((0, 3), "f4"), r"float32 of shape \(0, 3\)"),
        (np.zeros((30, 0, 3), "f4"), r"float32 of shape \(30, 0, 3\)"),
        (np.float32(3), r"float32 of shape \(\)"),
    ],
)
def test_arrays_that_are_not_scores_are_rejected(question, tmp_path, array, found):
    path = saved(tmp_path, array)
    with pytest.raises(
        UserError, match=rf"^--source: .*must hold class scores as floats \(.*, found .*{found}$"
    ) as error:
        read_scores(path, question)
    assert "\n" not in str(error.value)


def corrupt_clips(scores, question):
    return scores[:-1]


def corrupt_classes(scores, question):
    return scores[:, 0, :2]


def corrupt_kind(scores, question):
    return scores.argmax(axis=-1)


def corrupt_views(scores, question):
    return scores[:, :2]


def corrupt_finite(scores, question):
    scores[question.split.train[2:4], 1] = np.nan
    return scores


def corrupt_validation(scores, question):
    scores[question.split.validation[0]] = np.nan
    return scores


def corrupt_order(scores, question):
    return np.roll(scores, 10, axis=0)


def corrupt_constant(scores, question):
    return np.tile(np.float32([1, 0, 0]), (30, 1))


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (corrupt_clips, r"floats \(30, 3\) or \(30, 3, 3\), found float32 of shape \(29, 3, 3\)"),
        (corrupt_classes, r"floats \(30, 3\) or \(30, 3, 3\), found float32 of shape \(30, 2\)"),
        (corrupt_kind, r"found int64 of shape \(30, 3\)"),
        (corrupt_views, r"must hold scores for 3 views \(--views 2\), found 2$"),
        (corrupt_finite, r"but those for 2 of 18 in view 1 are not \(first: row \d+\)$"),
        (corrupt_validation, r"but those for 1 of 24 in view 0 are not \(first: row \d+\)$"),
        (corrupt_order, r"must be better than chance on training clips, but the mean class accuracy is 0.0 % "),
        (corrupt_constant, r"must be better than chance .* mean class accuracy is 33.3 % \(chance 33.3 %\)"),
    ],
)
def test_scores_that_cannot_be_correct_are_rejected(question, scores, tmp_path, corrupt, message):
    """With shifted rows, each clip would be trained with the scores of another clip."""
    path = saved(tmp_path, corrupt(scores, question))
    with pytest.raises(UserError, match=message) as error:
        read_scores(path, question)
    assert str(error.value).startswith(f"--source: {path}")
    assert "\n" not in str(error.value)


def test_always_predicting_the_largest_class_is_chance(question, tmp_path, make_arrays):
    """Such a teacher may have a high accuracy, but gives a student no information."""
    folder = make_arrays("uneven", classes=2, groups=5, clips=4, height=32, width=32)
    keep = np.r_[0:20, 20:40:4]
    for name in ("frames", "labels", "video_file_paths"):
        np.save(folder / f"{name}.npy", np.load(folder / f"{name}.npy")[keep])
    dataset = open_clips(folder / "frames.npy", folder / "labels.npy")
    split = make_split(dataset.labels, dataset.paths, class_names=dataset.class_names)
    path = saved(tmp_path, np.tile(np.float32([1, 0]), (25, 1)))
    with pytest.raises(UserError, match=r"mean class accuracy is 50\.0 %"):
        read_scores(path, Question(SplitDataset(dataset, split), ViewOptions(views=0)))


def test_scores_for_other_views_are_rejected(question, scores, tmp_path):
    """Scores of other crops or flips are wrong targets; those of whole clips are valid for every view_seed."""
    about = {"key": question.key()}
    read_scores(saved(tmp_path, scores, about), question)
    for change, message in [
        ({"view_seed": 4}, "view_seed is 4 there and 0 here"),
        ({"flip": False}, "flip is False there and True here"),
        ({"content": "xxh3_128:" + "0" * 32}, "content differs"),
    ]:
        path = saved(tmp_path, scores, {"key": question.key() | change})
        with pytest.raises(UserError, match=f"must hold scores for these clips and views, but {message}"):
            read_scores(path, question)
    read_scores(saved(tmp_path, scores[:, 0], {"key": question.key() | {"view_seed": 4}}), question)
    path = saved(tmp_path, scores[:, 0], {"key": question.key() | {"labels": "0" * 64}})
    with pytest.raises(UserError, match="labels differs"):
        read_scores(path, question)


def test_scores_of_a_teacher_that_has_seen_test_clips_are_rejected(question, scores, tmp_path):
    """Views that were written for another split may include test clips of this split."""
    dataset = question.dataset
    other = make_split(dataset.labels, dataset.paths, class_names=dataset.class_names, split_seed=1)
    path = saved(tmp_path, scores, {"key": question.key(), "split": RecordedSplit.of(other).model_dump()})
    with pytest.raises(UserError, match=r"has seen \d of the 6 test clips of this split"):
        read_scores(path, question)


def test_missing_views_json_is_reported(question, scores, tmp_path, capsys):
    read_scores(saved(tmp_path, scores), question)
    assert "unknown to which views the scores of --source" in capsys.readouterr().out


@pytest.fixture
def with_more(question, make_arrays):
    """The question with 4 unlabelled clips, rows 30 to 33."""
    more = make_arrays("more", classes=2, groups=1, height=36, width=36, seed=1)
    dataset = with_unlabelled(question.dataset, [more / "frames.npy"])
    return Question(SplitDataset(dataset, question.split), question.views)


def test_the_key_depends_on_unlabelled_clips_only_if_there_are_any(question, with_more):
    """Logits of other unlabelled clips would be used."""
    split, key, other = question.split, question.key(), with_more.key()
    names = ["shape", "content", "labels", "paths", "rows", "view_version", "view_seed", "flip"]
    assert list(key) == names
    assert key["rows"] == digest(np.concatenate([split.train, split.train, split.validation]).tobytes())
    assert list(other) == [*names, "unlabelled"]
    assert [name for name in names if other[name] != key[name]] == ["rows"]
    path = with_more.dataset.unlabelled[0].frames.path
    frames = np.load(path)
    frames[3, 9, 0, 0, 0] ^= 1
    np.save(path, frames)
    changed = Question(SplitDataset(with_unlabelled(question.dataset, [path]), split), question.views).key()
    assert [name for name in other if changed[name] != other[name]] == ["unlabelled"]
    assert with_more.rows(0).tolist() == [*split.train, *range(30, 34), *split.validation]
    assert with_more.rows(1).tolist() == [*split.train, *range(30, 34)]


def test_scores_cover_unlabelled_clips(with_more, scores, tmp_path):
    """The scores of unlabelled clips would be those of other clips, or be missing."""
    scores = np.concatenate([scores, 10 + np.arange(36, dtype=np.float32).reshape(4, 3, 3)])
    found = read_scores(saved(tmp_path, scores, {"key": with_more.key()}), with_more)
    assert found.shape == (34, 3, 3)
    np.testing.assert_array_equal(found[30:], scores[30:])
    found = read_scores(saved(tmp_path, scores[:, 0], {"key": with_more.key()}), with_more)
    np.testing.assert_array_equal(found[30:, 2], scores[30:, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s[:30], r"\(34, 3, 3\), a row for each clip of --data and of --unlabelled \(34\), found .*\(30, "),
        (lambda s: np.where(np.arange(34)[:, None, None] == 32, np.nan, s), r"for 1 of 28 in view 0 .* row 32\)$"),
    ],
)
def test_missing_scores_of_unlabelled_clips_are_rejected(with_more, scores, tmp_path, change, message):
    path = saved(tmp_path, change(np.concatenate([scores, np.ones((4, 3, 3), np.float32)])))
    with pytest.raises(UserError, match=rf"^--source: .*{message}") as error:
        read_scores(path, with_more)
    assert "\n" not in str(error.value)


def test_scores_with_other_unlabelled_clips_are_rejected(question, with_more, scores, tmp_path):
    path = saved(tmp_path, np.concatenate([scores, scores[:4]]), {"key": question.key()})
    with pytest.raises(UserError, match=r"must hold scores for these clips and views, but unlabelled is missing there"):
        read_scores(path, with_more)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((29, 7), "f4", r"floats \(30, K\) or \(30, 3, K\), found float32 of shape \(29, 7\)$"),
        ((30, 1), "f4", r"found float32 of shape \(30, 1\)$"),
        ((30,), "f4", r"found float32 of shape \(30,\)$"),
        ((30, 7), "i8", r"found int64 of shape \(30, 7\)$"),
        ((30, 2, 7), "f4", r"must hold scores for 3 views \(--views 2\), found 2$"),
    ],
)
def test_features_of_another_shape_are_rejected(question, tmp_path, shape, dtype, message):
    with pytest.raises(UserError, match=rf"^--features: .*{message}") as error:
        read_features(saved(tmp_path, np.ones(shape, dtype)), question, argument="--features")
    assert "\n" not in str(error.value)


def test_features_are_not_converted(question, tmp_path):
    """Features that happen to sum to 1 would become logarithms."""
    features = np.full((30, 3, 4), 0.25, np.float32)
    found = read_features(saved(tmp_path, features), question, argument="--features")
    np.testing.assert_array_equal(found[question.split.train], features[question.split.train])
