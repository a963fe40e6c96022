"""Latency and memory of exported files, each in a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
SECONDS_ALLOWED = 600


@dataclass(frozen=True)
class Measurement:
    """Median milliseconds per clip at batch 1, on one thread and on `threads`, and peak memory in MB on `threads`."""

    threads: int
    milliseconds_one_thread: float
    milliseconds: float
    peak_megabytes: float


def measured(path: Path, threads: int) -> Measurement | None:
    """Measure a Keras or exported model in fresh processes; None if it cannot be run in one."""
    runs = [measured_run(path, count) for count in dict.fromkeys((1, threads))]
    if None in runs:
        return None
    return Measurement(threads, runs[0]["milliseconds"], runs[-1]["milliseconds"], runs[-1]["megabytes"])


def measured_run(path: Path, threads: int) -> dict | None:
    """Return what utils/export/measured_run.py prints; None if it fails or does not end."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", "utils.export.measured_run", str(path), str(threads)]
    try:
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=SECONDS_ALLOWED, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    return json.loads(result.stdout.splitlines()[-1]) if result.returncode == 0 else None
