"""predict.py: what is printed, exit codes and errors."""

import csv
import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.scripts import PROJECT, run_script


@pytest.fixture
def videos(trained, tmp_path):
    """A folder with three videos, one of which is damaged, and a model."""
    for name in ("model.keras", "model.json"):
        shutil.copy(trained / name, tmp_path / name)
    (tmp_path / "videos").mkdir()
    shutil.copy(trained / "videos/Class0/v_Class0_g01_c01.avi", tmp_path / "videos/a.avi")
    shutil.copy(trained / "videos/Class1/v_Class1_g01_c01.avi", tmp_path / "videos/c.avi")
    (tmp_path / "videos/b.mp4").write_text("not a video")
    return tmp_path


def predict(folder, *arguments, expect=0):
    return run_script("predict.py", "--recognizer", "model.keras", *arguments, cwd=folder, expect=expect)


def test_forms_of_the_answers(videos):
    """Other programs could not read the answers, or the forms would disagree."""
    text = predict(videos, "--input", "videos/a.avi", "videos/c.avi", "--top", "2").splitlines()
    assert text[0].split() == ["video", "prediction", "1.", "2."]
    found = [json.loads(line) for line in predict(videos, "--input", "videos/[ac].avi", "--json").splitlines()]
    rows = list(csv.DictReader(predict(videos, "--input", "videos/*.avi", "--csv").splitlines()))
    for line, answer, row in zip(text[1:], found, rows, strict=True):
        path, label, first, share, _ = line.split()[:5]
        assert path == answer["video"] == row["video"]
        assert label == first == answer["class"] == answer["top"][0]["class"] == row["answer"] == row["class_1"]
        assert float(share) == pytest.approx(100 * answer["confidence"], abs=0.051)
        assert float(row["probability_1"]) == pytest.approx(answer["confidence"], abs=1e-6)
        assert sum(each["probability"] for each in answer["top"]) == pytest.approx(1)
        assert list(answer["milliseconds"]) == ["decode", "resize", "model"]
        assert min(answer["milliseconds"].values()) > 0


def test_damaged_videos_among_others(videos):
    """A script could not tell that a video has no answer, or the others would have none."""
    error = predict(videos, "--input", "videos", "--json", expect=1)
    assert [line for line in error.splitlines() if line.startswith("error")] == [
        "error: videos/b.mp4: is a text file, such as a playlist, not a video"
    ]
    error = predict(videos, "--input", "videos/b.mp4", expect=2)
    assert error.splitlines()[-1] == "error: --input: videos/b.mp4: is a text file, such as a playlist, not a video"


def test_timeline_and_annotated_video(videos):
    """The documented commands would fail."""
    pytest.importorskip("av", reason="PyAV writes annotated videos")
    printed = predict(videos, "--input", "videos/a.avi", "--output", "out.mp4", "--json", "--window", "0.5")
    (found,) = map(json.loads, printed.splitlines())
    assert found["segments"][0]["start"] == 0.0
    assert found["segments"][-1]["end"] == found["duration"] == pytest.approx(41 / 25)
    assert min(found["milliseconds"][part] for part in ("decode", "resize", "model")) > 0
    assert (videos / "out.mp4").stat().st_size > 1000
    rows = list(csv.DictReader(predict(videos, "--input", "videos/a.avi", "--timeline", "--csv").splitlines()))
    assert [row["end"] for row in rows][-1] == "1.640"
    predict(videos, "--input", "videos/a.avi", "--output", "out.mp4", "--overwrite")


def test_a_reader_that_ends(videos):
    """`predict.py ... | head` would end in a traceback."""
    command = [
        sys.executable,
        PROJECT / "predict.py",
        "--recognizer",
        "model.keras",
        "--input",
        "videos/a.avi",
        "--json",
    ]
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as closed:
        ended = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, cwd=videos, check=False)
    assert ended.returncode == 141
    assert "Error" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--input nowhere.mp4", "--input: must be an existing video or folder"),
        ("--input videos --json --csv", "--json and --csv: choose one of them, got both"),
        ("--input videos --window 2", "--window: must go with --timeline, a camera or a stream"),
        ("--input videos --timeline --views 2", "--views: must be 1 for windows of a video, got 2"),
        ("--input videos --output o.mp4", "--output: must go with one video, found 3 by --input"),
        ("--input videos/a.avi --output o.avi", "--output: must end in .mp4, got o.avi"),
        ("--input videos/a.avi --max_seconds 3", "--max_seconds: must go with a camera or stream"),
        ("--input 0 --csv", "--csv: must go with video files"),
        ("--input 0 videos", "--input: a camera or stream must be the only input, got 0 among 2"),
        ("--input videos --threshold 2", "--threshold: must be a number from 0 to 1, got 2"),
    ],
)
def test_errors_are_one_line(videos, arguments, message):
    """A contradiction would be ignored, or end in a traceback."""
    error = predict(videos, *arguments.split(), expect=2)
    assert error.count("\n") == 1
    assert error.startswith(f"error: {message}")
