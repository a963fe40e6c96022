"""Training scripts resume after SIGKILL; benchmarks/kill_training.py kills them at many more points."""

import pytest

from benchmarks import kill_training, killing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """The training of a teacher, a folder for its runs, and the outcome and events of an undisturbed run."""
    folder = tmp_path_factory.mktemp("killed")
    subject = next(kill_training.subjects(folder))
    undisturbed = folder / "undisturbed_teacher"
    events = subject.run(undisturbed)
    assert kill_training.fault_of(undisturbed) is None
    return subject, folder / "killed", subject.outcome(undisturbed), events


@pytest.mark.parametrize(("phase", "share"), [("save", 0.6), ("end", 0.7)])
def test_resumed_training_equals_an_undisturbed_one(teacher, phase, share):
    """After a crash or a power cut, the same command would otherwise give another network."""
    subject, folder, expected, events = teacher
    result = killing.kill_and_resume(subject, folder, expected, [(phase, int(share * events[phase]))])
    assert result["killed"]
    assert result["faults"] == []


def test_unsafe_save_is_caught(teacher):
    """The test above would pass whatever the scripts save."""
    subject, folder, expected, events = teacher
    kill = ("save", int(0.6 * events["save"]))
    result = killing.kill_and_resume(subject, folder, expected, [kill], kill_training.DIRECT)
    assert result["killed"]
    assert any("teacher.training" in fault for fault in result["faults"])
