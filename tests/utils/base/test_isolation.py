"""A crash or hang costs one task, results keep their order and no process is left behind."""

import contextlib
import ctypes
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from utils.base import in_order, isolation
from utils.base.in_order import Lost
from utils.base.isolation import Isolated, run_isolated
from utils.base.machine import memory_of_tree

ROOT = Path(__file__).parents[3]


def double(number):
    return 2 * number, os.getpid()


def misbehave(how, folder):
    """Append a byte to the file `how`, then behave as `how` says; return what else is running."""
    with open(Path(folder) / how, "a") as file:
        file.write("x")
    is_first = (Path(folder) / how).stat().st_size == 1
    if how == "segfault":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump may take long
        ctypes.string_at(0)
    if how == "hang" or (how == "hang once" and is_first):
        threading.Event().wait()
    if how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    while how == "spin":
        sum(range(10**6))
    if how == "exit":
        os._exit(0)
    if how == "lost once" and is_first:
        os.kill(os.getpid(), signal.SIGKILL)
    return how


def fail(number):
    raise OSError(28, f"No space for {number}")


def workers_alive():
    return [process for process in psutil.Process().children() if "spawn_main" in " ".join(process.cmdline())]


def test_results_come_in_the_order_given():
    """Rows would get the labels of other rows."""
    results = list(run_isolated(double, [(k,) for k in range(40)], workers=2, seconds_allowed=600))
    assert [value for value, _ in results] == [2 * k for k in range(40)]
    processes = {process for _, process in results}
    assert len(processes) <= 2
    assert os.getpid() not in processes
    assert not workers_alive()


CRASHED = Lost("crashed its process")
SPUN, HUNG = Lost("took longer than 0.2 s of processor time", True), Lost("did not end within 2 s", True)


@pytest.mark.parametrize(
    ("wall_factor", "results"),
    [
        (1e6, {"fine": "fine", "segfault": CRASHED, "spin": SPUN, "exit": CRASHED, "lost once": "lost once"}),
        (10, {"hang once": "hang once", "stop": HUNG, "fine": "fine"}),
    ],
)
def test_a_crash_or_hang_costs_its_own_task(tmp_path, monkeypatch, wall_factor, results):
    """One damaged video among thousands would end the run or block it forever; a busy machine would cost good ones."""
    monkeypatch.setattr(isolation, "WALL_FACTOR", wall_factor)
    tasks = [(way, str(tmp_path)) for way in results]
    preparation = {"initializer": double, "arguments": (0,)}  # imports this module before the first deadline starts
    assert [*run_isolated(misbehave, tasks, workers=2, seconds_allowed=0.2, **preparation)] == [*results.values()]
    tries = {way: 1 if way == "fine" else 2 for way in results}
    assert {way: (tmp_path / way).stat().st_size for way in results} == tries
    assert not workers_alive()


def test_a_lost_task_is_tried_again_alone(tmp_path, monkeypatch):
    """A video that ran out of time or memory because of its neighbours would be missing in the arrays."""
    submitted, submit = [], Isolated._submit

    def recorded(processes, worker, index, task):
        submitted.append((task[0], processes._running()))
        submit(processes, worker, index, task)

    monkeypatch.setattr(Isolated, "_submit", recorded)
    ways = ["lost once", *"abcdefgh"]
    assert list(run_isolated(misbehave, [(way, str(tmp_path)) for way in ways], workers=2, seconds_allowed=600)) == ways
    assert [running for way, running in submitted if way == "lost once"] == [0, 0]
    assert submitted[-1][0] == "lost once"


def test_an_exception_of_the_function_is_raised_and_ends_the_workers():
    """A full disk would be reported as a damaged video, once per video; or nobody would know where it happened."""
    with pytest.raises(OSError, match="No space for") as raised:
        list(run_isolated(fail, [(k,) for k in range(9)], workers=2, seconds_allowed=600))
    assert "in fail" in raised.value.__notes__[0]
    assert not workers_alive()


def test_closing_early_ends_the_workers(tmp_path):
    """Ctrl-C would leave processes behind that keep the files locked."""
    tasks = [(way, str(tmp_path)) for way in ("a", "hang", "hang")]
    with contextlib.closing(run_isolated(misbehave, tasks, workers=2, seconds_allowed=600)) as results:
        assert next(results) == "a"
    assert not workers_alive()


def test_results_that_wait_for_a_slow_one(monkeypatch):
    """A run whose results were waiting for a slow one, or for one to be tried again, would end with those before it."""
    monkeypatch.setattr(in_order, "UNYIELDED", 2)
    with contextlib.closing(Isolated(double, 600, (int, ()), lambda: None)) as processes:
        processes.start(2)
        for count in (9, 4):  # the processes are used again
            assert [value for value, _ in processes.run((k,) for k in range(count))] == [2 * k for k in range(count)]
            processes.workers[0].process.kill()


@pytest.mark.parametrize("call", [1, 2, 3, 5])
def test_check_can_end_the_run_at_any_call(tmp_path, call):
    """Ctrl-C would wait for a hanging video."""
    calls = itertools.count(1)

    def check():
        if next(calls) == call:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_isolated(misbehave, [("hang", str(tmp_path))] * 3, workers=2, seconds_allowed=600, check=check))
    assert not workers_alive()


def test_workers_that_cannot_start_end_the_run():
    """Without OpenCV every video would be reported as damaged."""
    with pytest.raises(RuntimeError, match="does not start"):
        list(run_isolated(double, [(1,)], workers=1, seconds_allowed=600, initializer=os._exit, arguments=(3,)))


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_workers_die_with_a_killed_parent(how):
    """The workers of a killed run would write to the files of the next run."""
    code = (
        "import json, os, signal, sys\n"
        "from utils.base.isolation import run_isolated\n"
        "if __name__ == '__main__':\n"
        "    results = run_isolated(os.getpid, [()] * 20, workers=2, seconds_allowed=600)\n"
        "    print(json.dumps([next(results) for _ in range(5)]), flush=True)\n"
        f"    os.kill(os.getpid(), signal.{how})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == -getattr(signal, how), done.stderr
    left = []
    for number in set(json.loads(done.stdout)):
        with contextlib.suppress(psutil.NoSuchProcess):
            left.append(psutil.Process(number))
    _, alive = psutil.wait_procs(left, timeout=120)
    assert not alive


def test_memory_of_tree_counts_the_processes_below():
    """The memory limit would ignore the memory of worker processes."""
    code = "block = bytearray(10**8); print(flush=True); input()"
    alone = memory_of_tree()
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        together = memory_of_tree()
        child.communicate(b"\n")
    assert 90 < together - alone < 200
