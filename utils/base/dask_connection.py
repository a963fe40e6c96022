"""A connection to a Dask scheduler, or to a cluster started on this machine, in a thread of its own.

Each call is sent to one worker. Dask would run the tasks of a worker that died on other workers, and blames all of them
after a few deaths. The caller decides instead, see cluster.py.
"""

import asyncio
import contextlib
import logging
import os
import pickle
import queue
import signal
import threading
import warnings
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path

from utils.base.errors import UserError, first_line

LOCAL = "local"  # starts a cluster on this machine
CONNECT_SECONDS = 5
POLL_SECONDS = 0.5
CLOSE_SECONDS = 3
PROJECT = str(Path(__file__).resolve().parents[2])
LOCAL_CONFIG = {
    "distributed.nanny.pre-spawn-environ": {},  # it would also change this process
    "logging": dict.fromkeys(("distributed", "tornado", "tornado.application", "asyncio"), "critical"),
}


@dataclass(frozen=True)
class Workers:
    """The workers of the cluster: number of threads by address."""

    threads: dict[str, int]


@dataclass(frozen=True)
class Returned:
    """The value of a call. The caller must call `Connection.taken` when it has processed it."""

    call: int
    value: object


@dataclass(frozen=True)
class Failed:
    """The exception of a call; `worker_died` if its worker died or was restarted, or the connection to it broke."""

    call: int
    error: Exception
    worker_died: bool


@dataclass(frozen=True)
class Gone:
    """The connection could not be made, or was lost."""

    was_connected: bool
    reason: str


def require_dask() -> None:
    """Raise UserError unless dask.distributed is installed."""
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"--scheduler: needs the package distributed ({first_line(error)}): pip install -r requirements-cluster.txt"
        ) from None


class Connection:
    """A connection to the cluster `scheduler`: an address, or LOCAL for `workers` processes on this machine.

    `events` is a queue of Workers, Returned, Failed and Gone. At most `values` values of calls wait there.
    """

    def __init__(self, scheduler: str, *, workers: int, values: int):
        require_dask()
        self.events: queue.SimpleQueue = queue.SimpleQueue()
        self._scheduler, self._workers, self._values = scheduler, workers, values
        self._calls: dict[int, asyncio.Task] = {}
        self._thread = threading.Thread(target=self._serve, name="dask", daemon=True)
        self._ready = threading.Event()
        self._thread.start()
        self._ready.wait()

    def call(self, number: int, address: str, function: Callable, *arguments) -> None:
        """Call `function(*arguments)` on one worker; `number` identifies the call in events."""
        content = pickle.dumps((function, arguments))
        self._in_loop(lambda: self._calls.update({number: self._loop.create_task(self._one(number, address, content))}))

    def cancel(self, number: int) -> None:
        """Forget a call; nothing is reported about it any more, except what is in `events` already."""
        self._in_loop(lambda: number in self._calls and self._calls[number].cancel())

    def taken(self) -> None:
        """Make room for another value in `events`."""
        self._in_loop(self._room.release)

    def close(self, *last_call) -> None:
        """Cancel all calls, call `last_call`, a function and its arguments, on all workers, and disconnect."""
        self._last_call = last_call
        self._in_loop(self._ended.set)
        self._thread.join(4 * CLOSE_SECONDS)

    def _in_loop(self, action: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended; `Gone` was reported
            self._loop.call_soon_threadsafe(action)

    def _serve(self) -> None:
        # Local workers inherit the blocked SIGINT: on Ctrl-C only this process reacts, and ends its workers.
        # Starting the resource tracker of multiprocessing would unblock it.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        _silence_dask()
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._loop.set_exception_handler(lambda *_: None)  # of calls whose worker died
            runner.run(self._main())

    async def _main(self) -> None:
        self._room, self._ended, self._client = asyncio.Semaphore(self._values), asyncio.Event(), None
        self._ready.set()
        try:
            async with contextlib.AsyncExitStack() as stack:
                await self._unless_ended(self._connect(stack), finish=self._scheduler == LOCAL)
                while not self._ended.is_set():
                    threads = await self._unless_ended(self._client.scheduler.ncores())
                    self.events.put(Workers(threads or {}))
                    await self._unless_ended(asyncio.sleep(POLL_SECONDS))
                if self._client is not None:
                    await self._end_calls()
        except Exception as error:
            self.events.put(Gone(self._client is not None, first_line(error)))

    async def _unless_ended(self, action: Coroutine, *, finish: bool = False):
        """Return the result of `action`, or None if the connection is closed before; then cancel or `finish` it."""
        running, ended = asyncio.ensure_future(action), asyncio.ensure_future(self._ended.wait())
        await asyncio.wait({running, ended}, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not running.done() and not finish:
            running.cancel()
            return None
        return await running

    async def _connect(self, stack: contextlib.AsyncExitStack) -> None:
        import dask
        from distributed import Client, LocalCluster

        address = self._scheduler
        if address == LOCAL:
            with dask.config.set(LOCAL_CONFIG):
                cluster = LocalCluster(
                    n_workers=self._workers,
                    threads_per_worker=1,
                    dashboard_address=None,
                    memory_limit=0,  # the child processes have limits of their own
                    silence_logs=logging.CRITICAL,
                    # TensorFlow would use all cores in each process.
                    env={"TF_NUM_INTRAOP_THREADS": os.environ.get("TF_NUM_INTRAOP_THREADS", "1")},
                    asynchronous=True,
                )
                address = (await stack.enter_async_context(cluster)).scheduler_address
        client = Client(address, asynchronous=True, timeout=CONNECT_SECONDS, set_as_default=False)
        stack.push_async_callback(_close, client)
        self._client = await client

    async def _one(self, number: int, address: str, content: bytes) -> None:
        from distributed import CancelledError, KilledWorker

        future = self._client.submit(
            _by_value(), PROJECT, content, workers=[address], allow_other_workers=False, pure=False
        )
        try:
            if (error := await future.exception()) is None:
                await self._room.acquire()
                try:
                    value = await self._client.gather(future, direct=True)
                except BaseException:
                    self._room.release()
                    raise
                self.events.put(Returned(number, value))
            else:
                self.events.put(Failed(number, error, isinstance(error, (KilledWorker, CancelledError))))
        except Exception as error:  # an OSError is one of the connection to the scheduler or the worker
            self.events.put(Failed(number, error, isinstance(error, (OSError, CancelledError))))
        finally:
            future.release()
            del self._calls[number]

    async def _end_calls(self) -> None:
        calls = list(self._calls.values())
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        if self._last_call:
            with contextlib.suppress(Exception):
                last = self._client.run(_by_value(), PROJECT, pickle.dumps((self._last_call[0], self._last_call[1:])))
                await asyncio.wait_for(last, CLOSE_SECONDS)


async def _close(client) -> None:
    with contextlib.suppress(Exception):
        await asyncio.wait_for(client.close(), CLOSE_SECONDS)


def _by_value() -> Callable:
    """Return a function that Dask pickles with its code, because it is nested.

    It imports the project from the folder where it is here, if the worker sees it, or else from the worker's path. The
    scheduler unpickles calls as well, but does not need the project: it sees bytes.
    """

    def call(project: str, content: bytes):
        import os
        import pickle
        import sys

        if project not in sys.path and os.path.isdir(project):
            sys.path.insert(0, project)
        function, arguments = pickle.loads(content)
        return function(*arguments)

    return call


def _silence_dask() -> None:
    """Keep the log of Dask off the user's terminal."""
    import distributed  # noqa: F401 - sets the levels of its loggers

    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module="distributed")
