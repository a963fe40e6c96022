"""Child processes of a cluster's worker: kept between batches, ended with the run, and never harmful to each other."""

import os
import signal
import threading

import psutil
import pytest

from utils.base import cluster_worker
from utils.base.cluster_worker import Job, end, perform
from utils.base.in_order import Lost


def prepare(level):
    global _level
    _level = level


def work(number):
    """Return numbers; die at 13, fail at 17."""
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 17:
        raise ZeroDivisionError
    return number, _level, os.getpid()


def process(number):
    return os.getpid()


def children():
    return [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


@pytest.fixture
def job():
    """A job; its processes are ended."""
    job = Job(work, prepare, (5,))
    yield job
    end(job.name)
    assert not children()


def test_a_crash_costs_one_task(job):
    """A bad video would take its batch with it."""
    first, second, third = perform(job, [(1,), (13,), (2,)])
    assert second == Lost("crashed its process")
    assert (first[:2], third[:2]) == ((1, 5), (2, 5))
    assert perform(job, [(3,)]) == [(3, 5, third[2])]  # in the same process


def test_an_exception_ends_the_process_and_the_next_batch_has_another(job):
    """One error of the user would block the worker for later runs."""
    with pytest.raises(ZeroDivisionError):
        perform(job, [(17,)])
    assert perform(job, [(1,)])[0][0] == 1


@pytest.mark.parametrize("shared", [True, False])
def test_threads_share_a_process_if_asked(shared):
    """A teacher would be loaded once per thread, or videos be read by one process of a worker with many threads."""
    job, found = Job(process, int, (), shared=shared), []
    barrier = threading.Barrier(2)

    def work():
        barrier.wait()
        found.extend(perform(job, [(k,) for k in range(20)]))

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
    (number,) = perform(job, [(1,)])
    psutil.wait_procs([child for child in children() if child.pid == number])
    assert perform(job, [(1,)]) != [number]
    end(job.name)
