"""What --input names."""

from pathlib import Path

import pytest

from utils.base.errors import UserError
from utils.prediction.inputs import Inputs, find_inputs


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/2.mp4", "a/1.AVI", "a/b/3.mov", "a/.hidden.mp4", "a/.cache/4.mp4", "a/notes.txt", "7", "x[1].mp4"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("empty").mkdir()


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["a"], ["a/1.AVI", "a/2.mp4", "a/b/3.mov"]),
        (["a/*.mp4"], ["a/2.mp4"]),
        (["a/**/*.m*"], ["a/2.mp4", "a/b/3.mov"]),
        (["a/*"], ["a/1.AVI", "a/2.mp4", "a/notes.txt"]),
        (["a/notes.txt"], ["a/notes.txt"]),
        (["a/2.mp4", "a"], ["a/2.mp4", "a/1.AVI", "a/b/3.mov"]),
        (["x[1].mp4"], ["x[1].mp4"]),  # an existing file, although it looks like a pattern
        (["7"], ["7"]),  # an existing file, although it looks like a camera
    ],
)
def test_files(texts, expected):
    """A video would be missing, or be answered twice."""
    assert find_inputs(texts) == Inputs(tuple(map(Path, expected)))


def test_cameras_and_streams():
    """A camera would be taken for a missing file."""
    assert find_inputs(["0"]) == Inputs(live=0)
    assert find_inputs(["rtsp://camera/1"]) == Inputs(live="rtsp://camera/1")
    assert find_inputs(["/dev/null"]) == Inputs(live="/dev/null")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["nowhere.mp4"], "must be an existing video or folder, .* got nowhere.mp4"),
        (["empty"], "empty must hold videos or numbered pictures, found none below it"),
        (["b/*.mp4"], "b/\\*.mp4 must match at least one file, found none"),
        (["0", "a"], "a camera or stream must be the only input, got 0 among 2"),
        ([""], "must be an existing video or folder, .* got nothing"),
        (["n" * 300], "must be an existing video or folder, .* got nnn"),
        (["concat:///a.avi|b.avi"], "a URL must start with one of http, .*, got concat:///a.avi"),
        (["file:///etc/passwd"], "a URL must start with one of http, https, rtmp, rtp, rtsp, tcp, udp, got file:"),
        (["concat:a.avi|b.avi"], "must be an existing video or folder, .* got concat:a.avi"),
        (["12345"], "must be an existing video or folder, .* got 12345"),
    ],
)
def test_inputs_that_name_nothing(texts, message):
    """A misspelt name would end in no answer and no error."""
    with pytest.raises(UserError, match=f"^--input: {message}"):
        find_inputs(texts)
