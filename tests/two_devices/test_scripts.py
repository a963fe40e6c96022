"""The scripts with --devices 2: equal networks, one prediction per clip, and what records state."""

import json

import numpy as np
import pytest

from tests.scripts import run_script
from utils.networks.recognizer import load_recognizer

SIZE = ["--input_size", "32", "--width", "0.05", "--dropout", "0"]
NETWORK = [*SIZE, "--batch_size", "4", "--epochs", "2", "--views", "1"]
TEACHER = ["Teacher_training.py", *NETWORK]
RUNS = {
    "baseline": ["KD_training.py", *NETWORK, "--alpha", "1"],
    "cached": ["KD_training.py", *NETWORK, "--source", "teacher.keras", "--labels_per_class", "3"],
    "live": ["KD_training.py", *NETWORK, "--source", "teacher.keras", "--teacher", "live"],
    "teacher": TEACHER,
}


@pytest.fixture
def folder(make_arrays, tmp_path):
    """A folder with arrays of 30 clips, of which 6 validate: a last batch of 2."""
    make_arrays(height=32, width=32)
    return tmp_path


def run(folder, name, devices, arguments):
    """Run a training; return what it prints, its weights and its record."""
    arrays = ["--data", "arrays/frames.npy", "--annotations", "arrays/labels.npy"]
    printed = run_script(*arguments, *arrays, "--devices", devices, "--output_path", f"{name}.keras", cwd=folder)
    recognizer = load_recognizer(folder / f"{name}.keras", argument="--recognizer")
    return printed, recognizer.model.get_weights(), recognizer.record


@pytest.mark.parametrize("name", ["baseline", "cached", "live", "teacher"])
def test_networks_and_records_equal_those_of_one_device(folder, name):
    """The network or its validation, calibration and cost would depend on the number of devices."""
    if name in ("cached", "live"):
        run(folder, "teacher", 1, TEACHER)
    printed, weights, record = run(folder, "two", 2, RUNS[name])
    assert "training on CPU:0, CPU:1, 2 clips each per step\n" in printed
    printed, expected, record_of_one = run(folder, "one", 1, RUNS[name])
    assert "training on" not in printed
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert (record.devices, record.arguments.get("devices")) == (2, 2)
    assert (record_of_one.devices, record_of_one.arguments.get("devices")) == (1, 1)
    assert record.cost == record_of_one.cost
    assert record.calibration.clips == record_of_one.calibration.clips > 0
    for name, value in record_of_one.validation.items():
        assert record.validation[name] == pytest.approx(value, rel=1e-4, abs=2e-5), name


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--devices", "3"], "--devices: must be at most 2, as TensorFlow finds no GPU and 2 CPU devices, got 3"),
        (
            ["--devices", "all", "--batch_size", "3"],
            "--batch_size: must be a multiple of 2, the number of devices, got 3",
        ),
    ],
)
def test_impossible_devices_are_refused(folder, arguments, error):
    """The training would fail after minutes, or weight the clips of a batch unequally."""
    call = ["--data", "arrays/frames.npy", "--annotations", "arrays/labels.npy", "--output_path", "new/x.keras"]
    assert run_script(*TEACHER, *call, *arguments, cwd=folder, expect=2) == f"error: {error}\n"
    call = ["--data", "arrays/frames.npy", "--annotations", "arrays/labels.npy", "--output_path", "new", "--dry_run"]
    assert run_script("reproduce.py", *call, *arguments, cwd=folder, expect=2) == f"error: {error}\n"
    assert not (folder / "new").exists()


def test_reproduce_trains_its_cells_on_both_devices(folder):
    """--devices would be accepted, and all cells trained on one device; or finished cells would be trained again."""
    widths = ["--teacher_width", "0.05", "--student_width", "0.05", "--student_frames", "16", "--input_size", "32"]
    epochs = ["--teacher_epochs", "1", "--student_epochs", "1", "--batch_size", "4", "--views", "0"]
    grid = [*widths, *epochs, "--teachers", "scratch", "--temperatures", "4", "--split", "random"]
    arrays = ["--data", "arrays/frames.npy", "--annotations", "arrays/labels.npy", "--output_path", "results"]
    run_script("reproduce.py", *arrays, *grid, "--devices", "all", cwd=folder)
    records = [json.loads(path.read_text()) for path in (folder / "results/cells").glob("*/*.json")]
    counts = [record["devices"] for record in records if "class_names" in record]
    assert counts == [2, 2, 2]
    printed = run_script("reproduce.py", *arrays, *grid, "--devices", "1", "--dry_run", cwd=folder)
    assert "3 training runs (3 tested)" in printed
