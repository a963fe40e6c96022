"""A cluster of --scheduler local is reached by nobody else."""

import urllib.error
import urllib.request

import psutil
import pytest

from utils.base.dask_connection import LOCAL, Connection

pytest.importorskip("distributed")


def listening():
    return {socket.laddr for socket in psutil.Process().net_connections() if socket.status == "LISTEN"}


def test_nobody_else_reaches_a_local_cluster():
    """Another user of the machine could run code as the user of the command, or read what runs."""
    before, connection = listening(), Connection(LOCAL, 2)
    try:
        assert connection.client.scheduler.address.startswith("inproc://")
        assert [worker.partition(":")[0] for worker in connection.start(connection.workers(0)).result()] == ["inproc"]
        for address in listening() - before:
            assert address.ip == "127.0.0.1"
            for page in ("", "json/identity.json", "status", "metrics", "api/v1"):
                with pytest.raises(urllib.error.HTTPError, match="404"):
                    urllib.request.urlopen(f"http://127.0.0.1:{address.port}/{page}", timeout=60)
    finally:
        connection.close(int)
    assert listening() == before
