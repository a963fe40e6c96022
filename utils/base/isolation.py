"""Run a function over many tasks in worker processes, so that a crash or a hang affects one task only.

Each worker is a concurrent.futures executor with a single process: an executor with several processes breaks as a
whole when one of them dies, and does not report which task was lost.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

STARTS = 3  # attempts to start a worker before the run fails
TRIES = 2  # attempts per task: a worker may also die for other reasons, for example when the system runs out of memory
UNYIELDED = 1024  # limit of tasks started but not yet yielded; results are small
QUEUED = 2  # tasks per worker: the running one and the next, so that a worker never waits for this process
CHECK_INTERVAL = 0.2  # seconds between two calls of `check`
STANDSTILL = 1.0  # seconds; a wait that overruns by more means that the whole process was suspended


@dataclass(frozen=True)
class Lost:
    """The result of a task whose process died or was killed."""

    reason: str


def run_isolated(
    function: Callable,
    tasks: Iterable[tuple],
    *,
    workers: int,
    seconds_allowed: float,
    initializer: Callable = int,
    arguments: tuple = (),
    check: Callable[[], None] = lambda: None,
) -> Iterator[object]:
    """Yield `function(*task)` or `Lost` for each task, in the order of `tasks`.

    Each of the `workers` processes first calls `initializer(*arguments)`. It ends when the generator is closed or this
    process dies. A task is lost if its process dies twice, or if it takes longer than `seconds_allowed`. Exceptions of
    the function are raised here and end the workers.

    While it waits, the generator calls `check` several times per second. Exceptions of `check` end the workers too.
    Ctrl-C must arrive this way (see interruption.between_steps): an exception raised by a signal handler just after a
    task was submitted would leave its worker running.

    Raises RuntimeError if a worker process does not start.
    """
    with contextlib.closing(Isolated(function, seconds_allowed, (initializer, arguments), check)) as processes:
        processes.start(workers)
        yield from processes.run(tasks)


class _Worker:
    """A process and its queue of (index, task, future). It runs the first task; the others wait in its pipe."""

    def __init__(self, preparation: tuple):
        self.executor = ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),  # a fork would inherit the caller's locks and open files
            initializer=_prepare_process,
            initargs=preparation,
        )
        # The process inherits the blocked SIGINT: on Ctrl-C only this process reacts, and ends its workers.
        signals = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.started = self.executor.submit(os.getpid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        self.queue: deque[tuple[int, tuple, Future]] = deque()
        self.deadline = float("inf")  # of the first task
        self.expired: int | None = None  # index of the task that exceeded its time

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, BrokenProcessPool):
            os.kill(self.started.result(), signal.SIGKILL)

    def close(self) -> None:
        if self.queue:
            self.kill()
        self.executor.shutdown(wait=True, cancel_futures=True)


@dataclass
class Isolated:
    """The processes of `run_isolated`; they can run several iterables of tasks, one after the other."""

    function: Callable
    seconds_allowed: float
    preparation: tuple  # initializer and its arguments
    check: Callable[[], None]
    waiting: Iterator[tuple[int, tuple]] = field(default_factory=lambda: iter(()))  # (index, task)
    workers: list[_Worker] = field(default_factory=list)
    losses: Counter[int] = field(default_factory=Counter)  # by index
    finished: dict[int, object] = field(default_factory=dict)  # results by index, not yet yielded

    @property
    def running(self) -> int:
        """The number of tasks in the workers' queues."""
        return sum(len(worker.queue) for worker in self.workers)

    def start(self, workers: int) -> None:
        self.workers += [_Worker(self.preparation) for _ in range(workers)]  # they start in parallel
        for slot in range(workers):
            self._await_start(slot)

    def run(self, tasks: Iterable[tuple]) -> Iterator[object]:
        """Yield `function(*task)` or `Lost` for each task, in order. The previous call must have been exhausted."""
        self.waiting, next_index = enumerate(tasks), 0
        self.losses.clear()
        while True:
            while next_index in self.finished:
                yield self.finished.pop(next_index)
                next_index += 1
            self._assign()  # after the results have made room
            if not self.running:
                return
            self._collect()

    def _assign(self) -> None:
        """Fill the workers' queues, shortest first, up to UNYIELDED tasks in all."""
        for length in range(QUEUED):
            for worker in self.workers:
                if len(worker.queue) == length and self.running + len(self.finished) < UNYIELDED:
                    index, task = next(self.waiting, (None, None))
                    if index is None:
                        return
                    self._submit(worker, index, task)

    def _collect(self) -> None:
        """Wait until a task ends or its time is up, and collect the results of all tasks that have ended."""
        busy = [worker for worker in self.workers if worker.queue]
        self._wait([worker.queue[0][2] for worker in busy], until=min(worker.deadline for worker in busy))
        for worker in busy:
            while worker.queue and worker.queue[0][2].done():
                self._take(worker)
            if worker.queue and time.monotonic() >= worker.deadline:
                worker.expired, worker.deadline = worker.queue[0][0], float("inf")
                worker.kill()  # its futures then raise BrokenProcessPool

    def close(self) -> None:
        for worker in self.workers:
            worker.close()

    def _wait(self, futures: list[Future], *, until: float = float("inf")) -> None:
        """Wait until one of the futures is done or the time `until` is reached; call `check` meanwhile.

        Time in which this process was suspended (Ctrl-Z, a frozen container) does not count, because the workers were
        suspended too.
        """
        while True:
            self.check()
            start = time.monotonic()
            timeout = min(max(until - start, 0), CHECK_INTERVAL)
            done = wait(futures, timeout, FIRST_COMPLETED).done
            suspended = time.monotonic() - start - timeout
            if suspended > STANDSTILL:
                until += suspended
                for worker in self.workers:
                    worker.deadline += suspended
            if done or time.monotonic() >= until:
                return

    def _submit(self, worker: _Worker, index: int, task: tuple) -> None:
        try:
            future = worker.executor.submit(self.function, *task)
        except BrokenProcessPool as error:  # the worker has just died; `_collect` replaces it
            future = Future()
            future.set_exception(error)
        if not worker.queue:
            worker.deadline = time.monotonic() + self.seconds_allowed
        worker.queue.append((index, task, future))

    def _take(self, worker: _Worker) -> None:
        """Collect the result of a worker's first task, which has ended, or replace the worker if it has died."""
        index, _, future = worker.queue[0]
        try:
            self.finished[index] = future.result()
        except BrokenProcessPool:
            self._replace(worker)
        else:
            worker.queue.popleft()
            worker.deadline = time.monotonic() + self.seconds_allowed

    def _replace(self, worker: _Worker) -> None:
        """Replace a dead worker. Its first task is lost or tried again; the others are submitted to the new worker."""
        worker.close()
        slot = self.workers.index(worker)
        self.workers[slot] = _Worker(self.preparation)
        self._await_start(slot)
        index = worker.queue[0][0]
        if worker.expired is None:
            self.losses[index] += 1
        if worker.expired == index:
            self.finished[index] = Lost(f"took longer than {self.seconds_allowed:g} s")
            worker.queue.popleft()
        elif self.losses[index] == TRIES:
            self.finished[index] = Lost(f"crashed its process {TRIES} times")
            worker.queue.popleft()
        for index, task, _ in worker.queue:
            self._submit(self.workers[slot], index, task)
        worker.queue.clear()

    def _await_start(self, slot: int) -> None:
        for _ in range(STARTS):
            self._wait([self.workers[slot].started])
            try:
                self.workers[slot].started.result()
                return
            except BrokenProcessPool:
                self.workers[slot].close()
                self.workers[slot] = _Worker(self.preparation)
        raise RuntimeError("a worker process does not start; see its error messages above")


def silence() -> None:
    """Discard what this process writes to stdout and stderr from now on, native code included."""
    discarded = os.open(os.devnull, os.O_WRONLY)
    os.dup2(discarded, 1)
    os.dup2(discarded, 2)


def _prepare_process(initializer: Callable, arguments: tuple) -> None:
    threading.Thread(target=_die_with_parent, daemon=True).start()
    initializer(*arguments)


def _die_with_parent() -> None:
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGKILL)
