"""Run a function over many tasks on a Dask cluster: the counterpart of `isolation.run_isolated` for several machines.

Dask chooses the worker of each batch, and runs the batches of a worker that dies on others. A worker runs tasks in
child processes, see cluster_worker.py. Tasks that fail, and those of a batch on which Dask gives up, are tried again
one by one while nothing else runs, so that only a task that fails alone is lost, whatever the scheduler allows.
"""

import concurrent.futures
import functools
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field

from utils.base import cluster_worker
from utils.base.cluster_worker import Job
from utils.base.dask_connection import LOCAL, Connection
from utils.base.errors import UserError
from utils.base.in_order import InOrder, Lost
from utils.base.isolation import CHECK_INTERVAL
from utils.base.machine import cores

QUEUED = 2  # batches per child process: the running one and the next
POLL_SECONDS = 0.5  # between two looks at which workers there are
SECONDS_WITHOUT_WORKERS = 5  # before a note says so


@dataclass(frozen=True)
class Cluster:
    """Where and how tasks run.

    scheduler: an address, or LOCAL for a worker of `workers` threads (default: one per core) in this process.
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
    receive: Callable[[int, object], object] = lambda index, result: result,
    batch: int = 1,
    check: Callable[[], None] = lambda: None,
) -> Iterator[object]:
    """Yield the result of each task or `Lost`, in the order of `tasks`, as `run_isolated` does.

    `receive(index, result)` is called as soon as a task has ended, in any order; what it returns is yielded. `count` is
    the number of tasks, `batch` the largest number that is sent at once. Workers may join and leave at any time. While
    it waits, the generator calls `check` several times per second; its exceptions, and those of the function, end the
    run.

    Raises UserError if there is no scheduler, if it goes away, or if a worker that joins before any other is usable has
    other code or packages, or does not see the paths. Workers that join later are not used then, and a note says so.
    """
    if not count:
        return
    connection = Connection(cluster.scheduler, cluster.workers or cores())
    try:
        yield from _Run(cluster, job, InOrder(enumerate(tasks)), count, receive, batch, check, connection).results()
    finally:
        connection.close(cluster_worker.end, job.name)


@dataclass(frozen=True)
class _Call:
    """A coroutine that runs in the connection's thread: what to do with its result, and the batch that it awaits."""

    handle: Callable[[object], None]
    items: tuple[tuple[int, tuple], ...] = ()  # (index, task)
    workers: frozenset[str] = frozenset()  # addresses of those that may run it


@dataclass
class _Run:
    """The state of one call of run_on_cluster."""

    cluster: Cluster
    job: Job
    tasks: InOrder
    count: int
    receive: Callable
    batch: int
    check: Callable[[], None]
    connection: Connection
    asked: set[str] = field(default_factory=set)  # addresses of workers
    usable: dict[str, int] = field(default_factory=dict)  # threads of the workers that are as expected, by address
    is_start: bool = True  # until a worker is usable
    calls: dict[concurrent.futures.Future, _Call] = field(default_factory=dict)
    last_workers: float = field(default_factory=time.monotonic)  # when there was a worker

    def results(self) -> Iterator[object]:
        self.described = (self.cluster.modules, self.cluster.packages, self.cluster.paths)
        self.expected = cluster_worker.describe(*self.described)
        self._start(self.connection.workers(0), _Call(self._update_workers))
        while self.tasks.yielded < self.count:
            self._assign()
            for future in self._wait():
                self.calls.pop(future).handle(future.result())
            yield from self.tasks.results()

    def _start(self, coroutine: Coroutine, call: _Call) -> None:
        self.calls[self.connection.start(coroutine)] = call

    def _wait(self) -> set[concurrent.futures.Future]:
        """Wait until some calls are done, and return these; call `check` meanwhile."""
        while True:
            self.check()
            self.connection.require()
            done = concurrent.futures.wait(self.calls, CHECK_INTERVAL, concurrent.futures.FIRST_COMPLETED).done
            if done:
                return done

    # Workers

    def _update_workers(self, threads: dict[str, int]) -> None:
        """Forget workers that have left, with the batches that no other may run, and ask new ones what they have."""
        self._start(self.connection.workers(POLL_SECONDS), _Call(self._update_workers))
        self.usable = {address: self.usable[address] for address in self.usable.keys() & threads.keys()}
        for future, call in list(self.calls.items()):
            if call.items and not call.workers & threads.keys() and future.cancel():
                del self.calls[future]
                self._given_up(call.items)
        for address in threads.keys() - self.asked:
            handle = functools.partial(self._joined, address, threads[address], self.is_start)
            self._start(self.connection.ask(address, cluster_worker.describe, *self.described), _Call(handle))
        self.asked = set(threads)
        if threads or self.cluster.scheduler == LOCAL:
            self.last_workers = time.monotonic()
        elif time.monotonic() - self.last_workers > SECONDS_WITHOUT_WORKERS:
            self.last_workers = float("inf")
            note = f"waiting for workers; start one by: dask worker {self.cluster.scheduler}"
            print(note, file=sys.stderr, flush=True)

    def _joined(self, address: str, threads: int, from_start: bool, found: dict | Exception) -> None:
        """Use a worker that has answered, unless something differs from this machine."""
        if found == self.expected:
            self.usable[address], self.is_start = threads, False
        elif not isinstance(found, OSError):  # of a connection: the worker has died
            problem = cluster_worker.problem(self.expected, found)
            if from_start:
                raise UserError(f"--scheduler: worker {address} {problem}")
            print(f"note: worker {address} is not used: it {problem}", file=sys.stderr)

    # Tasks

    def _assign(self) -> None:
        """Send batches while there is room."""
        room = QUEUED * sum(1 if self.job.shared else threads for threads in self.usable.values())
        while room > (batches := sum(bool(call.items) for call in self.calls.values())):
            size = min(self.batch, (self.count - self.tasks.started) // room)
            items = self.tasks.next_tasks(max(1, size), running=batches)
            if not items:
                break
            self._send(tuple(items))

    def _send(self, items: tuple[tuple[int, tuple], ...]) -> None:
        workers, tasks = frozenset(self.usable), [task for _, task in items]
        performed = self.connection.perform(workers, cluster_worker.perform, self.job, tasks)
        self._start(performed, _Call(functools.partial(self._returned, items), items, workers))

    def _returned(self, items: tuple[tuple[int, tuple], ...], results: list | None) -> None:
        if results is None:
            self.asked -= self.usable.keys()  # some have died
            self.usable.clear()
            self._given_up(items)
            return
        for (index, task), result in zip(items, results):
            if isinstance(result, Lost):
                self.tasks.failed(index, task, result)
            else:
                self.tasks.finished[index] = self.receive(index, result)

    def _given_up(self, items: tuple[tuple[int, tuple], ...]) -> None:
        """Try tasks again whose worker died; only one that was alone counts as the cause."""
        if self.tasks.is_alone:
            self.tasks.failed(*items[0], Lost("crashed its worker"))
        else:
            self.tasks.again += items
