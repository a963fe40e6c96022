"""An experiment that was killed ends like one that was not; benchmarks/kill_reproduce.py tries many moments."""

import pytest

from benchmarks import kill_reproduce

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of an experiment that ran to its end, and in how many saves."""
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    return folder, kill_reproduce.kill_at_save(folder, None)


def test_a_killed_experiment_ends_with_equal_results(undisturbed, tmp_path):
    """Otherwise a crash in the night would cost the table, or change it without a word."""
    folder, saves = undisturbed
    for share, moment in ((0.5, "half written"), (0.2, "before the rename")):
        assert kill_reproduce.kill_at_save(tmp_path / "out", int(share * saves), moment) is None  # killed
    assert kill_reproduce.finish(tmp_path / "out") is None
    assert kill_reproduce.outcome(tmp_path / "out") == kill_reproduce.outcome(folder)


def test_the_harness_catches_a_careless_save(undisturbed, tmp_path):
    """A check that cannot fail is none: half a file under its final name must show."""
    folder, saves = undisturbed
    assert kill_reproduce.kill_at_save(tmp_path / "out", saves // 2, "half written", careless=True) is None
    fault = kill_reproduce.finish(tmp_path / "out")
    assert fault or kill_reproduce.outcome(tmp_path / "out") != kill_reproduce.outcome(folder)
