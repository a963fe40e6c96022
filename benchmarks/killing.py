"""Kill scripts at chosen points, resume them, and compare the results with those of an undisturbed run.

Each kill_*.py describes what it kills as a `Subject` and calls `main`. Every run is a separate process, forked from one
that has only imported TensorFlow and other slow packages, and executes the script as a user would. To show that the
comparison can fail, each subject also has unsafe ways to save, which must be caught.
"""

import argparse
import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import random
import runpy
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import psutil

os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")  # killed runs leak semaphores, which it removes

ROOT = Path(__file__).resolve().parents[1]
PRELOADED = ["tensorflow", "keras", "matplotlib.pyplot", "sklearn", "scipy.stats"]
# A kill before "open" or "close" leaves the same files as one before the next of these calls.
FILE_CALLS = {"write", "pwrite", "tofile", "fsync", "truncate", "flock"}
FILE_CALLS |= {"rename", "replace", "link", "unlink", "rmdir", "mkdir"}
TIME = "time"  # the phase of kills after a number of seconds
LEFT = " is left"  # ends faults that do not show an unsafe save
SECONDS_PER_RUN = 900
UNSAFE_KILLS = 20  # at most; the first one that is caught ends the check

Kill = tuple[str, float]  # a phase and the number of the event in it, or TIME and seconds


class Events:
    """The events of a run so far, by phase; the process is killed just before the event `kill`."""

    def __init__(self, kill: Kill | None):
        self.kill, self.counts = kill, Counter()

    def is_next(self, phase: str) -> bool:
        """Return whether the next event of `phase` is the kill."""
        return self.kill == (phase, self.counts[phase] + 1)

    def count(self, phase: str) -> None:
        """Count an event, or kill the process."""
        if self.is_next(phase):
            os.kill(os.getpid(), signal.SIGKILL)
        self.counts[phase] += 1

    def file_operations(self, phase: str, function: Callable) -> Callable:
        """Return `function` with each of its file operations counted as an event of `phase`."""

        def profile(frame, event, argument) -> None:
            is_file_call = event == "c_call" and argument.__name__ in FILE_CALLS
            if is_file_call and not isinstance(argument.__self__, (str, io.StringIO, io.BytesIO)):
                self.count(phase)

        def watched(*arguments, **settings):
            outer = sys.getprofile()
            sys.setprofile(profile)
            try:
                return function(*arguments, **settings)
            finally:
                sys.setprofile(outer)

        return watched


@dataclass(frozen=True)
class Subject:
    """A script to kill, and how to judge its results."""

    name: str
    script: str
    prepare: Callable[[Path], list]  # prepares an output folder and returns the command-line arguments
    hook: Callable[[Events, str | None], None]  # makes the script report events, and save in an unsafe way unless None
    outcome: Callable[[Path], dict]  # results in a finished output folder that must not depend on kills, by name
    phases: tuple[str, ...]  # phases of the kills, used in turn
    unsafe: Mapping[str, str]  # the unsafe ways to save, and the phase in which each is killed
    fault_of: Callable[[Path, dict], str | None] = lambda folder, expected: None  # an incomplete file after a kill
    leftovers: tuple[str, ...] = ()  # patterns of files that a finished run must not leave
    kills: int = 1  # number of kills per point

    def run(self, folder: Path, *, kill: Kill | None = None, unsafe: str | None = None) -> dict | None:
        """Run the script with `folder` as output.

        Returns the number of events by phase, and the seconds of the run as TIME; None if the run was killed. Raises
        RuntimeError with the output of the script if it fails or hangs, or if its workers survive a kill.
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        with tempfile.TemporaryDirectory() as scratch:
            output, counts = Path(scratch) / "output.txt", Path(scratch) / "events.json"
            command = [str(part) for part in (self.script, *self.prepare(folder))]
            process = context.Process(target=execute, args=(command, self.hook, kill, unsafe, output, counts))
            is_timed = kill is not None and kill[0] == TIME
            process.start()
            process.join(kill[1] if is_timed else SECONDS_PER_RUN)
            if process.exitcode is None:
                workers = []
                with contextlib.suppress(psutil.NoSuchProcess):
                    workers = psutil.Process(process.pid).children(recursive=True)
                process.kill()
                process.join()
                if alive := psutil.wait_procs(workers, timeout=10)[1]:
                    raise RuntimeError(f"{len(alive)} workers survive the kill")
                if not is_timed:
                    raise RuntimeError(f"{output.read_text()}\n{self.script} runs for more than {SECONDS_PER_RUN} s")
            if process.exitcode == -signal.SIGKILL and kill is not None:
                return None
            if process.exitcode:
                raise RuntimeError(output.read_text() or f"{self.script} ended with exit code {process.exitcode}")
            return json.loads(counts.read_text())


def execute(command: list[str], hook: Callable, kill: Kill | None, unsafe: str | None, output: Path, counts: Path):
    """Execute a script in this process; write what it prints to `output` and its events to `counts`."""
    with open(output, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    events, start = Events(kill), time.monotonic()
    hook(events, unsafe)
    sys.argv = command
    runpy.run_path(str(ROOT / command[0]), run_name="__main__")
    counts.write_text(json.dumps({**events.counts, TIME: time.monotonic() - start}))


def kill_and_resume(subject: Subject, folder: Path, expected: dict, kills: Sequence[Kill], unsafe=None) -> dict:
    """Run a subject in the emptied `folder` with each of `kills`, then to its end.

    Returns the kills that happened, and as "faults" what is incomplete, differs from the `expected` outcome or is left.
    """
    shutil.rmtree(folder, ignore_errors=True)
    done, faults = [], []
    try:
        for kill in kills:
            if subject.run(folder, kill=kill, unsafe=unsafe) is None:
                done.append(f"{kill[0]} {kill[1]:.5g}")
            if fault := subject.fault_of(folder, expected):
                faults.append(fault)
        if not done and kills[0][0] != TIME:
            faults.append(f"{kills[0]} was not reached")
        subject.run(folder, unsafe=unsafe)
        found = subject.outcome(folder)
        faults += [f"{name} differs" for name in expected | found if found.get(name) != expected.get(name)]
        faults += [f"{path.name}{LEFT}" for pattern in subject.leftovers for path in folder.rglob(pattern)]
    except Exception as error:  # a reader may raise anything on a damaged file
        faults.append((str(error).strip().splitlines() or [repr(error)])[-1])
    return {"subject": subject.name, "killed": done, "faults": faults}


def check(subject: Subject, folder: Path, points: int, choose: random.Random) -> int:
    """Kill a subject at `points` points, print a JSON line for each, and return the number of points with faults."""
    undisturbed, killed = folder / f"undisturbed_{subject.name}", folder / f"killed_{subject.name}"
    events, failed = subject.run(undisturbed), 0
    expected = subject.outcome(undisturbed)
    print(json.dumps({"subject": subject.name, "events": events}), flush=True)
    for unsafe, phase in subject.unsafe.items():
        shutil.rmtree(killed, ignore_errors=True)
        numbers = range(1, subject.run(killed, unsafe=unsafe)[phase] + 1)
        for number in choose.sample(numbers, min(UNSAFE_KILLS, len(numbers))):  # some of them do no harm
            result = kill_and_resume(subject, killed, expected, [(phase, number)], unsafe)
            caught = bool(result["killed"]) and any(not fault.endswith(LEFT) for fault in result["faults"])
            print(json.dumps({"unsafe": unsafe, "caught": caught, **result}), flush=True)
            if caught:
                break
        failed += not caught
    for point in range(points):
        phases = [subject.phases[(point + turn) % len(subject.phases)] for turn in range(subject.kills)]
        kills = [(p, choose.uniform(0, events[p]) if p == TIME else choose.randint(1, events[p])) for p in phases]
        result = kill_and_resume(subject, killed, expected, kills)
        print(json.dumps(result), flush=True)
        failed += bool(result["faults"])
    return failed


def main(parser: argparse.ArgumentParser, subjects_of: Callable[[argparse.Namespace, Path], Iterable[Subject]]) -> int:
    """Check the subjects for the parsed arguments and a scratch folder; return the exit code, 1 if there are faults."""
    parser.add_argument("--points", type=int, default=20, help="number of points at which each subject is killed")
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice of points")
    args = parser.parse_args()
    choose = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        faults = [check(subject, Path(name), args.points, choose) for subject in subjects_of(args, Path(name))]
    print(json.dumps({"points": args.points * len(faults), "faults": sum(faults)}))
    return 1 if any(faults) else 0


def unzip(path: Path) -> dict[str, bytes]:
    """Return the members of an archive. Raises BadZipFile if a checksum is wrong."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def weights_digest(path: Path) -> str:
    """Return the SHA-256 of all arrays of a .keras or .h5 file, by name. Raises an error if the file is damaged."""
    content = unzip(path)["model.weights.h5"] if path.suffix == ".keras" else path.read_bytes()
    digest, arrays = hashlib.sha256(), {}
    with h5py.File(io.BytesIO(content)) as file:
        top = file.get("model_weights", file)
        top.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    for name in sorted(arrays):
        digest.update(name.encode() + arrays[name].tobytes())
    return digest.hexdigest()
