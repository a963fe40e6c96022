"""Killed scripts resume, with equal results; benchmarks/kills.py kills them at many more points."""

import pytest

from benchmarks.killing import BEFORE, HALF, kill_and_resume
from benchmarks.kills import DIRECT, experiments, incomplete_file, trainings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", params=[trainings, experiments], ids=["teacher", "experiment"])
def undisturbed(request, tmp_path_factory):
    """What is killed, a folder for its runs, and the outcome and events of an undisturbed run."""
    folder = tmp_path_factory.mktemp("killed").resolve()
    subject = next(request.param(folder))
    events = subject.run(folder / "undisturbed")
    if request.param is trainings:
        assert incomplete_file(folder / "undisturbed") is None
    return subject, folder / "killed", subject.outcome(folder / "undisturbed"), events


def kills_of(subject, events, *shares) -> list:
    """Return kills at shares of the saves of a subject."""
    phases = {"teacher": ("save", "end"), "experiment": (HALF, BEFORE)}[subject.name]
    return [(phase, max(int(share * events[phase]), 1)) for phase, share in zip(phases, shares)]


def test_resumed_runs_have_equal_results(undisturbed):
    """After a crash or a power cut, the same command would otherwise give another model, or other results."""
    subject, folder, expected, events = undisturbed
    result = kill_and_resume(subject, folder, expected, kills_of(subject, events, 0.6, 0.7))
    assert result["killed"]
    assert result["faults"] == []


def test_an_unsafe_save_is_detected(undisturbed):
    """The test above would pass whatever is saved."""
    subject, folder, expected, events = undisturbed
    kills = [kills_of(subject, events, share) for share in (0.6, 0.88, 0.17)]  # some of the files do no harm
    assert any(kill_and_resume(subject, folder, expected, kill, DIRECT)["faults"] for kill in kills)
