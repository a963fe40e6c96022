"""Parts that several benchmarks share: clips of noise, rounds, processes and their memory, outputs of reproduce.py."""

import contextlib
import csv
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from utils.base.devices import memory_of_tree
from utils.base.errors import UserError
from utils.base.files import read_json

ROOT = Path(__file__).resolve().parents[1]


def write_noise_clips(folder: Path, *, classes: int, clips: int, size: tuple[int, int], groups: int = 5) -> None:
    """Write the arrays of clips of 16 frames: `clips` per class, noise with a colour per class, names as in UCF101."""
    rng = np.random.default_rng(0)
    numbers = sorted((1 + clip % groups, 1 + clip // groups) for clip in range(clips))
    frames = rng.integers(0, 160, (classes * clips, 16, *size, 3), np.uint8)
    for label in range(classes):
        frames[label * clips : (label + 1) * clips, ..., label] += 95
    names = [f"C{label}/v_C{label}_g{group:02}_c{clip:02}.avi" for label in range(classes) for group, clip in numbers]
    folder.mkdir(exist_ok=True)
    np.save(folder / "frames.npy", frames)
    np.save(folder / "labels.npy", np.repeat(np.arange(classes), clips))
    np.save(folder / "video_file_paths.npy", np.array(names))


def in_turn(ways: Mapping[str, Callable], rounds: int) -> dict[str, list]:
    """Call each of `ways` once per round, so that other work on the machine slows all of them; return their results."""
    results = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            results[name].append(run())
    return results


def printed_json(*command) -> dict:
    """Run a Python script and return the JSON in its last printed line. Exits with its errors if it fails."""
    result = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])


def run_logged(log: Path, *commands: Iterable) -> None:
    """Run Python scripts of the project with their output in the file `log`. Raises UserError if one fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as output:
        for script, *arguments in commands:
            command = [sys.executable, str(ROOT / script), *map(str, arguments)]
            if subprocess.run(command, stdout=output, stderr=output, check=False).returncode:
                raise UserError(f"{script} failed; its output is in {log}")


def read_experiment(folder: Path) -> tuple[dict, Path, Path, list[dict]]:
    """Return settings, paths of frames.npy and labels.npy, and rows of results.csv of an output of reproduce.py."""
    settings = read_json(folder / "settings.json")
    data = Path(settings["data"] or folder / "frames" / "frames.npy")
    with open(folder / "results.csv", newline="", encoding="utf-8") as file:
        return settings, data, Path(settings["annotations"] or data.with_name("labels.npy")), list(csv.DictReader(file))


@contextlib.contextmanager
def sampled_memory(process: int | None = None) -> Iterator[list[float]]:
    """Yield a list to which the memory of a process (default: this one) and its children is added, in MB."""
    samples, end = [0.0], threading.Event()

    def sample() -> None:
        while not end.wait(0.2):
            samples.append(memory_of_tree(process))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        end.set()
        thread.join()
