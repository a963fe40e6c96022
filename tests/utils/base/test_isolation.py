"""A crash or hang costs one task, results keep their order and no process is left behind."""

import concurrent.futures
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
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psutil
import pytest

from utils.base import isolation
from utils.base.interruption import between_steps
from utils.base.isolation import Isolated, Lost, run_isolated
from utils.base.machine import memory_of_tree

ROOT = Path(__file__).parents[3]


def double(number):
    return 2 * number, os.getpid()


def misbehave(how, folder):
    """Append a byte to the file `how`, then behave as `how` says."""
    with open(Path(folder) / how, "a") as file:
        file.write("x")
    if how == "segfault":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump may take long
        ctypes.string_at(0)
    if how == "hang":
        threading.Event().wait()
    if how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if how == "exit":
        os._exit(0)
    if how == "lost once" and (Path(folder) / how).stat().st_size == 1:
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


def test_a_crash_or_hang_costs_its_own_task(tmp_path):
    """One damaged video among thousands would end the run or block it forever."""
    ways = ["fine", "segfault", "also fine", "hang", "stop", "exit", "lost once", "fine in the end"]
    tasks = [(way, str(tmp_path)) for way in ways]
    preparation = {"initializer": double, "arguments": (0,)}  # imports this module before the first deadline starts
    results = list(run_isolated(misbehave, tasks, workers=2, seconds_allowed=5, **preparation))
    crashed, expired = Lost("crashed its process 2 times"), Lost("took longer than 5 s")
    assert results == ["fine", crashed, "also fine", expired, expired, crashed, "lost once", "fine in the end"]
    assert {way: (tmp_path / way).stat().st_size for way in ("segfault", "hang", "lost once")} == {
        "segfault": 2,  # tried again: the system may have killed the process for another reason
        "hang": 1,  # not tried again: it would take the time limit twice
        "lost once": 2,
    }
    assert not workers_alive()


def test_an_exception_of_the_function_is_raised_and_ends_the_workers():
    """A full disk would be reported as a damaged video, once per video."""
    with pytest.raises(OSError, match="No space for"):
        list(run_isolated(fail, [(k,) for k in range(9)], workers=2, seconds_allowed=600))
    assert not workers_alive()


def test_closing_early_ends_the_workers(tmp_path):
    """Ctrl-C would leave processes behind that keep the files locked."""
    tasks = [(way, str(tmp_path)) for way in ("a", "hang", "hang")]
    with contextlib.closing(run_isolated(misbehave, tasks, workers=2, seconds_allowed=600)) as results:
        assert next(results) == "a"
    assert not workers_alive()


def test_results_that_come_all_at_once(monkeypatch):
    """A run whose results were waiting for a slow one would end with the videos before it."""

    class Slow(Isolated):
        def _collect(self):
            concurrent.futures.wait([future for worker in self.workers for _, _, future in worker.queue])
            super()._collect()

    monkeypatch.setattr(isolation, "UNYIELDED", 2)
    with contextlib.closing(Slow(double, 600, (int, ()), lambda: None)) as processes:
        processes.start(2)
        for count in (9, 4):  # the processes are used again
            assert [value for value, _ in processes.run((k,) for k in range(count))] == [2 * k for k in range(count)]


def wait_for(path):
    while not Path(path).exists():
        time.sleep(0.01)
    return "done"


def test_suspended_time_does_not_count(tmp_path, monkeypatch):
    """After Ctrl-Z and fg, or a suspended machine, the videos being read would count as timed out."""

    class Clock:
        frozen = 0

        def monotonic(self):
            return time.monotonic() + self.frozen

    def freezes_once(futures, timeout, *options):
        if clock.frozen:
            (tmp_path / "go").touch()
        elif started:
            clock.frozen = 1000
        started.append(len(futures))
        return concurrent.futures.wait(futures, timeout, *options)

    clock, started = Clock(), []
    monkeypatch.setattr(isolation, "time", clock)
    monkeypatch.setattr(isolation, "wait", freezes_once)
    assert list(run_isolated(wait_for, [(tmp_path / "go",)], workers=1, seconds_allowed=600)) == ["done"]
    assert clock.frozen


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


def test_ctrl_c_right_after_a_submission_leaves_no_worker(tmp_path, monkeypatch):
    """SIGINT between the submission of a task and its registration would hang the run or leave a worker behind."""

    class PressesAfterSubmit(ProcessPoolExecutor):
        def submit(self, function, *arguments):
            future = super().submit(function, *arguments)
            if function is misbehave and not pressed:
                pressed.append(os.kill(os.getpid(), signal.SIGINT))
            return future

    pressed = []
    monkeypatch.setattr(isolation, "ProcessPoolExecutor", PressesAfterSubmit)
    tasks = [("hang", str(tmp_path))] * 3
    with pytest.raises(KeyboardInterrupt), between_steps() as check:
        list(run_isolated(misbehave, tasks, workers=2, seconds_allowed=600, check=check))
    assert pressed
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
