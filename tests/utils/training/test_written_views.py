"""Views as files for teachers of any framework, and their scores for the right clips."""

import json
import re
import textwrap

import numpy as np
import pytest

from utils.base.errors import UserError
from utils.base.options import DataOptions, NetworkOptions, ViewOptions
from utils.runs.loading import load
from utils.training import stages
from utils.training.exchange import read_scores
from utils.training.question import Question

SHAPE = (16, 24, 20, 3)


@pytest.fixture
def written(make_arrays, tmp_path):
    """The question, with 4 unlabelled clips of another size, and the folder that --write_views wrote."""
    folder = make_arrays(height=32, width=40)
    data = DataOptions(folder / "frames.npy", folder / "labels.npy")
    more = [make_arrays("more", classes=2, groups=1, height=36, width=36, seed=1) / "frames.npy"]
    network, views = NetworkOptions(input_size=SHAPE[1:3]), ViewOptions(views=2, view_seed=7)
    stages.write_views(data=data, network=network, views=views, unlabelled=more, output_path=tmp_path / "views")
    return Question(load(data, SHAPE, more), views), tmp_path / "views"


def test_files_hold_the_views_of_their_rows_and_no_test_clip(written):
    """If the order differed from rows_K.npy, each clip would get the scores of another clip."""
    question, folder = written
    for view in range(3):
        rows, clips = np.load(folder / f"rows_{view}.npy"), np.load(folder / f"view_{view}.npy")
        np.testing.assert_array_equal(rows, question.rows(view))
        numbers = np.full(len(rows), view)
        np.testing.assert_array_equal(clips, question.dataset.view(rows, numbers, SHAPE, question.views))
        assert not set(rows) & set(question.split.test)
        assert set(rows) >= {30, 31, 32, 33}
    assert (folder / "classes.txt").read_text().split() == ["Class0", "Class1", "Class2"]
    assert not list(folder.glob(".*"))


def test_the_code_in_the_readme_writes_scores_that_are_accepted(written, monkeypatch):
    """Following the instructions must give a valid file, which is rejected for other views."""
    question, folder = written
    code = re.search(r"(?m)^    import shutil\n(?:    .*\n|\n)+", (folder / "README.txt").read_text())[0]
    monkeypatch.chdir(folder)
    seen = []

    def predict(clips):
        """Predict the class from the mean colour, which differs between clips."""
        seen.append(clips.shape[1:])
        colours = np.asarray(clips, np.float64).mean(axis=(1, 2, 3))
        return 10 * colours / colours.sum(axis=1, keepdims=True) - 3  # negative values, so logits

    exec(textwrap.dedent(code), {"predict": predict})
    scores = read_scores(folder / "scores.npy", question)
    train = np.r_[question.split.train, 30:34]
    clips = question.dataset.view(train, np.full(len(train), 2), SHAPE, question.views)
    np.testing.assert_allclose(scores[train, 2], predict(clips), rtol=1e-5)
    assert set(seen) == {SHAPE}
    other = Question(question.data, ViewOptions(views=2, view_seed=8))
    with pytest.raises(UserError, match="scores for these clips and views, but view_seed is 7 there and 8 here"):
        read_scores(folder / "scores.npy", other)


def test_the_json_describes_the_views(written):
    question, folder = written
    about = json.loads((folder / "views.json").read_text())
    assert about["key"] == question.key()
    counts = [about[name] for name in ("views", "clips", "classes", "frames", "height", "width")]
    assert counts == [2, 34, 3, *SHAPE[:3]]


def test_a_folder_with_content_is_not_changed(written, tmp_path):
    """Views with different settings in one folder could not be distinguished."""
    question, folder = written
    with pytest.raises(UserError, match=r"--write_views: .*views must be a new or empty folder"):
        stages.exchange.write_views(folder, question, SHAPE)


def test_a_full_disk_is_reported_in_advance(written, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(UserError, match=r"--write_views: .*new needs 0\.00 GB"):
        stages.exchange.write_views(tmp_path / "new", written[0], SHAPE)
    assert not (tmp_path / "new").exists()
