"""Two processes on this machine train as one does; `make test-jax` runs the quick tests.

Dropout masks, the order of clips and the views are those of one process; sums over a batch are rounded otherwise.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import zipfile
from io import BytesIO

import h5py
import keras
import numpy as np
import pytest

from tests.conftest import write_arrays
from tests.jax import tiny
from tests.scripts import PROJECT

pytestmark = [
    pytest.mark.skipif(keras.config.backend() != "jax", reason="KERAS_BACKEND is not jax"),
    pytest.mark.timeout(600),
]
SECONDS = 300  # after which a process is taken to hang
LOST = "another process was killed, has crashed or cannot be reached"
TEACHER, STUDENT = "Teacher_training.py", "KD_training.py"
OF_STUDENT = ["--student", tiny.STUDENT]


def free_port():
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


class Processes:
    """Processes that run a script together; `count` 1 is a plain run."""

    def __init__(self, count, script, *arguments, cwd, port=None, only=None):
        port = port or free_port()
        self.started = {}
        for number in range(count) if only is None else [only]:
            own = ["--coordinator", f"127.0.0.1:{port}", "--num_processes", count, "--process_id", number]
            command = [sys.executable, "-m", "tests.jax.run", script, *arguments, *(own if count > 1 else [])]
            self.started[number] = subprocess.Popen(
                [str(part) for part in command],
                cwd=cwd,
                env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(PROJECT)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

    def read_until(self, pattern):
        """Read the lines that process 0 prints until one matches."""
        for line in self.started[0].stdout:
            if re.search(pattern, line):
                return
        raise AssertionError(self.started[0].communicate()[1])

    def ends(self):
        """Return (exit code, stdout, stderr) of each process."""
        found = {}
        try:
            for number, process in self.started.items():
                out, err = process.communicate(timeout=SECONDS)
                found[number] = process.returncode, out, err
        finally:
            for process in self.started.values():
                process.kill()
        return found


def run(count, script, *arguments, cwd):
    """Run a script in `count` processes that must succeed; return what process 0 printed."""
    ends = Processes(count, script, *arguments, cwd=cwd).ends()
    assert [code for code, _, _ in ends.values()] == [0] * count, ends
    assert all(out == "" for number, (_, out, _) in ends.items() if number)
    return ends[0][1]


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """Arrays whose 9 validation clips do not fill batches of 4."""
    return write_arrays(tmp_path_factory.mktemp("data") / "arrays", height=32, width=32, clips=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def arguments_of(arrays, name, *more, epochs=2):
    return [*tiny.arguments_of(arrays, output_path=f"{name}.keras"), "--epochs", epochs, *more]


@pytest.fixture(scope="module")
def teacher(arrays, folder):
    """The path of a teacher that one process has trained."""
    run(1, TEACHER, *arguments_of(arrays, "teacher"), cwd=folder)
    return folder / "teacher.keras"


def weights(path):
    """Return the arrays of a .keras file by name."""
    found = {}
    with zipfile.ZipFile(path) as archive, h5py.File(BytesIO(archive.read("model.weights.h5"))) as file:
        file.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return found


def assert_equal_trainings(folder, one, other, *, exactly=False):
    """Assert that histories, except for times, and weights are equal, up to the rounding of float32 by default.

    The soft loss has absolute errors of 1e-6 where student and teacher nearly agree.
    """
    tolerance = {"rtol": 0, "atol": 0} if exactly else {"rtol": 1e-4, "atol": 5e-6}
    histories = [np.load(folder / f"{name}_history.npy") for name in (one, other)]
    names = [name for name in histories[0].dtype.names if name not in ("seconds", "clips_per_second", "wait_share")]
    for name in names:
        np.testing.assert_allclose(histories[1][name], histories[0][name], **tolerance, err_msg=name)
    found = [weights(folder / f"{name}.keras") for name in (one, other)]
    assert found[0].keys() == found[1].keys()
    for name, expected in found[0].items():
        np.testing.assert_allclose(found[1][name], expected, **tolerance, err_msg=name)
    assert not list(folder.glob("*.training")) + list(folder.glob(".*"))


def test_a_teacher_is_that_of_one_process(teacher, arrays, folder):
    """Losses, metrics of an uneven validation set, calibration and weights would depend on the number of machines."""
    printed = run(2, TEACHER, *arguments_of(arrays, "of_two"), cwd=folder)
    assert "saved of_two.keras" in printed
    assert_equal_trainings(folder, "teacher", "of_two")


STUDENTS = {"cached": ["--labels_per_class", "3", "--source", "teacher.keras"]}
SLOWER = {
    "alone": ["--alpha", "1", "--class_weights", "balanced"],
    "live": ["--teacher", "live", "--source", "teacher.keras", "--weight_decay", "0.01"],
}


@pytest.mark.parametrize("kind", [*STUDENTS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOWER)])
def test_a_student_is_that_of_one_process(teacher, arrays, folder, kind):
    """Few labels and class weights make the loss differ if each process averages its own share."""
    settings = (STUDENTS | SLOWER)[kind]
    for count in (2, 1):  # two first: they compute the teacher's logits
        run(count, STUDENT, *arguments_of(arrays, f"{kind}_{count}", *OF_STUDENT, *settings), cwd=folder)
    assert_equal_trainings(folder, f"{kind}_1", f"{kind}_2")


MANY = 60  # epochs, enough that a training does not end before it is killed


@pytest.fixture(scope="module")
def undisturbed(arrays, folder):
    """The name of a student that two processes have trained without interruption."""
    run(2, STUDENT, *arguments_of(arrays, "undisturbed", *OF_STUDENT, "--alpha", "1", epochs=MANY), cwd=folder)
    return "undisturbed"


def only_line(error):
    """Return an error of one line, without the hint of JAX about environment variables of proxies."""
    lines = error.splitlines()
    assert len(lines) == 1, error
    return lines[0]


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_other_and_the_training_is_resumed(undisturbed, arrays, folder, killed):
    """The survivors would wait for ever, or end with a log of C++ and without a hint."""
    name = f"killed_{killed}"
    arguments = arguments_of(arrays, name, *OF_STUDENT, "--alpha", "1", epochs=MANY)
    processes = Processes(2, STUDENT, *arguments, cwd=folder)
    processes.read_until(r"^epoch +3/")
    processes.started[killed].kill()
    ends = processes.ends()
    assert ends[killed][0] == -signal.SIGKILL
    code, _, error = ends[1 - killed]
    assert code == 2
    line = only_line(error)
    assert re.match(rf"error: {LOST}( \(.*\))?: epochs 1 to ", line)
    assert f"saved in {name}.training; rerun the same command to resume" in line
    assert not (folder / f"{name}.keras").exists()
    assert "resuming from epoch" in run(2, STUDENT, *arguments, cwd=folder)
    assert_equal_trainings(folder, undisturbed, name, exactly=True)


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [0, 1])
def test_a_signal_to_one_process_ends_all(arrays, folder, stopped):
    """Ctrl-C on one machine would leave the others running."""
    name = f"stopped_{stopped}"
    processes = Processes(2, STUDENT, *arguments_of(arrays, name, *OF_STUDENT, "--alpha", "1", epochs=MANY), cwd=folder)
    processes.read_until(r"^epoch +2/")
    processes.started[stopped].send_signal(signal.SIGTERM)
    ends = processes.ends()
    assert [code for code, _, _ in ends.values()] == [128 + signal.SIGTERM] * 2, ends
    own, other = only_line(ends[stopped][2]), only_line(ends[1 - stopped][2])
    assert own.startswith("interrupted: epochs 1 to ")
    assert other == f"error: process {stopped} has ended: {own}"


@pytest.mark.parametrize("number", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_waiting_for_a_process_that_never_joins_is_limited(arrays, folder, number):
    """A machine that did not start would block the others for ever."""
    arguments = [*arguments_of(arrays, "lonely", *OF_STUDENT, "--alpha", "1"), "--join_timeout", 3]
    ends = Processes(2, STUDENT, *arguments, cwd=folder, only=number).ends()
    code, _, error = ends[number]
    assert code == 2
    assert re.fullmatch(r"error: --coordinator \S+: not all 2 processes have joined within 3 s\n", error)


@pytest.mark.slow
def test_errors_of_one_process_end_all(arrays, folder):
    """The processes must not train with different settings, and none may wait for one that has refused to start."""
    port = free_port()
    arguments = arguments_of(arrays, "different", *OF_STUDENT, "--alpha", "1")
    started = [
        Processes(2, STUDENT, *arguments, "--learning_rate", rate, cwd=folder, port=port, only=number)
        for number, rate in enumerate(("0.001", "0.002"))
    ]
    ends = [each.ends()[number] for number, each in enumerate(started)]
    message = "--learning_rate: must be 0.001 as in process 0, got 0.002 in process 1"
    assert [code for code, _, _ in ends] == [2, 2]
    assert only_line(ends[1][2]) == f"error: {message}"
    assert only_line(ends[0][2]) == f"error: process 1 has ended: {message}"


@pytest.mark.slow
def test_a_batch_that_the_devices_cannot_share_is_refused(arrays, folder):
    """Keras waits for ever for the missing clips."""
    arguments = arguments_of(arrays, "uneven", *OF_STUDENT, "--alpha", "1", "--batch_size", 5)
    ends = Processes(2, STUDENT, *arguments, cwd=folder).ends()
    message = "--batch_size: must be a multiple of the 2 devices of all processes, got 5"
    assert [code for code, _, _ in ends.values()] == [2, 2]
    assert any(f"error: {message}\n" == error for _, _, error in ends.values())
