"""A folder of small files that bad calls must not change."""

import numpy as np
import pytest

from tests.conftest import write_arrays
from tests.scripts import run_script


@pytest.fixture(scope="session")
def workplace(tmp_path_factory):
    """A folder with arrays, a teacher, views for other frameworks, and files of other kinds."""
    folder = tmp_path_factory.mktemp("bad_input")
    write_arrays(folder / "arrays")
    (folder / "folder").mkdir()
    (folder / "videos" / "Class0").mkdir(parents=True)
    (folder / "videos" / "Class0" / "broken.avi").write_bytes(b"RIFF")
    broken = [f"broken{suffix}" for suffix in (".keras", ".onnx", ".xml", ".bin", ".tflite")]
    for name in ("notes.txt", "foreign.keras", "foreign.npy", "foreign.log", "foreign.mp4", *broken):
        (folder / name).write_text("the user's notes")
    arrays = ["--data", "arrays/frames.npy", "--annotations", "arrays/labels.npy"]
    small = ["--input_size", 32, "--width", 0.05, "--batch_size", 2, "--epochs", 1, "--views", 0]
    run_script("Teacher_training.py", *arrays, *small, "--output_path", "models/teacher.keras", cwd=folder)
    run_script("KD_training.py", *arrays, *small, "--write_views", "views", cwd=folder)
    np.save(folder / "scores.npy", np.zeros((30, 3), np.float32))
    return folder
