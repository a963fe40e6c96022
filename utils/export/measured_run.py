"""Measure latency and memory of a model in this process: python -m utils.export.measured_run FILE THREADS.

Prints one line of JSON: `milliseconds`, the median time of a call with one clip, and `megabytes`, the largest memory
that the process had. Only what runs the file is imported.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from utils.base.devices import peak_memory
from utils.export.running import open_exported

WARM_UP, FEWEST, MOST = 2, 5, 50  # calls
SECONDS = 3.0  # of the calls that are timed, if there are at least FEWEST


def measure(path: Path, threads: int) -> dict[str, float]:
    """Return `milliseconds` and `megabytes` of a Keras or exported model."""
    run, input_shape, _ = open_exported(path, threads=threads)
    clip = np.random.default_rng(0).integers(0, 256, (1, *input_shape)).astype(np.float32)
    for _ in range(WARM_UP):
        run(clip)
    times = []
    while len(times) < FEWEST or (len(times) < MOST and sum(times) < SECONDS):
        start = time.perf_counter()
        run(clip)
        times.append(time.perf_counter() - start)
    return {"milliseconds": 1000 * float(np.median(times)), "megabytes": peak_memory()}


def main() -> None:
    path, threads = Path(sys.argv[1]), int(sys.argv[2])
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = str(threads)
    print(json.dumps(measure(path, threads)))


if __name__ == "__main__":
    main()
