"""Latency and memory of exported files, each in a process of its own: python -m utils.export.measuring FILE THREADS.

Such a process imports only what runs the file.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.base.machine import peak_memory
from utils.networks.formats.opening import open_runtime
from utils.networks.model_file import load_checked

PROJECT = Path(__file__).parents[2]
SECONDS_ALLOWED = 600
WARM_UP, FEWEST, MOST = 2, 5, 50  # calls
SECONDS = 3.0  # of the calls that are timed, if there are at least FEWEST


@dataclass(frozen=True)
class Measurement:
    """Median milliseconds per clip at batch 1, on one thread and on `threads`, and peak memory in MB on `threads`."""

    threads: int
    milliseconds_one_thread: float
    milliseconds: float
    peak_megabytes: float


def measured(path: Path, threads: int, precision: str = "float32") -> Measurement | None:
    """Measure a Keras or exported model in fresh processes; None if it cannot be run in one."""
    runs = [measured_run(path, count, precision) for count in dict.fromkeys((1, threads))]
    if None in runs:
        return None
    return Measurement(threads, runs[0]["milliseconds"], runs[-1]["milliseconds"], runs[-1]["megabytes"])


def measured_run(path: Path, threads: int, precision: str) -> dict | None:
    """Return what this module prints if it is run; None if it fails or does not end."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(PROJECT)}
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        environment[name] = str(threads)
    command = [sys.executable, "-P", "-m", __name__, str(path), str(threads), precision]  # -P: not from this folder
    try:
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=SECONDS_ALLOWED, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    return json.loads(result.stdout.splitlines()[-1]) if result.returncode == 0 else None


def measure(path: Path, threads: int, precision: str) -> dict[str, float]:
    """Return `milliseconds`, the median time of a call with one clip, and `megabytes`, the memory that was needed."""
    if path.suffix in (".keras", ".h5"):
        model = load_checked(path)
        model.jit_compile = False
        run, input_shape = model.predict_on_batch, model.input_shape[1:]
    else:
        run = open_runtime(path, threads=threads, precision=precision)
        input_shape = run.input_shape
    clip = np.random.default_rng(0).integers(0, 256, (1, *input_shape)).astype(np.float32)
    for _ in range(WARM_UP):
        run(clip)
    times = []
    while len(times) < FEWEST or (len(times) < MOST and sum(times) < SECONDS):
        start = time.perf_counter()
        run(clip)
        times.append(time.perf_counter() - start)
    return {"milliseconds": 1000 * float(np.median(times)), "megabytes": peak_memory()}


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
