"""Views as files: a teacher of any framework answers them, and its scores come back to the right clips."""

import json
import re
import textwrap

import numpy as np
import pytest

from utils import stages
from utils.data.loading import load
from utils.runtime.errors import UserError
from utils.settings.options import DataOptions, NetworkOptions, ViewOptions
from utils.teachers.exchange import read_scores
from utils.teachers.question import Question

SHAPE = (16, 24, 20, 3)


@pytest.fixture
def written(make_arrays, tmp_path):
    """What is asked, and the folder that --write_views made."""
    folder = make_arrays(height=32, width=40)
    data = DataOptions(folder / "frames.npy", folder / "labels.npy")
    network, views = NetworkOptions(input_size=SHAPE[1:3]), ViewOptions(views=2, view_seed=7)
    stages.write_views(data=data, network=network, views=views, output_path=tmp_path / "views")
    return Question(load(data, SHAPE), views), tmp_path / "views"


def test_files_hold_the_views_of_their_rows_and_no_test_clip(written):
    """Another order than rows_K.npy says would give each clip its neighbour's answer."""
    question, folder = written
    for view in range(3):
        rows, clips = np.load(folder / f"rows_{view}.npy"), np.load(folder / f"view_{view}.npy")
        np.testing.assert_array_equal(rows, question.rows(view))
        numbers = np.full(len(rows), view)
        np.testing.assert_array_equal(clips, question.dataset.view(rows, numbers, SHAPE, question.views))
        assert not set(rows) & set(question.split.test)
    assert (folder / "classes.txt").read_text().split() == ["Class0", "Class1", "Class2"]
    assert not list(folder.glob(".*"))


def test_the_code_in_its_readme_makes_scores_that_are_accepted(written, monkeypatch):
    """Who follows the instructions must get a file that fits, and one for other views must be refused."""
    question, folder = written
    code = re.search(r"(?m)^    import shutil\n(?:    .*\n|\n)+", (folder / "README.txt").read_text())[0]
    monkeypatch.chdir(folder)
    seen = []

    def answer(clips):
        """Says the colour of the square, which is the class; the mean tells one clip from another."""
        seen.append(clips.shape[1:])
        colours = np.asarray(clips, np.float64).mean(axis=(1, 2, 3))
        return 10 * colours / colours.sum(axis=1, keepdims=True)

    exec(textwrap.dedent(code), {"answer": answer})
    scores = read_scores(folder / "scores.npy", question)
    train = question.split.train
    clips = question.dataset.view(train, np.full(len(train), 2), SHAPE, question.views)
    np.testing.assert_allclose(scores[train, 2], answer(clips), rtol=1e-5)
    assert set(seen) == {SHAPE}
    other = Question(question.data, ViewOptions(views=2, view_seed=8))
    with pytest.raises(UserError, match="answered for something else: view_seed is 7 there and 8 here"):
        read_scores(folder / "scores.npy", other)


def test_the_json_says_what_the_views_are(written):
    question, folder = written
    about = json.loads((folder / "views.json").read_text())
    assert about["key"] == question.key()
    assert [about[name] for name in ("views", "clips", "classes", "frames", "height", "width")] == [
        2,
        30,
        3,
        *SHAPE[:3],
    ]


def test_a_folder_with_content_is_left_alone(written, tmp_path):
    """Views of two settings in one folder could not be told apart."""
    question, folder = written
    with pytest.raises(UserError, match=r"--write_views: .*views must be a new or an empty folder"):
        stages.exchange.write_views(folder, question, SHAPE)


def test_a_full_disk_is_told_before_the_work(written, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(UserError, match=r"--write_views: .*new needs 0\.00 GB"):
        stages.exchange.write_views(tmp_path / "new", written[0], SHAPE)
    assert not (tmp_path / "new").exists()
