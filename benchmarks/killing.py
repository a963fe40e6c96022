"""Kill a script at chosen points, resume it, and compare the results with those of an undisturbed run.

kills.py describes what is killed as a `Subject`. Every run is a separate process, forked from one that has only
imported TensorFlow and other slow packages, and executes the script as a user would. To show that the comparison can
fail, each subject also has unsafe ways to save, which must be detected.
"""

import contextlib
import hashlib
import io
import json
import math
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
from collections.abc import Callable, Mapping, Sequence
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
HALF, BEFORE, AFTER = "half written", "before the rename", "after the rename"  # phases of saves
TIME = "time"  # the phase of kills after a number of seconds
LEFT = " is left"  # ends faults that do not show an unsafe save
SECONDS_PER_RUN = 900
UNSAFE_KILLS = 20  # at most; the first one that is detected ends the check
MOST_FAULTS = 20  # after which a subject is killed no more

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

    def saves(self, save: Callable) -> Callable:
        """Return `save`, which is `written_beside` or a stand-in, with three events: HALF, BEFORE and AFTER."""

        @contextlib.contextmanager
        def counted(path):
            path = Path(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            with save(path) as temporary:
                yield temporary
                if self.is_next(HALF):
                    os.truncate(temporary, temporary.stat().st_size // 2)
                self.count(HALF)
                self.count(BEFORE)
            self.count(AFTER)

        return counted


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
    kills: int = 4  # number of kills, at most, before a run may finish

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
            try:
                process.join(kill[1] if is_timed else SECONDS_PER_RUN)
                is_late = process.exitcode is None
            finally:  # also after Ctrl-C
                survivors = kill_with_workers(process)
            if survivors:
                raise RuntimeError(f"{len(survivors)} workers survive the kill")
            if is_late and not is_timed:
                raise RuntimeError(f"{output.read_text()}\n{self.script} runs for more than {SECONDS_PER_RUN} s")
            if process.exitcode == -signal.SIGKILL and kill is not None:
                return None
            if process.exitcode:
                raise RuntimeError(output.read_text() or f"{self.script} ended with exit code {process.exitcode}")
            return json.loads(counts.read_text())


def kill_with_workers(process: multiprocessing.Process) -> list[psutil.Process]:
    """Kill a process unless it has ended; return those of its workers that are alive after ten seconds."""
    if process.exitcode is not None:
        return []
    workers = []
    with contextlib.suppress(psutil.NoSuchProcess):
        workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.join()
    return psutil.wait_procs(workers, timeout=10)[1]


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


def attempt(subject: Subject, folder: Path, expected: dict, kill: Kill | None, unsafe: str | None = None) -> tuple:
    """Run a subject once in `folder`, which may hold what killed runs left.

    Returns whether the run was killed, and a list of faults: what is incomplete after the kill or, if the run finished,
    what differs from the `expected` outcome or is left.
    """
    is_killed, faults = False, []
    try:
        is_killed = subject.run(folder, kill=kill, unsafe=unsafe) is None
        if is_killed:
            fault = subject.fault_of(folder, expected)
            faults += [fault] if fault else []
        else:
            found = subject.outcome(folder)
            faults += [f"{name} differs" for name in expected | found if found.get(name) != expected.get(name)]
            faults += [f"{path.name}{LEFT}" for pattern in subject.leftovers for path in folder.rglob(pattern)]
    except Exception as error:  # a reader may raise anything on a damaged file
        faults.append((str(error).strip().splitlines() or [repr(error)])[-1])
    return is_killed, faults


def kill_and_resume(subject: Subject, folder: Path, expected: dict, kills: Sequence[Kill], unsafe=None) -> dict:
    """Run a subject in the emptied `folder` with each of `kills` until a run finishes.

    Returns the kills that happened, and the faults of all runs; see `attempt`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    done, faults = [], []
    for kill in (*kills, None):
        is_killed, found = attempt(subject, folder, expected, kill, unsafe)
        faults += found
        if not is_killed:
            break
        done.append(f"{kill[0]} {kill[1]:.5g}")
    if not done and kills[0][0] != TIME:
        faults.append(f"{kills[0][0]} was not reached")
    return {"subject": subject.name, "killed": done, "faults": faults}


def kill_repeatedly(subject: Subject, folder: Path, *, kills: int, seed: int = 0, deadline: float = math.inf) -> dict:
    """Kill a subject `kills` times at random points, unless the time `deadline` comes first; print each result.

    Runs its undisturbed run and its unsafe saves first: if one of them is not detected, nothing else is killed. Returns
    the names of these ("missed"), the kills by phase, the number of finished runs that were compared, and the faults.
    """
    choose, killed = random.Random(f"{seed} {subject.name}"), folder / f"killed_{subject.name}"
    undisturbed = folder / f"undisturbed_{subject.name}"
    events, counts = subject.run(undisturbed), Counter()
    expected = subject.outcome(undisturbed)
    found = {"subject": subject.name, "missed": [], "kills": counts, "finished": 0, "faults": []}

    def is_detected(unsafe: str, kill: Kill) -> bool:
        result = kill_and_resume(subject, killed, expected, [kill], unsafe)
        return bool(result["killed"]) and any(not fault.endswith(LEFT) for fault in result["faults"])

    for unsafe, phase in subject.unsafe.items():
        numbers = choose.sample(range(1, events[phase] + 1), min(UNSAFE_KILLS, events[phase]))
        if not any(is_detected(unsafe, (phase, number)) for number in numbers):  # some of the kills do no harm
            found["missed"].append(unsafe)
    while counts.total() < kills and not found["missed"]:
        if len(found["faults"]) >= MOST_FAULTS or time.monotonic() >= deadline:
            break
        chosen = []
        for number in range(counts.total(), min(kills, counts.total() + subject.kills)):
            phase = subject.phases[number % len(subject.phases)]
            limit = events[phase]
            chosen.append((phase, choose.uniform(0, limit) if phase == TIME else choose.randint(1, limit)))
        result = kill_and_resume(subject, killed, expected, chosen)
        counts.update(text.rpartition(" ")[0] for text in result["killed"])
        found["finished"] += 1
        found["faults"] += result["faults"]
        print(json.dumps(result), flush=True)
    return found


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
