"""Scripts that are started in a folder whose modules are named like those of this project, or of its packages."""

import subprocess
import sys

import numpy as np
import pytest

from tests.exported_files import about_export, keras_model, write_exported
from tests.scripts import PROJECT, run_script
from tests.utils.prediction.conftest import coloured, write_video
from utils.base.files import read_json

SCRIPTS = sorted(path.name for path in PROJECT.glob("*.py"))


@pytest.fixture
def hostile(tmp_path):
    """A folder with modules that end any process which imports them."""
    for name in ("utils/__init__.py", "models/__init__.py", "numpy.py", "random.py", "json.py"):
        path = tmp_path / "hostile" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("import os, sys\nsys.stderr.write('a foreign module was imported')\nos._exit(3)\n")
    return tmp_path / "hostile"


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_import_the_project(hostile, script):
    """A script started in a user's project would run the user's `utils`."""
    command = [sys.executable, PROJECT / script, "--help"]
    result = subprocess.run(command, cwd=hostile, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_processes_of_scripts_import_the_project(hostile, tmp_path):
    """Files would not be measured, or videos be listed as unreadable."""
    for label in "ab":
        (tmp_path / "videos" / label).mkdir(parents=True)
        write_video(tmp_path / "videos" / label / "v.avi", coloured(("ab".index(label), 20)))
    sizes = ["--sequence_length", 16, "--frame_height", 32, "--frame_width", 32]
    arrays = ["--input_path", tmp_path / "videos", "--output_path", tmp_path / "arrays", "--workers", 1]
    run_script("video_to_frames.py", *arrays, *sizes, cwd=hostile, clears_keras=False)
    assert np.load(tmp_path / "arrays/frames.npy", mmap_mode="r").shape == (2, 16, 32, 32, 3)
    keras_model().save(tmp_path / "net.keras")
    export = ["--recognizer", tmp_path / "net.keras", "--format", "onnx", "--threads", 1]
    run_script("export.py", *export, "--output_path", tmp_path / "out", cwd=hostile)
    rows = read_json(tmp_path / "out/net_table.json")["rows"]
    assert [row["milliseconds"] > 0 for row in rows] == [True, True]
    path = write_exported(tmp_path / "net.onnx", temperature=1.0, metadata=about_export())
    video = tmp_path / "videos/a/v.avi"
    command = [sys.executable, PROJECT / "predict.py", "--recognizer", path, "--input", video, "--json"]
    result = subprocess.run(command, cwd=hostile, capture_output=True, text=True, check=False)
    assert (result.returncode, '"class": ' in result.stdout) == (0, True), result.stderr
