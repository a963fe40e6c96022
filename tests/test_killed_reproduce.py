"""reproduce.py resumes after SIGKILL; benchmarks/kill_reproduce.py kills it at many more points."""

import pytest

from benchmarks.kill_reproduce import BEFORE, DIRECT, HALF, SUBJECT
from benchmarks.killing import kill_and_resume

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The outcome and the events of an undisturbed experiment."""
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    events = SUBJECT.run(folder)
    return SUBJECT.outcome(folder), events


def test_resumed_experiment_has_equal_results(undisturbed, tmp_path):
    """After a crash, the results of hours of training would otherwise be lost or differ."""
    expected, events = undisturbed
    kills = [(HALF, events[HALF] // 2), (BEFORE, events[BEFORE] // 5)]
    result = kill_and_resume(SUBJECT, tmp_path / "out", expected, kills)
    assert len(result["killed"]) == 2
    assert result["faults"] == []


def test_unsafe_save_is_caught(undisturbed, tmp_path):
    """The test above would pass whatever the experiment saves."""
    expected, events = undisturbed
    kills = [(HALF, int(share * events[HALF])) for share in (0.88, 0.17, 0.6)]  # some of the files do no harm
    assert any(kill_and_resume(SUBJECT, tmp_path / "out", expected, [kill], DIRECT)["faults"] for kill in kills)
