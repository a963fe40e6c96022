"""Kills an extraction at many moments, runs it again, and compares the bytes with those of an undisturbed run.

    python benchmarks/kill_extraction.py --input_path VIDEOS --points 20

Half of the moments are random times of the whole run, from its first moment on; the other half are random file
operations of the save, which time alone would seldom hit. After each kill the final names must hold whole files or
nothing, no worker may be left, and the same command must end with the bytes of the undisturbed run. A careless save,
straight to the final names, is killed first: the benchmark fails if it does not catch that one. Prints a JSON line a
kill.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.extraction import extract as extraction
from utils.extraction.state import ARRAYS, ExtractionState, header_bytes

ROOT = Path(__file__).resolve().parents[1]

FILE_CALLS = frozenset(
    ("open", "write", "pwrite", "tofile", "close", "fsync", "truncate", "rename", "replace", "unlink", "rmdir", "mkdir")
)
COMPARED = (*ARRAYS, "skipped_videos.csv")


def digests(folder: Path) -> dict[str, str]:
    """The fingerprint of each file that a data set is compared by, as far as it is there."""
    paths = [folder / name for name in COMPARED if (folder / name).exists()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def fault_of(output: Path, whole: dict[str, str]) -> str | None:
    """What is wrong with the arrays under their final names after a kill: each must be absent or whole."""
    for name, digest in digests(output).items():
        if digest != whole[name]:
            return f"{name} is not whole"
    return None


def run_victim(arguments: dict, *, kill: tuple[str, int] | None = None, careless: bool = False) -> dict | None:
    """Runs `extract(**arguments)` in a process that kills itself before call number `kill[1]` of the phase `kill[0]`.

    Phases are "run" and "save"; calls are those of FILE_CALLS. Returns the number of calls of each phase if the run
    came to its end, None if killed.
    """
    order = json.dumps({"arguments": arguments, "kill": kill, "careless": careless})
    done = subprocess.run([sys.executable, __file__, "--victim", order], capture_output=True)
    if done.returncode == -signal.SIGKILL and kill is not None:
        return None
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    return json.loads(done.stdout)


def victim(order: dict) -> None:
    """Counts the calls that touch files, and dies just before the one that is named."""
    calls, phase = {"run": 0, "save": 0}, "run"

    def count(frame, event, argument):
        nonlocal phase
        if event == "call" and frame.f_code.co_name == "_save":
            phase = "save"
        elif event == "c_call" and argument.__name__ in FILE_CALLS and "psutil" not in frame.f_code.co_filename:
            calls[phase] += 1
            if order["kill"] == [phase, calls[phase]]:
                os.kill(os.getpid(), signal.SIGKILL)

    if order["careless"]:
        ExtractionState.publish = careless_publish
    sys.setprofile(count)
    extraction.extract(**order["arguments"])
    sys.setprofile(None)
    print(json.dumps(calls))


def careless_publish(state: ExtractionState, record: dict, write_rest) -> None:
    """A save as it is often written: straight to the final names, one after the other."""
    rows = state.frames_path.read_bytes()[state.header_size : state.offset(state.rows)]
    with open(state.output_path / "frames.npy", "wb", buffering=0) as file:
        file.write(header_bytes(state.rows, state.clip_shape))
        for start in range(0, len(rows), state.row_size):
            file.write(rows[start : start + state.row_size])
    write_rest(state.output_path)
    shutil.rmtree(state.folder)


def kill_in_time(command: list[str], seconds: float) -> tuple[bool, int]:
    """Kills the command after that time; whether it was still running, and the workers it left for good."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
        return False, 0
    except subprocess.TimeoutExpired:
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        return True, len(psutil.wait_procs(children, timeout=10)[1])


def script(arguments: dict) -> list[str]:
    """The command that a user types for these arguments."""
    flags = [text for name, value in arguments.items() for text in (f"--{name}", str(value))]
    return [sys.executable, str(ROOT / "video_to_frames.py"), *flags]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--input_path", type=Path)
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--victim", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.victim is not None:
        victim(options.victim)
        return 0
    choose = random.Random(options.seed)
    faults = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = {"input_path": str(options.input_path), "sequence_length": 16, "frame_height": 112}
        arguments |= {"frame_width": 112, "output_path": str(folder / "undisturbed")}
        start = time.monotonic()
        subprocess.run(script(arguments), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        duration = time.monotonic() - start
        whole = digests(folder / "undisturbed")
        calls = run_victim(arguments | {"output_path": str(folder / "counted")})["save"]

        arguments["output_path"] = str(folder / "careless")
        careless_calls = run_victim(arguments, careless=True)["save"]
        shutil.rmtree(folder / "careless")
        careless = 0
        for _ in range(5):
            run_victim(arguments, kill=("save", choose.randint(1, careless_calls)), careless=True)
            careless += fault_of(folder / "careless", whole) is not None
            shutil.rmtree(folder / "careless")
        print(json.dumps({"careless_saves_caught": careless, "of": 5}), flush=True)
        faults += careless == 0

        for point in range(options.points):
            output = folder / f"point{point}"
            arguments["output_path"] = str(output)
            if point % 2:
                call = choose.randint(1, calls)
                result = {"killed": f"at call {call} of {calls} of the save", "workers_left": 0}
                result["was_running"] = run_victim(arguments, kill=("save", call)) is None
            else:
                moment = choose.uniform(0, duration)
                running, left = kill_in_time(script(arguments), moment)
                result = {
                    "killed": f"after {moment:.2f} of {duration:.2f} s",
                    "workers_left": left,
                    "was_running": running,
                }
            result["fault"] = fault_of(output, whole)
            subprocess.run(script(arguments), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            result["equal"] = digests(output) == whole
            result["left_over"] = sorted(path.name for path in output.glob(".extraction*") if path.is_dir())
            faults += bool(result["fault"] or result["workers_left"] or result["left_over"] or not result["equal"])
            print(json.dumps(result), flush=True)
            shutil.rmtree(output)
    print(json.dumps({"points": options.points, "faults": faults}))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
