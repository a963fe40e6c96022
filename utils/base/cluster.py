"""Run a function over many tasks on a Dask cluster: the counterpart of `isolation.run_isolated` for several machines.

Tasks are sent to a worker in batches and run in its child processes, so that a crash or a hang affects one task only;
see cluster_worker.py. If a worker dies, its tasks are run again, each alone on a worker, because any of them may be the
cause. Nothing depends on the configuration of the scheduler.
"""

import heapq
import itertools
import os
import queue
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from utils.base import cluster_worker, dask_connection
from utils.base.cluster_worker import CODE, Job
from utils.base.dask_connection import LOCAL, Connection, Failed, Gone, Returned, Workers
from utils.base.errors import UserError, first_line
from utils.base.isolation import CHECK_INTERVAL, TRIES, UNYIELDED, Lost
from utils.base.machine import cores

QUEUED = 2  # batches per child process: the running one and the next
RECEIVED_BYTES = 256 * 1024**2  # rows that wait in this process
SECONDS_WITHOUT_WORKERS = 5  # before a note says so


@dataclass(frozen=True)
class Cluster:
    """Where and how tasks run.

    scheduler: an address, or LOCAL for a cluster of `workers` processes (default: one per core) on this machine.
    modules, packages, paths: code, installed packages and files that must be the same on all workers as here.
    """

    scheduler: str
    modules: tuple[str, ...]
    packages: tuple[str, ...]
    paths: tuple[str, ...]
    workers: int | None = None


def run_on_cluster(
    cluster: Cluster,
    job: Job,
    tasks: Iterable[tuple],
    *,
    count: int,
    receive: Callable[[int, object, np.ndarray | None], object] = lambda index, result, row: result,
    batch: int = 1,
    check: Callable[[], None] = lambda: None,
) -> Iterator[object]:
    """Yield the result of each task or `Lost`, in the order of `tasks`, as `run_isolated` does.

    `receive(index, result, row)` is called as soon as a task has ended, in any order; what it returns is yielded. `row`
    is the row that the task has written, uint8 (job.row_bytes,), or None. `count` is the number of tasks, `batch` the
    largest number that is sent at once. Workers may join and leave at any time. While it waits, the generator calls
    `check` several times per second; its exceptions, and those of the function, end the run.

    Raises UserError if there is no scheduler, if it goes away, or if a worker that joins before any other is usable has
    other code or packages, or does not see the paths. Workers that join later are not used then, and a note says so.
    """
    if not count:
        return
    run = _Run(cluster, job, enumerate(tasks), count, receive, batch, check)
    try:
        yield from run.results()
    finally:
        run.close()


@dataclass(eq=False)
class _Worker:
    """A worker of the cluster and what was sent to it: lists of (index, task) by number of the call."""

    address: str
    threads: int
    from_start: bool
    calls: dict[int, list[tuple[int, tuple]]] = field(default_factory=dict)
    state: str = "joining"  # then "usable" or "refused"
    has_suspect: bool = False


@dataclass
class _Run:
    """The state of one call of run_on_cluster."""

    cluster: Cluster
    job: Job
    waiting: Iterator[tuple[int, tuple]]
    count: int
    receive: Callable
    batch: int
    check: Callable[[], None]
    workers: dict[str, _Worker] = field(default_factory=dict)  # by address
    by_call: dict[int, _Worker] = field(default_factory=dict)
    suspects: list[tuple[int, tuple]] = field(default_factory=list)  # a heap
    losses: Counter[int] = field(default_factory=Counter)  # by index; of tasks that ran alone
    finished: dict[int, object] = field(default_factory=dict)  # by index; not yet yielded
    started: int = 0  # tasks taken from `waiting`
    yielded: int = 0
    is_start: bool = True  # until a worker is usable
    calls: Iterator[int] = field(default_factory=itertools.count)  # numbers of calls
    without_workers: float = field(default_factory=time.monotonic)  # since when

    def __post_init__(self):
        self.expected = cluster_worker.describe(*self._described())
        values = max(1, RECEIVED_BYTES // max(1, self.batch * self.job.row_bytes))
        self.connection = Connection(self.cluster.scheduler, workers=self.cluster.workers or cores(), values=values)

    def results(self) -> Iterator[object]:
        while self.yielded < self.count:
            self._assign()
            self._handle(self._next_event())
            while self.yielded in self.finished:
                result = self.finished.pop(self.yielded)
                self.yielded += 1
                yield result

    def close(self) -> None:
        self.connection.close(cluster_worker.end, self.job.name)

    def _next_event(self):
        while True:
            self.check()
            try:
                return self.connection.events.get(timeout=CHECK_INTERVAL)
            except queue.Empty:
                self._note_if_without_workers()

    def _handle(self, event) -> None:
        if isinstance(event, Workers):
            self._update_workers(event.threads)
        elif isinstance(event, Gone):
            raise UserError(_gone(self.cluster.scheduler, event))
        elif isinstance(event, Returned):
            try:
                self._returned(event)
            finally:
                self.connection.taken()
        elif event.call in self.by_call:
            self._failed(event)

    # Workers

    def _usable(self) -> list[_Worker]:
        return [worker for worker in self.workers.values() if worker.state == "usable"]

    def _update_workers(self, threads: dict[str, int]) -> None:
        for address in [address for address in self.workers if address not in threads]:
            self._died(self.workers[address])
        for address in threads.keys() - self.workers.keys():
            worker = self.workers[address] = _Worker(address, threads[address], self.is_start)
            self._send(worker, [], cluster_worker.describe, *self._described())

    def _described(self) -> tuple:
        return self.cluster.modules, self.cluster.packages, self.cluster.paths

    def _joined(self, worker: _Worker, found: dict) -> None:
        """Use a worker that has answered, unless something differs from this machine."""
        problems = [_problem(name, here, found.get(name)) for name, here in self.expected.items()]
        if found == self.expected:
            worker.state, self.is_start = "usable", False
        else:
            self._refuse(worker, next(filter(None, problems)))

    def _refuse(self, worker: _Worker, problem: str) -> None:
        if worker.from_start:
            raise UserError(f"--scheduler: worker {worker.address} {problem}")
        print(f"note: worker {worker.address} is not used: it {problem}", file=sys.stderr)
        worker.state = "refused"

    def _died(self, worker: _Worker) -> None:
        """Forget a worker. A task that was alone on it is lost or tried again; the others become suspects."""
        del self.workers[worker.address]
        for call, items in worker.calls.items():
            self.connection.cancel(call)
            del self.by_call[call]
            for index, task in items:
                self.losses[index] += worker.has_suspect
                if self.losses[index] == TRIES:
                    self.finished[index] = Lost(f"crashed its worker {TRIES} times")
                else:
                    heapq.heappush(self.suspects, (index, task))

    def _note_if_without_workers(self) -> None:
        if self.cluster.scheduler == LOCAL or any(worker.state != "refused" for worker in self.workers.values()):
            self.without_workers = time.monotonic()
        elif time.monotonic() - self.without_workers > SECONDS_WITHOUT_WORKERS:
            self.without_workers = float("inf")
            address = self.cluster.scheduler
            print(f"waiting for workers; start one by: dask worker {address}", file=sys.stderr, flush=True)

    # Tasks

    def _assign(self) -> None:
        """Send suspects to workers that have no other task, and batches to the other workers, shortest queue first."""
        usable = sorted(self._usable(), key=lambda worker: (not worker.has_suspect, len(worker.calls)))
        alone = sum(worker.has_suspect for worker in usable)
        reserved = min(alone + len(self.suspects), max(1, len(usable) // 2))
        for worker in usable[:reserved]:
            if not worker.calls and self.suspects:
                worker.has_suspect = True
                self._send_tasks(worker, [heapq.heappop(self.suspects)])
        others = usable[reserved:]
        processes = sum(self._processes(worker) for worker in others)
        for depth in range(QUEUED * max(map(self._processes, others), default=0)):
            for worker in others:
                if len(worker.calls) == depth < QUEUED * self._processes(worker):
                    left = self.count - self.started
                    size = min(self.batch, max(1, left // (QUEUED * processes)))
                    if not left or self.started - self.yielded >= UNYIELDED + QUEUED * self.batch * processes:
                        return
                    batch = list(itertools.islice(self.waiting, size))
                    self.started += len(batch)
                    self._send_tasks(worker, batch)

    def _processes(self, worker: _Worker) -> int:
        return 1 if self.job.shared else worker.threads

    def _send_tasks(self, worker: _Worker, items: list[tuple[int, tuple]]) -> None:
        self._send(worker, items, cluster_worker.perform, self.job, [task for _, task in items])

    def _send(self, worker: _Worker, items: list, function: Callable, *arguments) -> None:
        call = next(self.calls)
        worker.calls[call], self.by_call[call] = items, worker
        self.connection.call(call, worker.address, function, *arguments)

    def _returned(self, event: Returned) -> None:
        worker = self.by_call.pop(event.call, None)
        if worker is None:
            return  # of a worker that died right afterwards, whose tasks are run again
        items = worker.calls.pop(event.call)
        if worker.state == "joining":
            self._joined(worker, event.value)
            return
        worker.has_suspect = False
        results, rows = event.value
        for k, (index, _) in enumerate(items):
            if isinstance(results[k], Lost):
                self.finished[index] = results[k]
            else:
                self.finished[index] = self.receive(index, results[k], None if rows is None else rows[k])

    def _failed(self, event: Failed) -> None:
        worker = self.by_call[event.call]
        if event.worker_died:
            self._died(worker)
        elif worker.state == "joining":
            del worker.calls[event.call], self.by_call[event.call]
            self._refuse(worker, _not_usable(event.error))
        else:
            raise event.error


def _gone(scheduler: str, event: Gone) -> str:
    if event.was_connected:
        return f"--scheduler: {scheduler} has gone; rerun the same command, with or without --scheduler, to resume"
    return f"--scheduler: a Dask scheduler must listen at {scheduler}, but: {event.reason}"


def _problem(name: str, here: str | None, there: str | None) -> str | None:
    """Return how an entry of `cluster_worker.describe` differs on a worker, or None if it does not."""
    if there == here:
        return None
    if os.path.isabs(name):
        return f"must find {name}: videos, arrays and models must have the same paths on all machines"
    if name == CODE:
        return f"must have the code in {dask_connection.PROJECT}, but has loaded another version; restart it"
    return f"must have {name} {here}, found {there or 'none'}" if here else f"must not have {name}, found {there}"


def _not_usable(error: Exception) -> str:
    if isinstance(error, ImportError):
        return (
            f"must find this project in {dask_connection.PROJECT} or in its PYTHONPATH, and the packages of its "
            f"requirements ({first_line(error)})"
        )
    return f"failed: {first_line(error)}"
