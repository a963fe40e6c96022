"""The teacher and the student of a user's own that CONTRIBUTING.md shows, run as they stand there."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
SCRIPTS = ("KD_training.py", "eval.py")


def blocks(language):
    """The code blocks of a language in CONTRIBUTING.md."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (PROJECT / "CONTRIBUTING.md").read_text(), re.M | re.S)


@pytest.fixture
def run(tmp_path):
    """Runs a command of CONTRIBUTING.md, with further arguments, in the user's folder; returns what it printed."""

    def run(command, *more):
        python, script, *arguments = shlex.split(command)
        assert python == "python"
        script = PROJECT / script if script in SCRIPTS else script
        environment = os.environ | {"PYTHONPATH": str(PROJECT)}
        return subprocess.run(
            [sys.executable, script, *arguments, *more],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    return run


def test_the_teacher_and_the_student_of_contributing(run, make_arrays, tmp_path):
    """A newcomer copies these; the teacher (BGR, 0..1, 24x32, softmax) must be asked as it was trained.

    The classes of these clips are colours: a teacher that is shown RGB takes red for blue.
    """
    (tmp_path / "Frames_datasets").mkdir()
    make_arrays("Frames_datasets/UCF11")
    teacher, student = blocks("python")
    assert len(teacher.splitlines()) < 30
    assert len(student.splitlines()) < 20
    (tmp_path / "my_teacher.py").write_text(teacher)
    (tmp_path / "my_student.py").write_text(student)
    train_teacher, distil, evaluate = blocks("bash")[0].splitlines()

    run(train_teacher)
    small = ("--epochs", "2", "--views", "1", "--input_size", "40x48", "--width", "0.5")
    printed = run(distil, *small)
    assert "its weights stay as drawn" in printed
    right = re.search(r"teacher.*: accuracy ([\d.]+) % on training clips", printed)
    assert float(right[1]) >= 90
    by_rgb = shlex.join([word for word in shlex.split(distil) if word not in ("--source_channels", "bgr")])
    printed = run(by_rgb, *small, "--output_path", "by_rgb.keras", "--log_path", "by_rgb")
    assert float(re.search(r"teacher.*: accuracy ([\d.]+) % on training clips", printed)[1]) <= 50

    record = json.loads((tmp_path / "student_of_mine.json").read_text())
    assert record["input"]["shape"] == [16, 40, 48, 3]
    assert record["arguments"]["student"] == "my_student:build"
    assert re.search(r"^student_of_mine", run(evaluate), re.M) or "student_of_mine" in run(evaluate)
