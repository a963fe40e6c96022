"""Runs a function over many tasks in processes of their own, so that a crash or a hang costs one task alone.

The engine is concurrent.futures. Each worker is an executor of one process: a pool of several breaks as a whole when
one process dies, and does not tell whose task it was.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import psutil

STARTS = 3  # a worker that dies this often before its first task will not start at all
TRIES = 2  # a worker may be lost to no fault of its task, for example to the system's want of memory
UNYIELDED = 1024  # results that may wait for an earlier one; they are small


@dataclass(frozen=True)
class Lost:
    """A task without a result, since its process died or had to be ended."""

    reason: str


def run_isolated(
    function: Callable,
    tasks: Iterable[tuple],
    *,
    workers: int,
    seconds_allowed: float,
    initializer: Callable = int,
    arguments: tuple = (),
) -> Iterator[object]:
    """Yields `function(*task)` for each task in the order given, or `Lost`; exceptions of the function are raised here.

    `initializer(*arguments)` runs first in each of the `workers` processes, which live until the generator is closed or
    this process dies. A task whose process dies is tried once more, but not one that takes longer than
    `seconds_allowed`.
    """
    run = _Run(function, tasks, seconds_allowed, (initializer, arguments))
    try:
        run.start(workers)
        following = 0
        while True:
            run.assign()
            while following in run.finished:
                yield run.finished.pop(following)
                following += 1
            if not run.running:
                return
            run.collect()
    finally:
        run.close()


class _Worker:
    """One process, and the task it has."""

    def __init__(self, preparation: tuple):
        self.executor = ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),  # threads of the caller cannot harm it, nor hold its files
            initializer=_prepare_process,
            initargs=preparation,
        )
        with _blocked_interrupt():
            self.started = self.executor.submit(os.getpid)
        self.future: Future | None = None
        self.index = -1
        self.deadline = float("inf")
        self.expired = False

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, BrokenProcessPool):
            os.kill(self.started.result(), signal.SIGKILL)

    def close(self) -> None:
        if self.future is not None:
            self.kill()
        self.executor.shutdown(wait=True, cancel_futures=True)


class _Run:
    """What is running, what waits, what is finished; tasks go by their place in the order given."""

    def __init__(self, function: Callable, tasks: Iterable[tuple], seconds_allowed: float, preparation: tuple):
        self.function, self.seconds_allowed, self.preparation = function, seconds_allowed, preparation
        self.waiting = enumerate(tasks)
        self.workers: list[_Worker] = []
        self.running: dict[int, tuple] = {}
        self.losses: dict[int, int] = {}
        self.finished: dict[int, object] = {}

    def start(self, workers: int) -> None:
        self.workers += [_Worker(self.preparation) for _ in range(workers)]  # they start side by side
        for slot in range(workers):
            self._await_start(slot)

    def assign(self) -> None:
        """Gives each idle worker the next task, as long as not too many results wait for an earlier one."""
        for slot, worker in enumerate(self.workers):
            if worker.future is None and len(self.running) + len(self.finished) < UNYIELDED:
                index, task = next(self.waiting, (None, None))
                if index is None:
                    return
                self._submit(slot, index, task)

    def collect(self) -> None:
        """Waits until a task ends or its time is over, and takes in what ended."""
        busy = [worker for worker in self.workers if worker.future is not None]
        patience = min(worker.deadline for worker in busy) - time.monotonic()
        wait([worker.future for worker in busy], min(max(patience, 0), threading.TIMEOUT_MAX), FIRST_COMPLETED)
        for slot, worker in enumerate(self.workers):
            if worker.future is None:
                continue
            if worker.future.done():
                self._take(slot)
            elif time.monotonic() >= worker.deadline:
                worker.expired, worker.deadline = True, float("inf")
                worker.kill()  # its future then ends as one of a broken pool

    def close(self) -> None:
        for worker in self.workers:
            worker.close()

    def _submit(self, slot: int, index: int, task: tuple) -> None:
        worker = self.workers[slot]
        try:
            worker.future = worker.executor.submit(self.function, *task)
        except BrokenProcessPool:  # it died between two tasks
            worker = self._replace(slot)
            worker.future = worker.executor.submit(self.function, *task)
        worker.index, worker.deadline = index, time.monotonic() + self.seconds_allowed
        worker.expired = False
        self.running[index] = task

    def _take(self, slot: int) -> None:
        worker = self.workers[slot]
        index, task = worker.index, self.running[worker.index]
        try:
            self.finished[index] = worker.future.result()
            worker.future = None
        except BrokenProcessPool:
            self._replace(slot)
            self.losses[index] = self.losses.get(index, 0) + 1
            if worker.expired:
                self.finished[index] = Lost(f"took longer than {self.seconds_allowed:g} s")
            elif self.losses[index] < TRIES:
                self._submit(slot, index, task)
                return
            else:
                self.finished[index] = Lost(f"crashed its process {TRIES} times")
        del self.running[index]

    def _replace(self, slot: int) -> _Worker:
        self.workers[slot].close()
        self.workers[slot] = _Worker(self.preparation)
        self._await_start(slot)
        return self.workers[slot]

    def _await_start(self, slot: int) -> None:
        for _ in range(STARTS):
            try:
                self.workers[slot].started.result()
                return
            except BrokenProcessPool:
                self.workers[slot].close()
                self.workers[slot] = _Worker(self.preparation)
        raise RuntimeError("a worker process does not start; the lines above say why")


def memory_of_tree(process: int | None = None) -> float:
    """Memory of a process (default: this one) and all below it in MB.

    Of pages that several processes share each counts its part (PSS, on Linux); elsewhere what is a process's own (USS).
    """
    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(process)
        for member in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                memory = member.memory_full_info()
                total += getattr(memory, "pss", 0) or memory.uss
    return total / 1e6


@contextlib.contextmanager
def _blocked_interrupt() -> Iterator[None]:
    """A process started in the block never hears Ctrl-C: ending it is for this process, which tells the user."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare_process(initializer: Callable, arguments: tuple) -> None:
    threading.Thread(target=_die_with_parent, daemon=True).start()
    initializer(*arguments)


def _die_with_parent() -> None:
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGKILL)
