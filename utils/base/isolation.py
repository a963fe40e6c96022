"""Run a function over many tasks in worker processes, so that a crash or a hang affects one task only.

Each worker has a pipe of its own. Libraries share queues between the workers, and a worker that is killed while it
holds the lock of a queue blocks all others: with pebble 5.2.3, two of four runs of 20,000 short tasks stalled when
workers were killed at random moments. An executor of concurrent.futures ends as a whole when one worker dies.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import connection, resource_tracker

from utils.base.in_order import TRIES, InOrder, Lost

STARTS = 3  # attempts to start a worker before the run fails
QUEUED = 2  # tasks per worker: the running one and the next, so that a worker never waits for this process
CHECK_INTERVAL = 0.2  # seconds between two calls of `check`
WALL_FACTOR = 10  # a task hangs if it takes this many times its processor time

_SPAWN = multiprocessing.get_context("spawn")  # a fork would inherit the caller's locks and open files


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
    process dies. A task may use `seconds_allowed` of processor time, and ten times as long by the clock. A task that
    exceeds this, or whose process dies, is tried once more while no other task runs, and then lost. Exceptions of the
    function are raised here and end the workers.

    While it waits, the generator calls `check` several times per second. Exceptions of `check` end the workers too.
    Ctrl-C must arrive this way (see interruption.between_steps): an exception raised by a signal handler while a
    worker starts would leave it running.

    Raises RuntimeError if a worker process does not start.
    """
    with contextlib.closing(Isolated(function, seconds_allowed, (initializer, arguments), check)) as processes:
        processes.start(workers)
        yield from processes.run(tasks)


class _Worker:
    """A process and its queue of (index, task). It runs the first task; the others wait in its pipe."""

    def __init__(self, *arguments):
        self.connection, other_end = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_serve, args=(other_end, *arguments), daemon=True)
        # The process inherits the blocked SIGINT: on Ctrl-C only this process reacts, and ends its workers.
        resource_tracker.ensure_running()  # starting it later would unblock SIGINT
        signals = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)
            other_end.close()
        self.queue: deque[tuple[int, tuple]] = deque()
        self.deadline = float("inf")  # of the first task
        self.hangs = False

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


@dataclass
class Isolated:
    """The processes of `run_isolated`; they can run several iterables of tasks, one after the other."""

    function: Callable
    seconds_allowed: float
    preparation: tuple  # initializer and its arguments
    check: Callable[[], None]
    tries: int = TRIES
    idle_seconds: float | None = None  # after which a process without a task ends
    workers: list[_Worker] = field(default_factory=list)

    def start(self, workers: int) -> None:
        self.workers += [self._new_worker() for _ in range(workers)]  # they start in parallel
        for slot in range(workers):
            self._await_start(slot)

    def run(self, tasks: Iterable[tuple]) -> Iterator[object]:
        """Yield `function(*task)` or `Lost` for each task, in order. The previous call must have been exhausted."""
        self.tasks = InOrder(enumerate(tasks), self.tries)
        while True:
            yield from self.tasks.results()
            self._assign()  # after the results have made room
            if not self._running():
                return
            self._collect()

    def close(self) -> None:
        for worker in self.workers:
            worker.close()

    def are_alive(self) -> bool:
        return all(worker.process.is_alive() for worker in self.workers)

    def _running(self) -> int:
        """Return the number of tasks in the workers' queues."""
        return sum(len(worker.queue) for worker in self.workers)

    def _assign(self) -> None:
        """Fill the workers' queues, shortest first."""
        for length in range(QUEUED):
            for worker in self.workers:
                if len(worker.queue) == length:
                    for index, task in self.tasks.next_tasks(1, running=self._running()):
                        self._submit(worker, index, task)

    def _submit(self, worker: _Worker, index: int, task: tuple) -> None:
        with contextlib.suppress(OSError):  # it has just died, which `_collect` notices
            worker.connection.send(task)
        if not worker.queue:
            self._set_deadline(worker)
        worker.queue.append((index, task))

    def _set_deadline(self, worker: _Worker) -> None:
        worker.deadline = time.monotonic() + WALL_FACTOR * self.seconds_allowed

    def _collect(self) -> None:
        """Wait until a task ends or its time is up, and collect the results of all tasks that have ended."""
        busy = [worker for worker in self.workers if worker.queue]
        for worker in self._wait(busy, until=min(worker.deadline for worker in busy)):
            try:
                result, error = worker.connection.recv()
            except (EOFError, OSError):
                self._replace(worker)
                continue
            if error is not None:
                raise error
            self.tasks.finished[worker.queue.popleft()[0]] = result
            self._set_deadline(worker)
        for worker in busy:
            if time.monotonic() >= worker.deadline:
                worker.hangs, worker.deadline = True, float("inf")
                worker.process.kill()  # its pipe then ends

    def _wait(self, workers: list[_Worker], *, until: float = float("inf")) -> list[_Worker]:
        """Wait until some workers have sent something or have died, or until the time `until`; call `check` meanwhile.

        Return these workers.
        """
        by_connection = {worker.connection: worker for worker in workers}
        while True:
            self.check()
            ready = connection.wait(by_connection, min(max(until - time.monotonic(), 0), CHECK_INTERVAL))
            if ready or time.monotonic() >= until:
                return [by_connection[one] for one in ready]

    def _replace(self, worker: _Worker) -> None:
        """Replace a dead worker. Its first task is lost or tried again; the others are submitted to the new worker."""
        worker.close()
        slot = self.workers.index(worker)
        self.workers[slot] = self._new_worker()
        self._await_start(slot)
        index, task = worker.queue.popleft()
        self.tasks.failed(index, task, self._lost(worker))
        for index, task in worker.queue:
            self._submit(self.workers[slot], index, task)

    def _lost(self, worker: _Worker) -> Lost:
        if worker.hangs:
            return Lost(f"did not end within {WALL_FACTOR * self.seconds_allowed:g} s", out_of_time=True)
        if worker.process.exitcode == -signal.SIGPROF:
            return Lost(f"took longer than {self.seconds_allowed:g} s of processor time", out_of_time=True)
        return Lost("crashed its process")

    def _new_worker(self) -> _Worker:
        return _Worker(self.function, self.seconds_allowed, self.idle_seconds, *self.preparation)

    def _await_start(self, slot: int) -> None:
        for _ in range(STARTS):
            self._wait([self.workers[slot]])
            with contextlib.suppress(EOFError, OSError):
                self.workers[slot].connection.recv()
                return
            self.workers[slot].close()
            self.workers[slot] = self._new_worker()
        raise RuntimeError("a worker process does not start; see its error messages above")


def silence() -> None:
    """Discard what this process writes to stdout and stderr from now on, native code included."""
    discarded = os.open(os.devnull, os.O_WRONLY)
    os.dup2(discarded, 1)
    os.dup2(discarded, 2)


def _serve(
    pipe,
    function: Callable,
    seconds_allowed: float,
    idle_seconds: float | None,
    initializer: Callable,
    arguments: tuple,
) -> None:
    """Run tasks in a worker process until its parent ends: receive each from the pipe, send (result, exception).

    The system ends the process by SIGPROF when a task has used its processor time.
    """
    threading.Thread(target=_die_with_parent, daemon=True).start()
    initializer(*arguments)
    pipe.send(None)
    while pipe.poll(idle_seconds):
        task, result, error = pipe.recv(), None, None
        signal.setitimer(signal.ITIMER_PROF, 0 if seconds_allowed == float("inf") else seconds_allowed)
        try:
            result = function(*task)
        except Exception as raised:
            raised.add_note(traceback.format_exc())  # pickling loses the traceback
            error = raised
        signal.setitimer(signal.ITIMER_PROF, 0)
        pipe.send((result, error))


def _die_with_parent() -> None:
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGKILL)
