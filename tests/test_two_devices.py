"""Runs tests/two_devices/ in a process that has two logical CPU devices."""

import os
import subprocess
import sys

import pytest

from tests.scripts import PROJECT


@pytest.mark.timeout(900)
@pytest.mark.slow
def test_trainings_on_two_devices():
    """Trainings with --devices would differ from those on one device."""
    command = [sys.executable, "-m", "pytest", "tests/two_devices", "-p", "no:xdist"]
    environment = os.environ | {"TWO_DEVICES": "yes"}
    run = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
