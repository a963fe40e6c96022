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
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

STARTS = 3  # a worker that dies this often before its first task will not start at all
TRIES = 2  # a worker may be lost to no fault of its task, for example to the system's want of memory
UNYIELDED = 1024  # results that may wait for an earlier one; they are small
QUEUED = 2  # tasks a worker has: the one that it runs, and the next, so that it never waits for this process
ATTENTION = 0.2  # seconds of waiting between two calls of `check`
STANDSTILL = 1.0  # seconds by which waiting outlasts what was asked for only if the whole machine or run stood still


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
    check: Callable[[], None] = lambda: None,
) -> Iterator[object]:
    """Yields `function(*task)` for each task in the order given, or `Lost`; exceptions of the function are raised here.

    `initializer(*arguments)` runs first in each of the `workers` processes, which live until the generator is closed or
    this process dies. A task whose process dies is tried once more, but not one that takes longer than
    `seconds_allowed`. While the generator waits it calls `check` several times a second; what that raises ends the
    workers and is raised here. Ctrl-C is to come this way (see interruption.between_steps): an exception out of
    a signal handler, raised between a task's start and its entry in the books, would leave its worker behind.
    """
    run = _Run(function, tasks, seconds_allowed, (initializer, arguments), check)
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
    """One process and its tasks, (place, task, future) each; it runs the first, the others wait in its pipe."""

    def __init__(self, preparation: tuple):
        self.executor = ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),  # threads of the caller cannot harm it, nor hold its files
            initializer=_prepare_process,
            initargs=preparation,
        )
        with _blocked_interrupt():
            self.started = self.executor.submit(os.getpid)
        self.queue: deque[tuple[int, tuple, Future]] = deque()
        self.deadline = float("inf")  # of the first task
        self.expired: int | None = None  # the place of the task for which it was killed

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, BrokenProcessPool):
            os.kill(self.started.result(), signal.SIGKILL)

    def close(self) -> None:
        if self.queue:
            self.kill()
        self.executor.shutdown(wait=True, cancel_futures=True)


class _Run:
    """What is running, what waits, what is finished; tasks go by their place in the order given."""

    def __init__(
        self,
        function: Callable,
        tasks: Iterable[tuple],
        seconds_allowed: float,
        preparation: tuple,
        check: Callable[[], None],
    ):
        self.function, self.seconds_allowed, self.preparation = function, seconds_allowed, preparation
        self.check = check
        self.waiting = enumerate(tasks)
        self.workers: list[_Worker] = []
        self.losses: Counter[int] = Counter()
        self.finished: dict[int, object] = {}

    @property
    def running(self) -> int:
        """The number of tasks that workers have."""
        return sum(len(worker.queue) for worker in self.workers)

    def start(self, workers: int) -> None:
        self.workers += [_Worker(self.preparation) for _ in range(workers)]  # they start side by side
        for slot in range(workers):
            self._await_start(slot)

    def assign(self) -> None:
        """Fills the workers' queues, the shortest first, as long as not too many results wait for an earlier one."""
        for length in range(QUEUED):
            for worker in self.workers:
                if len(worker.queue) == length and self.running + len(self.finished) < UNYIELDED:
                    index, task = next(self.waiting, (None, None))
                    if index is None:
                        return
                    self._submit(worker, index, task)

    def collect(self) -> None:
        """Waits until a task ends or its time is over, and takes in what ended."""
        busy = [worker for worker in self.workers if worker.queue]
        self._wait([worker.queue[0][2] for worker in busy], until=min(worker.deadline for worker in busy))
        for worker in busy:
            while worker.queue and worker.queue[0][2].done() and self._take(worker):
                pass
            if worker.queue and time.monotonic() >= worker.deadline:
                worker.expired, worker.deadline = worker.queue[0][0], float("inf")
                worker.kill()  # its tasks then end as those of a broken pool

    def close(self) -> None:
        for worker in self.workers:
            worker.close()

    def _wait(self, futures: list[Future], *, until: float = float("inf")) -> None:
        """Waits until one of the futures is done or that moment has come, and lets `check` end the run meanwhile.

        Time in which this process stood still (Ctrl-Z, a frozen container) does not count: the workers stood still too.
        """
        while True:
            self.check()
            asked = time.monotonic()
            patience = min(max(until - asked, 0), ATTENTION)
            done = wait(futures, patience, FIRST_COMPLETED).done
            excess = time.monotonic() - asked - patience
            if excess > STANDSTILL:
                until += excess
                for worker in self.workers:
                    worker.deadline += excess
            if done or time.monotonic() >= until:
                return

    def _submit(self, worker: _Worker, index: int, task: tuple) -> None:
        try:
            future = worker.executor.submit(self.function, *task)
        except BrokenProcessPool as error:  # it died a moment ago; `collect` will see to it
            future = Future()
            future.set_exception(error)
        if not worker.queue:
            worker.deadline = time.monotonic() + self.seconds_allowed
        worker.queue.append((index, task, future))

    def _take(self, worker: _Worker) -> bool:
        """Takes in the first task of a worker, which has ended; False if the worker was lost with it."""
        index, _, future = worker.queue[0]
        try:
            self.finished[index] = future.result()
        except BrokenProcessPool:
            self._replace(worker)
            return False
        worker.queue.popleft()
        worker.deadline = time.monotonic() + self.seconds_allowed
        return True

    def _replace(self, worker: _Worker) -> None:
        """Puts a new worker in the place of a lost one; the first task was lost with it, the others go on."""
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
        raise RuntimeError("a worker process does not start; the lines above say why")


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
