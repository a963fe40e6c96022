"""Stage 4 in one process, with recognisers whose answers are made up; tests/test_stages.py runs the script."""

import numpy as np
import pytest

from tests.fake_recognizer import fake_recognizer, record_of
from utils import stages
from utils.clips import open_clips
from utils.options import DataOptions
from utils.splits import make_split

PATTERN = r"_g(\d+)_"  # groups over all classes


@pytest.fixture
def arrays(make_arrays):
    folder = make_arrays(height=32, width=32)
    return DataOptions(folder / "frames.npy", folder / "labels.npy", split=None), folder


@pytest.fixture
def recognizer(arrays, tmp_path, monkeypatch):
    """A recogniser of the arrays that was trained with a pattern of groups; the stage finds it under any path."""
    data, _ = arrays
    dataset = open_clips(data.data, data.annotations)
    split = make_split(dataset.labels, dataset.paths, class_names=dataset.class_names, group_pattern=PATTERN)
    record = record_of(dataset, split)
    record["arguments"]["group_pattern"] = PATTERN
    (tmp_path / "s.h5").write_bytes(b"")
    scores = 5 * np.eye(3, dtype=np.float32)[dataset.labels]
    scores[split.test[0]] = [-9, 9, 9]  # one clip is missed
    found = fake_recognizer(tmp_path / "s.h5", record=record, scores=scores)
    monkeypatch.setattr(stages, "load_recognizer", lambda *_, **__: found)
    return found


def test_the_interval_is_by_the_groups_of_the_training(arrays, recognizer):
    """The record knows how clips belong together; the user need not repeat it."""
    data, _ = arrays
    result = stages.evaluate(data, [recognizer.path])["recognizers"][0]
    assert (result["clips"], result["interval"]["groups"]) == (6, 1)  # with the classes' own groups there were 3
    assert result["top1"] == pytest.approx(5 / 6)


def test_a_pattern_of_other_arrays_is_not_applied(arrays, recognizer, capsys):
    """Names of another set need not fit it: that was an error about a flag which the user never gave."""
    data, folder = arrays
    paths = np.array(
        [f"{path.split('/')[0]}/clip{row}.avi" for row, path in enumerate(np.load(folder / "video_file_paths.npy"))]
    )
    np.save(folder / "video_file_paths.npy", paths)
    result = stages.evaluate(data, [recognizer.path])["recognizers"][0]
    assert (result["clips"], result["interval"]["method"]) == (30, "Wilson")
    assert "These are not the arrays that s.h5 was trained on" in capsys.readouterr().out
