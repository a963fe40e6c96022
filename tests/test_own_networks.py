"""The custom teacher and student of CONTRIBUTING.md, run as printed there."""

import json
import re
import shlex
import sys

import keras
import pytest

from tests.scripts import PROJECT, run_script

SCRIPTS = ("KD_training.py", "eval.py")


def blocks(language):
    """Return the code blocks of a language in CONTRIBUTING.md."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (PROJECT / "CONTRIBUTING.md").read_text(), re.M | re.S)


@pytest.fixture
def run(tmp_path):
    """A function that runs a command of CONTRIBUTING.md, with further arguments, in `tmp_path`; returns its stdout."""

    def run(command, *more):
        python, script, *arguments = shlex.split(command)
        assert python == "python"
        script = script if script in SCRIPTS else tmp_path / script
        return run_script(script, *arguments, *more, cwd=tmp_path)

    yield run
    sys.modules.pop("my_student", None)


def test_the_teacher_and_the_student_of_contributing(run, make_arrays, tmp_path):
    """The example would fail, or its teacher (BGR, 0..1, 24x32, softmax) would get inputs it was not trained on.

    The classes differ in colour, so that a teacher that is shown RGB confuses red and blue.
    """
    (tmp_path / "Frames_datasets").mkdir()
    make_arrays("Frames_datasets/UCF11")
    teacher, student = blocks("python")
    assert len(teacher.splitlines()) < 30
    assert len(student.splitlines()) < 20
    (tmp_path / "my_teacher.py").write_text(teacher)
    (tmp_path / "my_student.py").write_text(student)
    train_teacher, distil, evaluate = blocks("bash")[0].splitlines()

    keras.utils.set_random_seed(0)
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
    assert "student_of_mine" in run(evaluate)
