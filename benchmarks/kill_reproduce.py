"""Kills reproduce.py at many moments, runs it again until it ends, and compares results and weights with an
undisturbed run's.

    python benchmarks/kill_reproduce.py --points 20

Half of the moments are random times of the whole run (rendering, extraction, training, test, report); the other half
lie in its saves, which time alone would seldom hit: half of a file is written, or all of it but the rename is still to
come, or has just been done. At each point the experiment is killed three times on its way. It must then end with the
results.json of the undisturbed run, times apart, and with equal weights in every cell. A careless save, straight to the
final names, is killed first: the benchmark fails if it does not catch that. Prints a JSON line a point.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import h5py

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.kill_extraction import kill_in_time

ROOT = Path(__file__).resolve().parents[1]

MOMENTS = ("half written", "before the rename", "after the rename")
EXPERIMENT = "--classes 2 --subjects 4 --clips 1 --frame_size 32 --input_size 32 --batch_size 2 --seeds 0"
EXPERIMENT += " --teacher_width 0.05 --student_width 0.05 --teacher_epochs 2 --student_epochs 2 --temperatures 1 4"
KILLS = 3  # of one experiment on its way to the end
CARELESS_KILLS = 5


def command(folder: Path) -> list[str]:
    return [sys.executable, str(ROOT / "reproduce.py"), *EXPERIMENT.split(), "--output_path", str(folder)]


def outcome(folder: Path) -> tuple[dict, dict[str, str]]:
    """What must not depend on interruptions: results.json without times and paths, and a digest of each weight."""
    results = json.loads((folder / "results.json").read_text())
    results = {name: value for name, value in results.items() if name not in ("times", "arguments")}
    weights = {}
    for path in sorted(folder.glob("cells/*/*.keras")):
        digest = hashlib.sha256()
        with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            file.visititems(lambda _, item, d=digest: d.update(item[()].tobytes()) if hasattr(item, "dtype") else None)
        weights[path.parent.name] = digest.hexdigest()
    return results, weights


def finish(folder: Path) -> str | None:
    """Runs the experiment to its end; what went wrong, if so."""
    done = subprocess.run(command(folder), capture_output=True, text=True)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no message"])[-1]


def kill_at_save(folder: Path, number: int | None, moment: str = "", *, careless: bool = False) -> int | None:
    """Runs the experiment in a process that kills itself in its save `number`, at one of MOMENTS.

    Returns the number of saves of a run that came to its end, None if it was killed.
    """
    order = json.dumps({"folder": str(folder), "save": number, "moment": moment, "careless": careless})
    done = subprocess.run([sys.executable, __file__, "--victim", order], capture_output=True, text=True)
    if done.returncode == -signal.SIGKILL and number is not None:
        return None
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def victim(order: dict) -> None:
    """Runs reproduce.py with its way of saving changed to one that counts, and dies at the moment that is named."""
    from utils.runtime import files

    careful, saves = files.written_beside, 0

    def die(path: Path | None = None) -> None:
        if path is not None:
            os.truncate(path, path.stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    @contextlib.contextmanager
    def counted(path):
        nonlocal saves
        saves += 1
        is_it = saves == order["save"]
        with (written_straight if order["careless"] else careful)(path) as temporary:
            yield temporary
            if is_it and order["moment"] != MOMENTS[2]:
                die(temporary if order["moment"] == MOMENTS[0] else None)
        if is_it:
            die()

    files.written_beside = counted  # before any other module takes it from there
    sys.argv = command(Path(order["folder"]))[1:]
    runpy.run_path(str(ROOT / "reproduce.py"), run_name="__main__")
    print(json.dumps(saves))


@contextlib.contextmanager
def written_straight(path):
    """A save as it is often written: straight to the final name."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    yield Path(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--victim", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.victim is not None:
        victim(options.victim)
        return 0
    choose = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        start = time.monotonic()
        if fault := finish(base / "undisturbed"):
            raise RuntimeError(fault)
        duration = time.monotonic() - start
        whole = outcome(base / "undisturbed")
        saves = kill_at_save(base / "counted", None)
        repeats = outcome(base / "counted") == whole
        print(json.dumps({"undisturbed_run_repeats": repeats, "seconds": round(duration), "saves": saves}), flush=True)

        caught = 0
        for point in range(1, CARELESS_KILLS + 1):  # over the whole run: what is lost early may be made again
            folder = base / f"careless{point}"
            kill_at_save(folder, point * saves // (CARELESS_KILLS + 1), MOMENTS[0], careless=True)
            fault = finish(folder)
            caught += bool(fault) or outcome(folder) != whole
            shutil.rmtree(folder)
        print(json.dumps({"careless_saves_caught": caught, "of": CARELESS_KILLS}), flush=True)

        faults = int(not repeats) + int(not caught)
        for point in range(options.points):
            folder = base / f"point{point}"
            kills = []
            for _ in range(KILLS):
                if point % 2:
                    number, moment = choose.randint(1, saves), choose.choice(MOMENTS)
                    if kill_at_save(folder, number, moment) is None:
                        kills.append(f"in save {number} of {saves}, {moment}")
                else:
                    moment = choose.uniform(0, duration)
                    if kill_in_time(command(folder), moment)[0]:
                        kills.append(f"after {moment:.1f} of {duration:.1f} s")
            fault = finish(folder)
            equal = fault is None and outcome(folder) == whole
            faults += not equal
            print(json.dumps({"killed": kills, "fault": fault, "equal": equal}), flush=True)
            shutil.rmtree(folder)
    print(json.dumps({"points": options.points, "faults": faults}))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
