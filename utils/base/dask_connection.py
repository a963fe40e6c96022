"""A connection to a Dask scheduler, or to a cluster inside this process."""

import asyncio
import concurrent.futures
import contextlib
import logging
import pickle
import warnings
from collections.abc import Callable, Collection, Coroutine
from pathlib import Path

from utils.base.errors import UserError, first_line

LOCAL = "local"  # a cluster inside this process, whose child processes do the work
CONNECT_SECONDS = 5
CLOSE_SECONDS = 3
LOOPBACK = "127.0.0.1:0"  # Dask always starts web servers,
NO_PAGES = {f"distributed.{part}.http.routes": [] for part in ("scheduler", "worker")}  # which then show nothing
PROJECT = str(Path(__file__).resolve().parents[2])


def require_dask() -> None:
    """Raise UserError unless dask.distributed is installed."""
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"--scheduler: needs the package distributed ({first_line(error)}): pip install -r requirements-cluster.txt"
        ) from None


class Connection:
    """A connection to the cluster `scheduler`: an address, or LOCAL for a worker of `threads` threads in this process.

    A local cluster communicates inside this process, so that no other user of the machine can run code in it. The
    coroutines run in the thread of Dask's client, by `start`. Raises UserError if there is no scheduler.
    """

    def __init__(self, scheduler: str, threads: int):
        require_dask()
        _silence_dask()
        import dask
        from distributed import Client, LocalCluster

        self.scheduler, self.local = scheduler, None
        if scheduler == LOCAL:
            with dask.config.set(NO_PAGES):
                self.local = LocalCluster(
                    n_workers=1,
                    threads_per_worker=threads,
                    processes=False,
                    scheduler_kwargs={"dashboard": False, "dashboard_address": LOOPBACK},
                    worker_dashboard_address=LOOPBACK,
                    memory_limit=0,  # the child processes have limits of their own
                    silence_logs=logging.CRITICAL,
                )
        try:
            self.client = Client(self.local or scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
        except OSError as error:
            reason = first_line(error)
            raise UserError(f"--scheduler: a Dask scheduler must listen at {scheduler}, but: {reason}") from None

    def start(self, coroutine: Coroutine) -> concurrent.futures.Future:
        return asyncio.run_coroutine_threadsafe(coroutine, self.client.loop.asyncio_loop)

    def require(self) -> None:
        """Raise UserError if the connection to the scheduler is lost."""
        if self.client.status != "running":
            remedy = "rerun the same command, with or without --scheduler, to resume"
            raise UserError(f"--scheduler: {self.scheduler} has gone; {remedy}")

    async def workers(self, delay: float) -> dict[str, int]:
        """Return the number of threads of each worker after `delay` seconds; never if the connection is lost."""
        await asyncio.sleep(delay)
        try:
            return await self.client.scheduler.ncores()
        except OSError:
            return await asyncio.Future()  # until the client notices, see `require`

    async def ask(self, address: str, function: Callable, *arguments) -> object:
        """Return `function(*arguments)` of one worker, or the exception that it raised."""
        content = pickle.dumps((function, arguments))
        answers = await self.client.run(_by_value(), PROJECT, content, workers=[address], on_error="return")
        return answers.get(address, OSError("no answer"))

    async def perform(self, workers: Collection[str], function: Callable, *arguments) -> object:
        """Return `function(*arguments)` of one of the workers, or None if Dask gives up because workers died.

        Exceptions of the function are raised.
        """
        from distributed import CancelledError, KilledWorker

        content = pickle.dumps((function, arguments))
        future = self.client.submit(_by_value(), PROJECT, content, workers=list(workers), pure=False)
        try:
            error = await future.exception()
            if isinstance(error, (KilledWorker, CancelledError)):
                return None
            if error is not None:
                raise error
            with contextlib.suppress(OSError, KilledWorker, CancelledError):
                return await self.client.gather(future, direct=True)
            return None
        finally:
            future.release()

    def close(self, function: Callable, *arguments) -> None:
        """Call `function(*arguments)` on all workers, cancel what runs, and disconnect."""
        content = pickle.dumps((function, arguments))

        async def last_call():
            await self.client.run(_by_value(), PROJECT, content, on_error="ignore")

        if self.client.status == "running":
            with contextlib.suppress(Exception):
                self.start(last_call()).result(CLOSE_SECONDS)
        with contextlib.suppress(Exception):
            self.client.close(CLOSE_SECONDS)
        if self.local is not None:
            self.local.close(CLOSE_SECONDS)


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
