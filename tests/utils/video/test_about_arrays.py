"""What the files of stage 1 state about clips."""

import json

import numpy as np
import pytest

from utils.video.about_arrays import clip_seconds, shrinking_of
from utils.video.extraction_state import LOG, RECORD


def write_log(folder, *videos):
    lines = [json.dumps({"path": path, "frame_count": frames, "frame_rate": rate}) for path, frames, rate in videos]
    (folder / LOG).write_text("\n".join([*lines, "not JSON", "[1]", '{"path": "a/1.avi", "frame_count": null}']) + "\n")


def test_quartiles_by_hand(tmp_path):
    """predict.py would choose windows of another length than the clips of the training."""
    write_log(
        tmp_path,
        ("a/1.avi", 100, 25.0),  # every 6th frame, 16 of them: 96 frames
        ("a/2.avi", 160, 10.0),
        ("a/3.avi", 31, 30.0),  # the first 16 frames
        ("b/4.avi", 9, 10.0),  # shorter than a clip
        ("b/5.avi", 320, 10.0),  # not asked for
        ("b/6.avi", 320, 0.0),  # unknown frame rate
    )
    spans = [96 / 25, 16.0, 16 / 30, 0.9]
    paths = [f"a/{number}.avi" for number in (1, 2, 3)] + ["b/4.avi", "b/6.avi", "b/7.avi"]
    found = clip_seconds(tmp_path, paths, 16)
    lower, median, upper = np.quantile(spans, [0.25, 0.5, 0.75])
    assert found == {"median": median, "lower_quartile": lower, "upper_quartile": upper, "clips": 4}


def test_unknown_durations(tmp_path):
    """A training on arrays from elsewhere would fail."""
    assert clip_seconds(tmp_path, ["a/1.avi"], 16) is None
    write_log(tmp_path, ("a/1.avi", 100, 25.0), ("a/2.avi", 100, float("nan")), ("a/3.avi", 0, 25.0))
    assert clip_seconds(tmp_path, ["a/2.avi", "a/3.avi"], 16) is None
    (tmp_path / LOG).write_bytes(b"\xff\x00")
    assert clip_seconds(tmp_path, ["a/1.avi"], 16) is None


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"settings": {"shrinking": "area"}}', "area"),
        ('{"settings": {"--frame_height": 224}}', "bilinear"),
        ('{"settings": 1}', "bilinear"),
        ("no JSON", "bilinear"),
        (None, "bilinear"),
    ],
)
def test_how_frames_were_shrunk(tmp_path, content, found):
    """A model would be applied to frames that were shrunk otherwise than those of its training."""
    if content is not None:
        (tmp_path / RECORD).write_text(content)
    assert shrinking_of(tmp_path) == found
