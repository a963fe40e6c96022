"""The counts of kills; the subject here appends to a file instead of running a script."""

from dataclasses import dataclass, field

from benchmarks.killing import Subject, kill_repeatedly

STEPS, RESTARTS = 5, "starts again from the first step"


@dataclass(frozen=True)
class Appended(Subject):
    """A run appends one character per step to a file, and continues after those that are there unless it is unsafe."""

    runs: list = field(default_factory=list)  # kill and unsafe save of each run
    is_broken: bool = False  # never continues

    def run(self, folder, *, kill=None, unsafe=None):
        self.runs.append((kill, unsafe))
        folder.mkdir(exist_ok=True)
        path = folder / "steps"
        done = len(path.read_text()) if path.exists() and not (unsafe or self.is_broken) else 0
        for event in range(1, STEPS - done + 1):
            if kill == ("step", event):
                return None
            with open(path, "a") as file:
                file.write(".")
        return {"step": STEPS - done}


def appended(unsafe=RESTARTS, **settings) -> Appended:
    """Return a subject; without `unsafe`, its unsafe save does no harm."""
    common = {"script": "", "prepare": list, "hook": print, "phases": ("step",), "kills": 3}
    outcome = {"outcome": lambda folder: {"steps": (folder / "steps").read_text()}}
    return Appended("appended", unsafe={unsafe: "step"}, **common, **outcome, **settings)


def test_kills_reach_their_number_at_different_steps(tmp_path):
    """A thousand kills would test a few points."""
    subject = appended()
    found = kill_repeatedly(subject, tmp_path, kills=30)
    assert found["kills"].total() == found["kills"]["step"] == 30
    assert (found["missed"], found["faults"]) == ([], [])
    assert found["finished"] >= 10
    assert {kill[1] for kill, unsafe in subject.runs if kill and not unsafe} == set(range(1, STEPS + 1))


def test_a_script_that_does_not_resume_is_a_fault(tmp_path):
    """It would pass."""
    found = kill_repeatedly(appended(is_broken=True), tmp_path, kills=10)
    assert set(found["faults"]) == {"steps differs"}


def test_an_unsafe_save_that_is_not_detected_ends_the_test(tmp_path):
    """Thousands of kills would say nothing if the comparison cannot fail."""
    found = kill_repeatedly(appended(unsafe=""), tmp_path, kills=10)  # an empty name: the run continues as usual
    assert found["missed"] == [""]
    assert found["kills"].total() == 0


def test_no_run_starts_after_the_deadline(tmp_path):
    """A job with a time limit would be ended from outside."""
    assert kill_repeatedly(appended(), tmp_path, kills=10, deadline=0)["finished"] == 0
