"""Damaged files given to the scripts: one line on stderr, exit code 2, and no file changed."""

import os
import zipfile

import numpy as np
import pytest

from tests.scripts import run_script as run
from utils.base.files import write_json

pytestmark = pytest.mark.usefixtures("eager")

ARRAYS = ["--data", "arrays/frames.npy", "--annotations", "arrays/labels.npy"]
TEACHER = ["Teacher_training.py", *ARRAYS, "--task", "train_local_teacher", "--output_path", "t.h5", "--log_path", "t"]
TEACHER += ["--input_size", 32, "--width", 0.1, "--batch_size", 2]


def truncate_labels(folder):
    os.truncate(folder / "arrays/labels.npy", 130)


def labels_of_a_terabyte(folder):
    with open(folder / "arrays/labels.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|i1", "fortran_order": False, "shape": (10**12,)})
        file.truncate(file.tell() + 10**12)


def labels_from_a_pipe(folder):
    (folder / "arrays/video_file_paths.npy").unlink()
    os.mkfifo(folder / "pipe.npy")


def wrong_list(folder):
    (folder / "list.csv").write_text("Class0/v_Class0_g01_c01.avi,test\nClass0/v_Class0_g01_c01.avi,train\n")


def damaged_state(folder):
    with zipfile.ZipFile(folder / "t.training", "w") as archive:
        archive.writestr("header.json", "[" * 100_000)


def damaged_record(folder):
    (folder / "m.keras").touch()
    write_json(folder / "m.json", {"class_names": ["a", "a"]})


@pytest.mark.parametrize(
    ("damage", "command", "line"),
    [
        (
            truncate_labels,
            TEACHER,
            "--annotations: arrays/labels.npy must be a complete .npy array: shape (12,) of int64",
        ),
        (
            labels_of_a_terabyte,
            TEACHER,
            "--data: arrays/frames.npy holds 12 clips but --annotations holds 1000000000000",
        ),
        (
            labels_from_a_pipe,
            [*TEACHER, "--annotations", "pipe.npy"],
            "--annotations: must be an existing file, got pipe",
        ),
        (
            wrong_list,
            [*TEACHER, "--split", "list:list.csv"],
            "--split: list.csv line 2 assigns Class0/v_Class0_g01_c01.avi",
        ),
        (
            damaged_state,
            TEACHER,
            "--output_path: t.training: header.json is not a JSON file: recursion limit exceeded at line 1 column 202;",
        ),
        (
            damaged_record,
            ["eval.py", *ARRAYS, "--recognizer", "m.keras"],
            "--recognizer: m.json: format is missing; restore it, or remove it to use the model without a record",
        ),
        (
            lambda folder: None,
            [*TEACHER, "--epochs", 2**63],
            "--epochs: must be at most 2147483647, got 9223372036854775808",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_damaged_file_is_one_line(make_arrays, tmp_path, damage, command, line):
    """The user would search a traceback for the file to repair."""
    make_arrays(classes=2, groups=3, height=32, width=32)
    damage(tmp_path)
    before = contents(tmp_path)
    printed = run(*command, cwd=tmp_path, expect=2)
    assert printed.startswith(f"error: {line}")
    assert printed.count("\n") == 1
    changed = contents(tmp_path)
    changed.pop("t.log", None)  # of the failed run
    assert changed == before


def contents(folder):
    """Return size and time of each file by name."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".hash.json")  # remembers what was read
    }


@pytest.mark.parametrize("flags", [[], ["--dry_run"]])
def test_a_damaged_cell_of_reproduce_is_one_line(make_arrays, tmp_path, flags):
    """An experiment of days could not be continued, nor its plan be shown."""
    make_arrays(classes=2, groups=3, height=32, width=32)
    command = ["reproduce.py", *ARRAYS, "--output_path", "out", "--input_size", 32]
    command += ["--teachers", "none", "--student_width", 0.1, "--batch_size", 2, "--student_epochs", 1]
    run(*command, cwd=tmp_path)
    (cell,) = (tmp_path / "out/cells").iterdir()
    (cell / "tested.json").write_text("x" * 200_000)
    printed = run(*command, *flags, cwd=tmp_path, expect=2)
    path = cell.relative_to(tmp_path) / "tested.json"
    assert printed == (
        f"error: --output_path: {path} is not a JSON file: expected value at line 1 column 1; "
        f"delete {path} to test again\n"
    )
