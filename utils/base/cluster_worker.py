"""What runs on the workers of a Dask cluster: child processes that run tasks, as `isolation` does on one machine.

A task that crashes its process or hangs does not harm the Dask worker, nor the other tasks that it runs. The child
processes end with the run, with their worker, or after a minute without tasks.
"""

import contextlib
import functools
import importlib.metadata
import multiprocessing
import platform
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from utils.base import dask_connection
from utils.base.code_digest import code_digest
from utils.base.errors import first_line
from utils.base.isolation import Isolated

SECONDS_IDLE = 60.0  # after which a child process ends, e.g. because the main process of its run was killed
DISTRIBUTIONS = {"cv2": "opencv-python-headless"}  # by name of the module, where it differs
CODE = "the code with the digest"  # in what `describe` returns


@dataclass(frozen=True)
class Job:
    """What the child processes of a run do.

    function, initializer, arguments, seconds_allowed: as for `run_isolated`. shared: one child process per worker runs
    the tasks of all its threads, instead of one per thread. name: identifies the run on all workers.
    """

    function: Callable
    initializer: Callable
    arguments: tuple
    seconds_allowed: float = float("inf")
    shared: bool = False
    name: str = field(default_factory=lambda: uuid.uuid4().hex)


def perform(job: Job, tasks: Sequence[tuple]) -> list:
    """Run tasks one after the other in a child process; return what `run_isolated` yields, after one attempt each.

    Exceptions of the function are raised.
    """
    with _shared if job.shared else contextlib.nullcontext():
        child = _child_of(job)
        try:
            results = list(child.run(tasks))
        except BaseException:
            child.close()
            raise
        _free.append((job.name, child))
    _close_unused()
    return results


def end(name: str) -> None:
    """End the child processes of a run; its tasks that are running raise an exception."""
    _ended.add(name)
    _close_unused()


@functools.cache
def digest_when_loaded(modules: tuple[str, ...]) -> str:
    """Return a digest of the project's code when this worker first used it; it does not load later changes."""
    return code_digest(__name__, *modules)[:12]


def describe(modules: tuple[str, ...], packages: tuple[str, ...], paths: tuple[str, ...]) -> dict[str, str | None]:
    """Return what must be equal on all machines of a run: Python, code, versions of packages, and which paths exist."""
    found: dict[str, str | None] = {"Python": ".".join(platform.python_version_tuple()[:2])}
    found[CODE] = digest_when_loaded(modules)
    for name in packages:
        versions = list(importlib.metadata.distributions(name=DISTRIBUTIONS.get(name, name)))
        found[name] = versions[0].version if versions else None
    return found | {f"the path {path}": "of this machine" if Path(path).exists() else None for path in paths}


def problem(expected: dict[str, str | None], found: dict[str, str | None] | Exception) -> str:
    """Say what is wrong with a worker that does not answer `describe` with `expected`."""
    project = dask_connection.PROJECT
    if isinstance(found, Exception):
        needs = f"needs this project in {project} or in its PYTHONPATH, and the packages of its requirements"
        return f"failed: {first_line(found)}; it {needs}"
    name = next(name for name in expected if found.get(name) != expected[name])
    advice = f"; restart it after an update of {project}" if name == CODE else ""
    return f"must have {name} {expected[name] or 'none'}, found {found.get(name) or 'none'}{advice}"


_free: list[tuple[str, Isolated]] = []  # child processes without tasks, with the names of their jobs
_ended: set[str] = set()  # names of jobs
_lock, _shared = threading.Lock(), threading.Lock()


def _child_of(job: Job) -> Isolated:
    """Take a free child process, or start one."""
    _close_unused()
    with _lock:
        for name, child in _free:
            if name == job.name:
                _free.remove((name, child))
                return child

    def require_open() -> None:
        if job.name in _ended:
            raise RuntimeError("the run has ended")

    # Dask's workers are daemon processes, for which multiprocessing forbids children, because these could outlive them.
    # The children of `isolation` end with their parent.
    multiprocessing.current_process().daemon = False
    preparation = (job.initializer, job.arguments)
    # The process that runs the command decides which tasks are tried again.
    child = Isolated(job.function, job.seconds_allowed, preparation, require_open, tries=1, idle_seconds=SECONDS_IDLE)
    try:
        child.start(1)
    except BaseException:
        child.close()
        raise
    return child


def _close_unused() -> None:
    """Close the child processes of runs that have ended, and those that have ended for lack of tasks."""
    with _lock:
        unused = [(name, child) for name, child in _free if name in _ended or not child.are_alive()]
        for pair in unused:
            _free.remove(pair)
    for _, child in unused:
        child.close()
