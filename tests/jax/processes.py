"""Run a script in several processes on this machine, and compare the trainings that it writes."""

import os
import re
import socket
import subprocess
import sys
import zipfile
from io import BytesIO

import h5py
import keras
import numpy as np
import pytest

from tests.jax import tiny
from tests.scripts import PROJECT

needs_jax = [
    pytest.mark.skipif(keras.config.backend() != "jax", reason="KERAS_BACKEND is not jax"),
    pytest.mark.timeout(600),
]
TEACHER, STUDENT = "Teacher_training.py", "KD_training.py"
OF_STUDENT = ["--student", tiny.STUDENT]
SECONDS = 300  # after which a process is taken to hang


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


def arguments_of(arrays, name, *more, epochs=2):
    return [*tiny.arguments_of(arrays, output_path=f"{name}.keras"), "--epochs", epochs, *more]


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
