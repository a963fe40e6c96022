"""Child processes of a cluster's worker: kept between batches, ended with the run, and never harmful to each other."""

import os
import signal
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

from utils.base import cluster_worker
from utils.base.cluster_worker import Job, end, perform
from utils.base.isolation import Lost


def prepare(path, level):
    global _path, _level
    _path, _level = path, level


def write_row(number, offset):
    """Write a row of three bytes; die at 13, fail at 17."""
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 17:
        raise ZeroDivisionError
    with open(_path, "r+b") as file:
        file.seek(offset)
        file.write(bytes([number, _level, 0]))
    return number, os.getpid()


def process(number):
    return os.getpid()


def children():
    return [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


@pytest.fixture
def job():
    """A job that writes rows; its processes are ended."""
    job = Job(write_row, prepare, (5,), row_bytes=3)
    yield job
    end(job.name)
    assert not children()


def test_rows_belong_to_their_tasks_and_a_crash_costs_one_task(job):
    """A clip would get the name of another one, or a bad video take its batch with it."""
    results, rows = perform(job, [(1,), (13,), (2,)])
    assert results[1] == Lost("crashed its process 2 times")
    assert [results[0][0], results[2][0]] == [1, 2]
    np.testing.assert_array_equal(rows, np.array([[1, 5, 0], [0, 0, 0], [2, 5, 0]], np.uint8))
    again, rows = perform(job, [(3,)])
    assert again[0][1] == results[2][1]  # the same process
    np.testing.assert_array_equal(rows, [[3, 5, 0]])


def test_an_exception_ends_the_process_and_the_next_batch_has_another(job):
    """One error of the user would block the worker for later runs."""
    with pytest.raises(ZeroDivisionError):
        perform(job, [(17,)])
    assert perform(job, [(1,)])[0][0][0] == 1


@pytest.mark.parametrize("shared", [True, False])
def test_threads_share_a_process_if_asked(shared):
    """A teacher would be loaded once per thread, or videos be read by one process of a worker with many threads."""
    job, found = Job(process, int, (), shared=shared), []
    barrier = threading.Barrier(2)

    def work():
        barrier.wait()
        found.extend(perform(job, [(k,) for k in range(20)])[0])

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40
    assert len(set(found)) == (1 if shared else 2)
    end(job.name)
    assert not children()


def wait_for_end(number):
    threading.Event().wait()


def test_the_end_of_a_run_ends_its_running_tasks():
    """After Ctrl-C, workers would go on reading a hanging video."""
    job, errors = Job(wait_for_end, int, ()), []

    def work():
        try:
            perform(job, [(1,)])
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    while not children():
        thread.join(0.01)
    end(job.name)
    thread.join()
    assert errors == ["the run has ended"]
    assert not children()


def test_processes_end_after_a_time_without_tasks(monkeypatch):
    """A teacher would keep the memory of a GPU after its main process was killed."""
    monkeypatch.setattr(cluster_worker, "SECONDS_IDLE", 0.05)
    job = Job(process, int, ())
    (number,), _ = perform(job, [(1,)])
    psutil.wait_procs([child for child in children() if child.pid == number])
    assert not Path(f"/proc/{number}").exists()
