"""Tasks on a cluster: results in order, and only the tasks that kill workers are lost, whatever workers do."""

import itertools
import queue
import random
from collections import deque

import pytest

from utils.base import cluster, cluster_worker
from utils.base.cluster import QUEUED, Cluster, run_on_cluster
from utils.base.cluster_worker import CODE, Job, describe, digest_when_loaded
from utils.base.dask_connection import Failed, Gone, Returned, Workers
from utils.base.errors import UserError
from utils.base.isolation import UNYIELDED, Lost

ADDRESS = "tcp://scheduler:8786"


class FakeDask:
    """Stands for a Connection: its workers run calls in this process, in random order.

    A worker dies of a task whose number is in `poison`, and another one takes its place. Dask notices this by itself
    (Workers), or reports the call as failed if `gives_up`.
    """

    def __init__(self, threads=(1, 1), *, poison=(), gives_up=False, seed=0):
        self.threads = {f"worker{k}": count for k, count in enumerate(threads)}
        self.names = (f"worker{k}" for k in itertools.count(len(threads)))
        self.poison, self.gives_up, self.random = poison, gives_up, random.Random(seed)
        self.pending, self.descriptions, self.deaths = {}, {}, []
        self.values_taken, self.last_call, self.most_pending, self.idle = 0, None, 0, 0
        self.batches = []  # (tasks, number of other calls on the worker)
        self.news = deque([Workers(dict(self.threads))])
        self.events = self

    def connect(self, scheduler, *, workers, values):
        return self

    def call(self, number, address, function, *arguments):
        self.pending[number] = (address, function, arguments)
        self.most_pending = max(self.most_pending, len(self.pending))

    def cancel(self, number):
        self.pending.pop(number, None)

    def taken(self):
        self.values_taken += 1

    def close(self, *last_call):
        self.last_call = last_call

    def get(self, timeout):
        if self.news:
            return self.news.popleft()
        if not self.pending:
            self.idle += 1
            assert self.idle < 100, "the run waits for ever"
            if not self.threads:
                raise queue.Empty
            return Workers(dict(self.threads))
        number = self.random.choice(sorted(self.pending))
        address, function, arguments = self.pending.pop(number)
        if function is describe:
            found = self.descriptions.get(address, describe(*arguments))
            return Failed(number, found, False) if isinstance(found, Exception) else Returned(number, found)
        job, tasks = arguments
        neighbours = [call for call in self.pending.values() if call[0] == address]
        self.batches.append((tasks, len(neighbours)))
        if any(task[0] in self.poison for task in tasks):
            return self.die(number, address)
        try:
            return Returned(number, ([job.function(*task) for task in tasks], None))
        except Exception as error:
            return Failed(number, error, False)

    def die(self, number, address):
        self.deaths.append(address)
        if self.gives_up:  # the worker is started again at the same address
            return Failed(number, RuntimeError("killed worker"), True)
        self.threads[next(self.names)] = self.threads.pop(address)
        return Workers(dict(self.threads))

    def join(self, address, **description):
        self.threads[address] = 1
        self.news.append(Workers(dict(self.threads)))


def double(number):
    return 2 * number


@pytest.fixture
def run(monkeypatch):
    """A function that runs tasks on a FakeDask and returns the results."""

    def run(dask, tasks=range(50), function=double, batch=4, paths=(), check=lambda: None):
        monkeypatch.setattr(cluster, "Connection", dask.connect)
        tasks = list(tasks)
        found = run_on_cluster(
            Cluster(ADDRESS, (), ("numpy",), paths),
            Job(function, int, ()),
            ((task,) for task in tasks),
            count=len(tasks),
            batch=batch,
            check=check,
        )
        return list(found)

    return run


@pytest.mark.parametrize("threads", [(1,), (1, 1), (4, 1, 2)])
@pytest.mark.parametrize("seed", range(5))
def test_results_come_in_order_and_few_tasks_wait(run, threads, seed):
    """Rows would get the labels of other rows; or all videos would be sent to the first worker at once."""
    dask = FakeDask(threads, seed=seed)
    assert run(dask) == [2 * k for k in range(50)]
    assert sorted(task[0] for tasks, _ in dask.batches for task in tasks) == list(range(50))
    assert max(len(tasks) for tasks, _ in dask.batches) <= 4
    assert dask.most_pending <= QUEUED * sum(threads)
    assert dask.values_taken == len(dask.batches) + len(threads)  # room is made for each value
    assert dask.last_call[0] is cluster_worker.end


def test_a_slow_task_holds_back_the_others_in_time(run):
    """Results that cannot be yielded yet would fill the memory."""

    class SlowFirst(FakeDask):
        def get(self, timeout):
            others = [number for number, call in self.pending.items() if call[1] is describe or call[2][1][0] != (0,)]
            if self.news or not others or self.deaths:
                return super().get(timeout)
            held = {number: call for number, call in self.pending.items() if number not in others}
            self.pending = {number: self.pending[number] for number in others}
            try:
                return super().get(timeout)
            finally:
                self.pending |= held

    dask = SlowFirst((1, 1))
    assert run(dask, range(3000), batch=1) == [2 * k for k in range(3000)]
    before = next(k for k, (tasks, _) in enumerate(dask.batches) if tasks == [(0,)])
    assert UNYIELDED <= before <= UNYIELDED + 2 * QUEUED


@pytest.mark.parametrize("gives_up", [False, True])
@pytest.mark.parametrize("threads", [(1,), (1, 1), (4, 1, 2)])
@pytest.mark.parametrize("seed", range(5))
def test_only_tasks_that_kill_workers_are_lost(run, threads, seed, gives_up):
    """Videos that were on a machine together with a bad one would be missing in the arrays."""
    dask = FakeDask(threads, poison=(7, 31), gives_up=gives_up, seed=seed)
    found = run(dask)
    lost = Lost("crashed its worker 2 times")
    assert found == [lost if k in (7, 31) else 2 * k for k in range(50)]
    assert len(dask.deaths) <= 6  # each once with others, and twice alone
    alone = [(tasks, others) for tasks, others in dask.batches if tasks in ([(7,)], [(31,)])]
    assert len([others for _, others in alone if others == 0]) >= 4


def test_exceptions_of_the_function_end_the_run(run):
    """A full disk would be reported as a damaged video, once per video."""
    dask = FakeDask()
    with pytest.raises(ZeroDivisionError):
        run(dask, function=lambda number: 1 // (number - 20))
    assert dask.last_call[0] is cluster_worker.end


def test_check_can_end_the_run(run):
    """Ctrl-C would wait for the cluster."""
    calls = itertools.count()

    def check():
        if next(calls) == 9:
            raise KeyboardInterrupt

    dask = FakeDask()
    with pytest.raises(KeyboardInterrupt):
        run(dask, check=check)
    assert dask.last_call[0] is cluster_worker.end


def test_a_scheduler_that_goes_away(run):
    """The run would wait for ever."""
    dask = FakeDask()
    dask.news.append(Gone(True, "closed"))
    with pytest.raises(UserError, match=r"^--scheduler: tcp://scheduler:8786 has gone; rerun the same command"):
        run(dask)


def described(**changes):
    """What a worker answers, apart from changes."""
    return describe((), ("numpy",), ("/videos",)) | {"/videos": None} | changes


PROBLEMS = {
    "must have Python 3.*, found 2.7": described(Python="2.7", **{CODE: "of other syntax trees"}),
    "must have the code in ": described(**{CODE: "other"}),
    "must have numpy 2.*, found 1.26": described(numpy="1.26"),
    "must have numpy 2.*, found none": described(numpy=None),
    "must find this project in /.* requirements .No module named 'utils'.": ModuleNotFoundError(
        "No module named 'utils'"
    ),
    "failed: no memory": RuntimeError("no memory"),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_worker_that_differs_is_refused(run, capsys, problem):
    """Its results would differ unnoticed, or its errors be hard to understand."""
    dask = FakeDask()
    dask.descriptions["worker1"] = PROBLEMS[problem]
    with pytest.raises(UserError, match=f"^--scheduler: worker worker1 {problem}"):
        run(dask, paths=("/videos",))
    dask = FakeDask(())
    dask.descriptions["first"] = PROBLEMS[problem]
    dask.join("first")
    with pytest.raises(UserError, match=f"^--scheduler: worker first {problem}"):
        run(dask, paths=("/videos",))
    dask = FakeDask()
    dask.descriptions["late"] = PROBLEMS[problem]
    calls = itertools.count()

    def check():
        if next(calls) == 9:
            dask.join("late")

    assert run(dask, paths=("/videos",), check=check) == [2 * k for k in range(50)]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("note: worker late is not used: it must") or problem.startswith("failed")


def test_a_path_that_a_worker_does_not_see(run, tmp_path):
    """All videos would be listed as unreadable."""
    dask = FakeDask()
    dask.descriptions["worker0"] = describe((), ("numpy",), (str(tmp_path),)) | {str(tmp_path): None}
    with pytest.raises(UserError, match=f"worker worker0 must find {tmp_path}: videos, arrays and models must have"):
        run(dask, paths=(str(tmp_path),))


def test_waiting_for_workers_is_announced_once(run, monkeypatch, capsys):
    """The command would seem to hang, without a hint what is missing."""
    monkeypatch.setattr(cluster, "SECONDS_WITHOUT_WORKERS", -1)
    dask = FakeDask(())
    checks = itertools.count()

    def check():
        if next(checks) == 5:
            dask.join("first")

    assert run(dask, check=check) == [2 * k for k in range(50)]
    assert capsys.readouterr().err == f"waiting for workers; start one by: dask worker {ADDRESS}\n"


def test_the_digest_is_that_of_the_code_that_was_loaded():
    """A worker that runs for days would compute with old code after an update, unnoticed."""
    digest_when_loaded.cache_clear()
    first = describe(("utils.video.extraction_worker",), (), ())[CODE]
    assert describe(("utils.video.video",), (), ())[CODE] != first
    assert describe(("utils.video.extraction_worker",), (), ())[CODE] == first
