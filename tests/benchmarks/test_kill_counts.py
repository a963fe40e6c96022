"""Kill tests continue where they stopped; the subject here appends to a file instead of running a script."""

import argparse
import itertools
import json
from dataclasses import dataclass, field

import pytest

from benchmarks import kill_counts
from benchmarks.killing import Subject
from utils.base.errors import UserError

STEPS, RESTARTS = 5, "starts again from the first step"


@dataclass(frozen=True)
class Appended(Subject):
    """A run appends one character per step to a file, and continues after those that are there unless it is unsafe."""

    runs: list = field(default_factory=list)  # kill and unsafe save of each run
    is_broken: bool = False  # never continues
    interrupted_at: int | None = None  # number of the run that Ctrl-C ends

    def run(self, folder, *, kill=None, unsafe=None):
        self.runs.append((kill, unsafe))
        if len(self.runs) == self.interrupted_at:
            raise KeyboardInterrupt
        folder.mkdir(exist_ok=True)
        path = folder / "steps"
        done = len(path.read_text()) if path.exists() and not (unsafe or self.is_broken) else 0
        for event in range(1, STEPS - done + 1):
            if kill == ("step", event):
                return None
            with open(path, "a") as file:
                file.write(".")
        return {"step": STEPS - done}


def appended(name="appended", unsafe=RESTARTS, **settings) -> Appended:
    """Return a subject; without `unsafe`, its planted fault does no harm."""
    common = {"script": "", "prepare": list, "hook": print, "phases": ("step",), "kills": 3}
    return Appended(name, outcome=steps, unsafe={unsafe: "step"}, **common, **settings)


def steps(folder) -> dict:
    """Return the content of the file of a run."""
    return {"steps": (folder / "steps").read_text()}


def kill(folder, *subjects, kills=10, max_minutes=None, **settings) -> int:
    """Kill subjects and return the exit code."""
    args = argparse.Namespace(output_path=folder, kills=kills, max_minutes=max_minutes, seed=0, **settings)
    return kill_counts.kill_all(args, lambda _: subjects)


def counts_in(folder, name="appended") -> dict:
    """Return what is recorded of a subject."""
    return json.loads((folder / kill_counts.RECORD).read_text())["subjects"][name]


def test_repeating_the_command_continues_up_to_the_total(tmp_path):
    """Hours of kills would be repeated, or counted twice."""
    first, second, third = appended(), appended(), appended()
    assert kill(tmp_path, first, kills=4) == 0
    assert counts_in(tmp_path)["kills"] == {"step": 4}
    assert kill(tmp_path, second, kills=9) == 0
    assert counts_in(tmp_path)["kills"] == {"step": 9}
    assert [run for run in first.runs if run[1]]
    assert [run for run in second.runs if run[1]] == []  # the planted fault is not repeated
    assert first.runs[0] == (None, None)
    assert second.runs[0] != (None, None)  # nor is the undisturbed run
    assert kill(tmp_path, third, kills=9) == 0
    assert third.runs == []


def test_parts_make_the_kills_of_one_call(tmp_path):
    """Each part would repeat the same kills, so that a thousand of them would test few points."""
    parts = [appended() for _ in range(30)]
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    kill(tmp_path / "whole", appended(), kills=30)
    for kills, subject in enumerate(parts, 1):
        kill(tmp_path / "parts", subject, kills=kills)
    drawn = {killed[1] for subject in parts for killed, _ in subject.runs if killed}
    assert drawn == set(range(1, STEPS + 1))
    assert counts_in(tmp_path / "parts")["kills"] == counts_in(tmp_path / "whole")["kills"] == {"step": 30}


@pytest.mark.parametrize("run", [1, *range(4, 14)])
def test_ctrl_c_loses_only_the_run_that_it_ends(tmp_path, run):
    """Kills would be lost, or never compared with the undisturbed run."""
    whole, interrupted, resumed = appended(), appended(interrupted_at=run), appended()
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    kill(tmp_path / "whole", whole)
    with pytest.raises(KeyboardInterrupt):
        kill(tmp_path / "parts", interrupted)
    assert kill(tmp_path / "parts", resumed) == 0
    assert interrupted.runs[:-1] + resumed.runs == whole.runs
    assert counts_in(tmp_path / "parts") == counts_in(tmp_path / "whole")


def test_a_fault_is_recorded_and_gives_exit_code_1(tmp_path):
    """A script that does not resume would pass."""
    broken = appended(is_broken=True)
    assert kill(tmp_path, broken) == 1
    faults = counts_in(tmp_path)["faults"]
    assert faults
    assert all(fault["faults"] == ["steps differs"] and fault["killed"] for fault in faults)
    assert kill(tmp_path, appended(), kills=11) == 1


def test_a_planted_fault_that_is_not_caught_ends_the_test(tmp_path):
    """Thousands of kills would say nothing if the comparison cannot fail."""
    harmless = appended(unsafe="")  # an empty name: the run continues as usual
    assert kill(tmp_path, harmless) == 1
    assert counts_in(tmp_path)["planted"] == {"": None}
    assert counts_in(tmp_path)["kills"] == {}


def test_kills_are_shared_by_the_subjects(tmp_path):
    """The total of `make torture` would differ from the number that is asked for."""
    assert kill(tmp_path, appended("a"), appended("b"), appended("c"), kills=11) == 0
    assert [counts_in(tmp_path, name)["kills"]["step"] for name in "abc"] == [4, 4, 3]


@pytest.mark.parametrize("limit", [{"max_minutes": 1e-9}, {"minutes": 1e-9}])
def test_no_run_starts_after_the_time_budget(tmp_path, limit):
    """A job with a time limit would be ended from outside."""
    subject = appended()
    assert kill(tmp_path, subject, **limit) == 0
    assert subject.runs == []


@pytest.mark.parametrize(
    ("changed", "name"),
    [({"code_version": lambda: "other"}, "code"), ({}, "videos")],
)
def test_kills_of_other_code_or_videos_are_refused(tmp_path, monkeypatch, changed, name):
    """The total would mix kills of code that no longer exists."""
    kill(tmp_path, appended(), kills=1)
    before = (tmp_path / kill_counts.RECORD).read_bytes()
    for attribute, value in changed.items():
        monkeypatch.setattr(kill_counts, attribute, value)
    other = {} if changed else {"input_path": tmp_path}
    with pytest.raises(UserError, match=f"--output_path: {tmp_path} holds kills with {name} "):
        kill(tmp_path, appended(), kills=2, **other)
    assert (tmp_path / kill_counts.RECORD).read_bytes() == before


def test_files_of_others_are_not_overwritten(tmp_path):
    """kill_training.py writes frames.npy, which would replace a data set."""
    (tmp_path / "frames.npy").write_bytes(b"frames")
    subject = appended()
    with pytest.raises(UserError, match=r"must be empty or hold kills\.json, found frames\.npy"):
        kill(tmp_path, subject)
    assert subject.runs == []
    assert [path.name for path in tmp_path.iterdir()] == ["frames.npy"]


def test_a_soak_ends_with_its_minutes(tmp_path, monkeypatch):
    """It would end after a few kills, or never."""
    seconds = itertools.count()
    monkeypatch.setattr(kill_counts.time, "monotonic", lambda: float(next(seconds)))
    subject = appended()
    assert kill(tmp_path, subject, kills=1, minutes=2) == 0
    count = counts_in(tmp_path)
    assert sum(killed is not None and unsafe is None for killed, unsafe in subject.runs) > 60
    assert count["kills"]["step"] > 60
    assert count["finished"] > 20
    assert count["faults"] == []
