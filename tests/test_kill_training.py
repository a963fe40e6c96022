"""Whole trainings killed by SIGKILL and run again; benchmarks/kill_training.py does it at many moments."""

import pytest

from benchmarks import kill_training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    kill_training.make_arrays(folder)
    return folder


@pytest.fixture(scope="module")
def whole(folder):
    """What an undisturbed Teacher_training.py leaves, and how many events there were to be killed at."""
    events = kill_training.run("Teacher_training.py", folder / "whole")
    assert kill_training.incomplete(folder / "whole") == []
    return kill_training.result(folder / "whole", "Teacher_training.py"), events


@pytest.mark.parametrize(("phase", "share"), [("save", 0.6), ("end", 0.7)])
def test_a_killed_script_ends_as_an_undisturbed_one(folder, whole, phase, share):
    """A power cut, or a full memory: whatever it hits, the same command must bring the same network."""
    expected, events = whole
    moment = (phase, int(share * events[phase]))
    done = kill_training.kill_and_continue("Teacher_training.py", folder / "killed", expected, moment)
    assert done["killed"]
    assert done["faults"] == []


def test_a_careless_save_is_caught(folder, whole):
    """The test above would say nothing if it could not fail."""
    expected, events = whole
    moment, careless = ("save", int(0.6 * events["save"])), kill_training.STRAIGHT
    done = kill_training.kill_and_continue("Teacher_training.py", folder / "careless", expected, moment, careless)
    assert done["killed"]
    assert any("teacher.training" in fault for fault in done["faults"])
