"""The outcome of one call on a worker, as the thread of a connection reports it."""

import asyncio
import queue
from types import SimpleNamespace

import pytest

from utils.base.dask_connection import Connection, Failed, Returned

pytest.importorskip("distributed")


def outcome(*, function_error=None, gather_error=None):
    """Return the event of a call whose function or whose transport of the value raises."""

    async def exception():
        return function_error

    async def gather(future, *, direct):
        if gather_error is not None:
            raise gather_error
        return "value"

    async def call():
        future = SimpleNamespace(exception=exception, release=lambda: None)
        client = SimpleNamespace(submit=lambda *_, **__: future, gather=gather)
        room = asyncio.Semaphore(1)
        connection = SimpleNamespace(_client=client, _room=room, _calls={7: None}, events=queue.SimpleQueue())
        await Connection._one(connection, 7, "tcp://worker", b"")
        return connection.events.get_nowait(), room.locked()

    return asyncio.run(call())


def test_a_value_takes_room_until_it_is_processed():
    """Rows that wait in memory would have no limit."""
    assert outcome() == (Returned(7, "value"), True)


def test_a_broken_connection_counts_as_a_dead_worker():
    """A scheduler that dies while a value is fetched would be reported as an output that cannot be written."""
    error = ConnectionResetError(104, "Connection reset by peer")
    assert outcome(gather_error=error) == (Failed(7, error, True), False)


@pytest.mark.parametrize("error", [OSError("disk"), ValueError("bad")])
def test_an_error_of_the_function_is_not_one_of_the_worker(error):
    """A task that fails on every worker would be tried again, and then be listed as a crash."""
    assert outcome(function_error=error) == (Failed(7, error, False), False)
