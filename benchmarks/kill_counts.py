"""Repeat the kills of killing.py up to a number in total, in as many parts as you like, and count them.

The folder --output_path keeps the undisturbed runs, the killed runs and kills.json: for each subject the events of the
undisturbed run, the planted faults (unsafe saves) and the kills by which they were caught, the kills by phase, the
number of finished runs that were compared, and faults. Repeating the command continues there. Ctrl-C loses the kill
that is being made. Planted faults come first: if one is not caught, nothing else is killed. Prints a JSON line per run.
The exit code is 1 if there are faults or a planted fault is not caught.
"""

import argparse
import contextlib
import json
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.killing import LEFT, ROOT, TIME, Subject, attempt, kill_and_resume, shown
from utils.base import cli
from utils.base.argument_types import non_negative_int, output_folder, positive_float, positive_int
from utils.base.errors import UserError
from utils.base.files import digest, exclusive_lock, read_json, write_json

RECORD, LOCK = "kills.json", "kills.lock"
UNSAFE_KILLS = 20  # at most; the first one that is caught ends the check
MOST_FAULTS = 20  # after which a subject is killed no more


class TimeIsOver(Exception):
    """The time budget of a call is used up."""


def run(parser: cli.ArgumentParser, subjects_of: Callable[[argparse.Namespace], Iterable[Subject]]) -> None:
    """Add the common arguments to a parser, and kill the subjects for the parsed arguments; exit with the code."""
    parser.add_argument("--output_path", type=output_folder, required=True, help="folder that keeps the counts")
    parser.add_argument("--kills", type=positive_int, default=60, help="number of kills in total, of all calls")
    parser.add_argument("--max_minutes", type=positive_float, help="time budget per call; checked between runs")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="seed of the choice of kills")

    def main() -> None:
        args = parser.parse_args()
        args.output_path = args.output_path.resolve()
        with exclusive_lock(args.output_path / LOCK, what=f"--output_path {args.output_path}"):
            sys.exit(kill_all(args, subjects_of))

    cli.run(main)


def kill_all(args: argparse.Namespace, subjects_of: Callable[[argparse.Namespace], Iterable[Subject]]) -> int:
    """Kill the subjects until the kills or minutes of the arguments are reached; return the exit code."""
    minutes = vars(args).get("minutes")  # of kill_reproduce.py
    limit = args.max_minutes or minutes
    deadline = time.monotonic() + 60 * limit if limit else float("inf")
    record = open_record(args)
    subjects = list(subjects_of(args))
    with contextlib.suppress(TimeIsOver):
        for number, subject in enumerate(subjects):
            share = args.kills // len(subjects) + (number < args.kills % len(subjects))
            kill_subject(subject, args, record, sys.maxsize if minutes else share, deadline)
    counts = record["subjects"].values()
    faults = sum(len(count["faults"]) for count in counts)
    missed = sum(caught is None for count in counts for caught in count["planted"].values())
    kills, finished = sum(map(kills_of, counts)), sum(count["finished"] for count in counts)
    total = {"kills": kills, "finished": finished, "faults": faults, "planted faults not caught": missed}
    print(json.dumps(total), flush=True)
    return 1 if faults or missed else 0


def open_record(args: argparse.Namespace) -> dict:
    """Return the content of kills.json in the folder --output_path; write it if the folder is empty.

    Raises UserError if its kills are those of other code or other videos, or if the folder holds other files.
    """
    path, videos = args.output_path / RECORD, vars(args).get("input_path")
    made_with = {"code": code_version(), "videos": str(Path(videos).resolve()) if videos else None}
    if not path.exists():
        found = [other.name for other in args.output_path.iterdir() if other.name != LOCK]
        if found:
            raise UserError(f"--output_path: {args.output_path} must be empty or hold {RECORD}, found {min(found)}")
        write_json(path, {**made_with, "subjects": {}})
    record = read_json(path)
    for name, value in made_with.items():
        if record.get(name) != value:
            problem = f"holds kills with {name} {record.get(name)}, now {value}; delete it or name another folder"
            raise UserError(f"--output_path: {args.output_path} {problem}")
    return record


def code_version() -> str:
    """Return the first twelve digits of a digest of the project's code, without its tests and other benchmarks."""
    paths = [*ROOT.glob("*.py"), *ROOT.glob("benchmarks/kill*.py"), *ROOT.glob("models/**/*.py")]
    paths = sorted([*paths, *ROOT.glob("utils/**/*.py")])
    return digest(b"".join(str(path.relative_to(ROOT)).encode() + path.read_bytes() for path in paths))[:12]


def kills_of(count: dict) -> int:
    """Return the number of kills of a subject, including those of runs that have not finished yet."""
    return sum(count["kills"].values()) + len(count["pending"])


def kill_subject(subject: Subject, args: argparse.Namespace, record: dict, kills: int, deadline: float) -> None:
    """Kill a subject until it has `kills` kills in the record, which is saved after each run."""
    folder = args.output_path
    undisturbed, killed = folder / f"undisturbed_{subject.name}", folder / f"killed_{subject.name}"
    new = {"events": None, "planted": {}, "kills": {}, "pending": [], "finished": 0, "faults": []}
    count = record["subjects"].setdefault(subject.name, new)

    def save(**printed) -> None:
        write_json(folder / RECORD, record)
        print(json.dumps({"subject": subject.name, **printed, "kills": kills_of(count)}), flush=True)

    if count["events"] is None:
        require_time(deadline)
        shutil.rmtree(undisturbed, ignore_errors=True)
        count["events"] = subject.run(undisturbed)
        save(events=count["events"])
    expected = subject.outcome(undisturbed)
    for unsafe, phase in subject.unsafe.items():
        if count["planted"].get(unsafe) is None:
            numbers = range(1, count["events"][phase] + 1)
            chosen = random.Random(args.seed).sample(numbers, min(UNSAFE_KILLS, len(numbers)))
            chosen = [(phase, number) for number in chosen]
            count["planted"][unsafe] = catch(subject, killed, expected, unsafe, chosen, deadline)
            save(planted=unsafe, caught=count["planted"][unsafe])
    if None in count["planted"].values():
        return
    while (kills_of(count) < kills or count["pending"]) and len(count["faults"]) < MOST_FAULTS:
        require_time(deadline)
        save(**kill_once(subject, args.seed, killed, expected, count, kills))


def require_time(deadline: float) -> None:
    """Raise TimeIsOver if the deadline has passed."""
    if time.monotonic() >= deadline:
        raise TimeIsOver


def catch(subject: Subject, folder: Path, expected: dict, unsafe: str, kills: list, deadline: float) -> str | None:
    """Return the first of `kills` after which an unsafe save shows as a fault, with the fault; None without one."""
    for kill in kills:  # some of them do no harm
        require_time(deadline)
        result = kill_and_resume(subject, folder, expected, [kill], unsafe)
        faults = [fault for fault in result["faults"] if not fault.endswith(LEFT)]
        if result["killed"] and faults:
            return f"{shown(kill)}: {faults[0]}"
    return None


def kill_once(subject: Subject, seed: int, folder: Path, expected: dict, count: dict, kills: int) -> dict:
    """Run a subject in `folder` with a random kill, or without one once its kills suffice; update and return counts.

    The kills since the last finished run are "pending". They count by phase after a finished run, which is compared.
    """
    pending, kill = count["pending"], None
    if not pending:
        shutil.rmtree(folder, ignore_errors=True)
    if kills_of(count) < kills and len(pending) < subject.kills:
        phase = subject.phases[kills_of(count) % len(subject.phases)]
        choose = random.Random(f"{seed} {subject.name} {kills_of(count)} {count['finished']}")
        events = count["events"][phase]
        kill = (phase, choose.uniform(0, events) if phase == TIME else choose.randint(1, events))
    is_killed, faults = attempt(subject, folder, expected, kill)
    if is_killed:
        pending.append(shown(kill))
    elif kill and not pending and kill[0] != TIME and not faults:
        faults.append(f"{shown(kill)} was not reached")
    result = {"killed": shown(kill) if is_killed else None, "faults": faults}
    if faults:
        count["faults"].append({"killed": list(pending), "faults": faults})
    if faults or not is_killed:
        count["kills"] = dict(Counter(count["kills"]) + Counter(text.rpartition(" ")[0] for text in pending))
        count["pending"] = []
        count["finished"] += not is_killed
    return result
