"""The example next to exported files, which classifies a video without this project."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import moving_square
from tests.utils.export.conftest import run_export
from tests.utils.prediction.conftest import write_video
from utils.prediction.predictor import load_predictor

FORMATS = ("student.onnx", "student.xml", "student.tflite", "student_saved_model")


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(
        tmp_path_factory.mktemp("video") / "v.avi", moving_square(np.random.default_rng(0), 1, 50, 60, 80)
    )


def answer(python, folder: Path, name: str, video: Path) -> list[str]:
    """Return the lines that the example prints."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    command = [python, "example.py", name, str(video)]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def expected_answer(model: Path, video: Path) -> list[str]:
    """Return the lines that show the answer of predict.py."""
    found = load_predictor(model).predict(video)
    order = np.argsort(-found.probabilities)
    lines = [f"{100 * found.probabilities[label]:5.1f} %  {found.class_names[label]}" for label in order]
    is_rejected = found.probabilities.max() < found.threshold
    return ["no action, the highest probability is below the threshold:", *lines] if is_rejected else lines


@pytest.mark.parametrize("name", FORMATS)
def test_the_example_answers_like_predict(exported, video, name):
    """Frames would be sampled or resized otherwise than in training, and a deployed model be worse than measured."""
    assert answer(sys.executable, exported.folder, name, video) == expected_answer(exported.student.path, video)


def test_videos_whose_header_is_wrong(exported, video, tmp_path):
    """Truncated videos state more frames than they have; too short ones would end in a traceback."""
    content = video.read_bytes()
    short = tmp_path / "short.avi"
    short.write_bytes(content[: len(content) * 7 // 10])
    capture = cv2.VideoCapture(str(short))
    stated, frames = capture.get(cv2.CAP_PROP_FRAME_COUNT), 0
    while capture.grab():
        frames += 1
    assert 20 <= frames < stated
    assert answer(sys.executable, exported.folder, FORMATS[0], short) == expected_answer(exported.student.path, short)
    few = write_video(tmp_path / "few.avi", moving_square(np.random.default_rng(0), 1, 7, 60, 80))
    command = [sys.executable, exported.folder / "example.py", exported.folder / FORMATS[0], few]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (1, f"{few} must be a video of at least 20 frames, found 7\n")


def test_real_videos(exported, shared_data):
    """Headers of HMDB51 state a frame too many."""
    for video in sorted((shared_data / "clips" / "hmdb51").glob("*.avi"))[:4]:
        found = answer(sys.executable, exported.folder, FORMATS[0], video)
        assert found == expected_answer(exported.student.path, video)


@pytest.mark.slow
def test_the_folder_runs_alone(student, video, tmp_path):
    """On the machine where a model is deployed, this project or TensorFlow would be needed."""
    formats = ("onnx", "openvino", "litert")
    exported = run_export(student, tmp_path / "exported", with_data=False, formats=formats)
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("student.onnx", "student.xml", "student.bin", "student.tflite", "student.json"):
        shutil.copy(exported.folder / name, alone)
    shutil.copy(exported.folder / "example.py", alone)
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    requirements = exported.folder / "requirements.txt"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", requirements], check=True, cwd=alone)
    for package in ("tensorflow", "keras", "utils"):
        assert subprocess.run(
            [python, "-c", f"import {package}"], cwd=alone, check=False, capture_output=True
        ).returncode
    for name in FORMATS[:3]:
        assert answer(python, alone, name, video) == expected_answer(student.path, video)
