"""The programs next to exported files, which run without this project."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import moving_square
from tests.scripts import PROJECT
from tests.utils.export.conftest import run_export
from tests.utils.prediction.conftest import write_video
from utils.export.deployment import OPENCV, PROGRAM
from utils.networks.formats.opening import format_of
from utils.prediction.predictor import load_predictor

FORMATS = ("student.onnx", "student.xml", "student.tflite", "student_saved_model")


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(
        tmp_path_factory.mktemp("video") / "v.avi", moving_square(np.random.default_rng(0), 1, 50, 60, 80)
    )


def run(folder: Path, *command, python=sys.executable, expect: int = 0) -> str:
    """Run Python in the folder, without this project on its path; return what it printed, or its errors."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    command = [python, *map(str, command)]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == expect, result.stderr
    return result.stderr if expect else result.stdout


def expected_answer(model: Path, video: Path) -> str:
    """Return the lines that show the answer of predict.py."""
    found = load_predictor(model).predict(video)
    lines = [f"{100 * share:5.1f} %  {name}" for name, share in found.top(3)]
    start = ["no action, the highest probability is below the threshold:"] if found.rejected else []
    return "\n".join([*start, *lines]) + "\n"


@pytest.mark.parametrize("name", [FORMATS[0], FORMATS[3]])
def test_the_example_answers_like_predict(exported, video, name):
    """A deployed model would be worse than measured."""
    assert run(exported.folder, "example.py", name, video) == expected_answer(exported.student.path, video)


def test_errors_of_the_example_are_one_line(exported, video):
    """Whoever mistypes a name would get a traceback."""
    for arguments, message in (
        ([FORMATS[0]], "expected MODEL VIDEO, such as student.onnx holiday.mp4, got 1 arguments"),
        (["missing.onnx", video], r"--recognizer: missing\.onnx must be a complete exported model, but .*not a file"),
        ([FORMATS[0], "missing.mp4"], r"missing\.mp4: .*"),
    ):
        error = run(exported.folder, "example.py", *arguments, expect=2)
        assert re.fullmatch(f"error: {message}\n", error), error


def test_the_program_answers_timelines_with_the_listed_packages_alone(exported, video):
    """The folder would need this project, or more packages than its requirements.txt lists."""
    code = """
        import importlib.metadata, json, runpy, sys
        sys.argv = ["predict.pyz", "--recognizer", "student.onnx", "--timeline", "--json", "--input", sys.argv[1]]
        runpy.run_path("predict.pyz", run_name="__main__")
        names = importlib.metadata.packages_distributions()
        print(json.dumps(sorted({name for module in sys.modules for name in names.get(module.partition(".")[0], ())})))
    """
    line, packages = run(exported.folder, "-c", "\n".join(map(str.strip, code.splitlines())), video).splitlines()
    expected = load_predictor(exported.student.path).timeline(video).segments
    assert [segment["class"] for segment in json.loads(line)["segments"]] == [
        None if each.confidence is None else each.label for each in expected
    ]
    allowed = {*PROGRAM, *OPENCV, "onnxruntime"}
    brought = {"annotated-types", "pydantic_core", "typing-inspection", "typing_extensions"}  # by pydantic
    brought.add("setuptools")  # part of the environment
    assert set(json.loads(packages)) - brought <= allowed


def test_requirements_of_predictions_are_those_of_the_program():
    """predict.py would fail where requirements-predict.txt is installed, or run with untested versions."""
    pins = {}
    for name in ("requirements.txt", "requirements-export.txt", "requirements-predict.txt"):
        lines = (PROJECT / name).read_text().splitlines() if (PROJECT / name).is_file() else []
        pins[name] = dict(line.split("==") for line in lines if "==" in line and line[0] != "#")
    found = pins.pop("requirements-predict.txt")
    runtimes = {format_of(kind).runtime for kind in ("onnx", "openvino", "litert")}
    assert set(found) == {*PROGRAM, OPENCV[0], *runtimes}
    others = {name: version for pinned in pins.values() for name, version in pinned.items()}
    assert found == {name: others[name] for name in found}


@pytest.mark.slow
def test_the_folder_runs_alone(student, video, tmp_path):
    """On the machine where a model is deployed, this project or TensorFlow would be needed."""
    formats = ("onnx", "openvino", "litert")
    exported = run_export(student, tmp_path / "exported", with_data=False, formats=formats)
    alone = tmp_path / "alone"
    shutil.copytree(exported.folder, alone)
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    run(alone, "-m", "pip", "install", "--quiet", "-r", "requirements.txt", python=python)
    for package in ("tensorflow", "keras", "utils"):
        run(alone, "-c", f"import {package}", python=python, expect=1)
    for name in FORMATS[:3]:
        printed = run(alone, "example.py", name, video, python=python)
        expected = expected_answer(student.path, video)
        assert re.sub(r"[0-9.]+ %", "", printed) == re.sub(r"[0-9.]+ %", "", expected)  # the same classes in this order
        found, known = ([float(share) for share in re.findall(r"([0-9.]+) %", text)] for text in (printed, expected))
        np.testing.assert_allclose(found, known, atol=0.11)  # one in the last digit
    assert '"segments"' in run(
        alone, "predict.pyz", "--recognizer", name, "--input", video, "--timeline", "--json", python=python
    )
