"""What runs on the workers of a Dask cluster: child processes that run tasks, as `isolation` does on one machine.

A task that crashes its process or hangs does not harm the Dask worker, nor the other tasks that it runs. The child
processes end with the run, with their worker, or after a minute without tasks.
"""

import contextlib
import functools
import importlib.metadata
import multiprocessing
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from utils.base.code_digest import code_digest
from utils.base.isolation import Isolated

SECONDS_IDLE = 60.0  # after which the child processes of a run end, e.g. because its main process was killed
DISTRIBUTIONS = {"cv2": "opencv-python-headless"}  # by name of the module, where it differs

CODE = "code"  # in what `describe` returns


@dataclass(frozen=True)
class Job:
    """What the child processes of a run do.

    function, initializer, arguments, seconds_allowed: as for `run_isolated`. row_bytes: if not 0, each task has a row
    of this size in a file of its child process: the initializer gets the path of the file before its `arguments`, and
    the function the position of the row after its task. shared: one child process per worker runs the tasks of all its
    threads, instead of one per thread. name: identifies the run on all workers.
    """

    function: Callable
    initializer: Callable
    arguments: tuple
    seconds_allowed: float = float("inf")
    row_bytes: int = 0
    shared: bool = False
    name: str = field(default_factory=lambda: uuid.uuid4().hex)


def perform(job: Job, tasks: Sequence[tuple]) -> tuple[list, np.ndarray | None]:
    """Run tasks one after the other in a child process; return their results, and their rows uint8 (tasks, row_bytes).

    A result is what `run_isolated` yields. Rows are None if the job has none. Exceptions of the function are raised.
    """
    with _use_of(job) as run, run.child() as child:
        if not job.row_bytes:
            return list(child.processes.run(tasks)), None
        results, rows = [], np.zeros((len(tasks), job.row_bytes), np.uint8)
        found = child.processes.run((*task, k * job.row_bytes) for k, task in enumerate(tasks))
        for k, result in enumerate(found):  # reads a row while the child process runs the next task
            os.preadv(child.file, [rows[k]], k * job.row_bytes)
            results.append(result)
        return results, rows


def end(name: str) -> None:
    """End the child processes of a run; its tasks that are running raise an exception."""
    with _lock:
        run = _runs.pop(name, None)
    if run is not None:
        run.close()


@functools.cache
def digest_when_loaded(modules: tuple[str, ...]) -> str:
    """Return the digest of the project's code when this worker first used it; it does not load later changes."""
    return code_digest(__name__, *modules)


def describe(modules: tuple[str, ...], packages: tuple[str, ...], paths: tuple[str, ...]) -> dict[str, str | None]:
    """Return what must be equal on all machines of a run: Python, code, versions of packages, and which paths exist."""
    found: dict[str, str | None] = {"Python": ".".join(platform.python_version_tuple()[:2])}
    found[CODE] = digest_when_loaded(modules)
    for name in packages:
        versions = list(importlib.metadata.distributions(name=DISTRIBUTIONS.get(name, name)))
        found[name] = versions[0].version if versions else None
    return found | {path: "found" if Path(path).exists() else None for path in paths}


class _Child:
    """A child process, and the file for the rows of its results."""

    def __init__(self, job: Job, check: Callable[[], None]):
        self.file, arguments = None, job.arguments
        if job.row_bytes:
            self.file = os.memfd_create("rows")  # a pipe would take longer than decoding
            arguments = (Path(f"/proc/{os.getpid()}/fd/{self.file}"), *arguments)
        self.processes = Isolated(job.function, job.seconds_allowed, (job.initializer, arguments), check)

    def close(self) -> None:
        self.processes.close()
        if self.file is not None:
            os.close(self.file)
            self.file = None


@dataclass
class _Run:
    """The child processes of one run on this worker."""

    job: Job
    users: int = 0  # calls of `perform`; changed under `_lock`, as is `last_used`
    last_used: float = 0.0
    free: list[_Child] = field(default_factory=list)
    running: int = 0
    closed: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)

    @contextlib.contextmanager
    def child(self) -> Iterator[_Child]:
        """Reserve a free child process, or a new one. It ends if the block raises."""
        with self.changed:
            self.changed.wait_for(lambda: self.closed or not self.job.shared or not self.running)
            self._require_open()
            self.running += 1
            child = self.free.pop() if self.free else None
        try:
            if child is None:
                child = _Child(self.job, self._require_open)
                child.processes.start(1)
            yield child
        except BaseException:
            if child is not None:
                child.close()
            raise
        else:
            with self.changed:
                self.free.append(child)
            if self.closed:
                self.close()
        finally:
            with self.changed:
                self.running -= 1
                self.changed.notify_all()

    def close(self) -> None:
        with self.changed:
            self.closed, free, self.free = True, self.free, []
            self.changed.notify_all()
        for child in free:
            child.close()

    def close_when_idle(self) -> None:
        """Wait until the run is closed, or close it after a time without tasks."""
        while not self.closed:
            with _lock:
                idle = 0.0 if self.users else time.monotonic() - self.last_used
                if idle >= SECONDS_IDLE:
                    _runs.pop(self.job.name, None)
                    break
            with self.changed:
                self.changed.wait_for(lambda: self.closed, SECONDS_IDLE - idle)
        self.close()

    def _require_open(self) -> None:
        if self.closed:
            raise RuntimeError("the run has ended")


_runs: dict[str, _Run] = {}  # by name of the job
_lock = threading.Lock()


@contextlib.contextmanager
def _use_of(job: Job) -> Iterator[_Run]:
    """Yield the run of a job, which does not end for lack of tasks meanwhile."""
    # Dask's workers are daemon processes, for which multiprocessing forbids children, because these could outlive
    # them. The children of `isolation` end with their parent.
    multiprocessing.current_process()._config["daemon"] = False
    with _lock:
        run = _runs.get(job.name)
        if run is None:
            run = _runs[job.name] = _Run(job)
            threading.Thread(target=run.close_when_idle, daemon=True).start()
        run.users += 1
    try:
        yield run
    finally:
        with _lock:
            run.users -= 1
            run.last_used = time.monotonic()
