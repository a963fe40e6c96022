"""A Dask scheduler and workers on this machine, started as a user starts them, in a folder without the project."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

DASK = [str(Path(sys.executable).with_name("dask"))]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@dataclass
class DaskCluster:
    """Processes of a cluster. `address` is that of the scheduler."""

    folder: Path
    address: str = ""
    scheduler: subprocess.Popen | None = None
    processes: list[subprocess.Popen] = field(default_factory=list)

    def start_scheduler(self, **environment: str) -> None:
        file = self.folder / "scheduler.json"
        command = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", file]
        self.scheduler = self._start(*command, **environment)
        while not self.address:
            assert self.scheduler.poll() is None, (self.folder / "dask.log").read_text()
            with contextlib.suppress(OSError, ValueError):
                self.address = json.loads(file.read_text())["address"]
            time.sleep(0.02)

    def start_workers(self, count: int, *options: str, **environment: str) -> None:
        """Start workers of one thread, each with a command of its own."""
        for _ in range(count):
            self._start("worker", self.address, "--nthreads", "1", "--no-dashboard", *options, **environment)

    def wait_for_workers(self, count: int) -> None:
        """Wait until the scheduler knows `count` workers."""
        from distributed import Client

        with Client(self.address) as client:
            client.wait_for_workers(count)

    def stop(self, number: int) -> None:
        """Kill a process and its children: 0 for the scheduler, then the workers in the order of their start."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.processes[number].pid, signal.SIGKILL)
        self.processes[number].wait()

    def close(self) -> None:
        for number in range(len(self.processes)):
            self.stop(number)

    def _start(self, *command, **environment: str) -> subprocess.Popen:
        with open(self.folder / "dask.log", "a") as log:
            settings = {"cwd": self.folder, "stdout": log, "stderr": log, "env": ENVIRONMENT | environment}
            process = subprocess.Popen([*DASK, *map(str, command)], start_new_session=True, **settings)
        self.processes.append(process)
        return process


@contextlib.contextmanager
def dask_cluster(folder: Path, *, workers: int, options: tuple = ("--no-nanny",), **environment) -> Iterator:
    """Yield a DaskCluster with a scheduler and some workers, which may still be starting."""
    folder.mkdir(exist_ok=True)
    cluster = DaskCluster(folder)
    try:
        cluster.start_scheduler(**environment)
        cluster.start_workers(workers, *options)
        yield cluster
    finally:
        cluster.close()
