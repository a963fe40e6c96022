"""Tasks on a cluster: results in order, and only the tasks that kill workers are lost, whatever workers do."""

import functools
import itertools
import random
from collections import Counter
from concurrent.futures import Future

import pytest

from utils.base import cluster, cluster_worker
from utils.base.cluster import QUEUED, Cluster, run_on_cluster
from utils.base.cluster_worker import CODE, Job, describe, digest_when_loaded
from utils.base.errors import UserError
from utils.base.in_order import UNYIELDED, Lost

ADDRESS = "tcp://scheduler:8786"


class FakeDask:
    """Stands for a Connection: its workers run calls in this process, in random order.

    A worker dies of a task whose number is in `poison`, and another one takes its place. Dask blames each batch that
    may have been on it, and gives up on a batch that it has blamed more than `allowed` times.
    """

    def __init__(self, threads=(1, 1), *, poison=(), allowed=3, seed=0):
        self.threads = {f"worker{k}": count for k, count in enumerate(threads)}
        self.names = (f"worker{k}" for k in itertools.count(len(threads)))
        self.poison, self.allowed, self.random = poison, allowed, random.Random(seed)
        self.pending, self.blamed, self.descriptions, self.deaths = {}, Counter(), {}, 0
        self.batches, self.most_pending, self.last_call, self.is_gone = [], 0, None, False

    def connect(self, scheduler, threads):
        return self

    def start(self, action):
        future = Future()
        self.pending[future] = action
        self.most_pending = max(self.most_pending, len(self.batches_pending()))
        return future

    def workers(self, delay):
        return lambda future: future.set_result(dict(self.threads))

    def ask(self, address, function, *arguments):
        return lambda future: future.set_result(self.descriptions.get(address) or function(*arguments))

    def perform(self, workers, function, job, tasks):
        return functools.partial(self.run, workers, job, tasks)

    def close(self, *last_call):
        self.last_call = last_call

    def batches_pending(self):
        is_batch = {future: isinstance(action, functools.partial) for future, action in self.pending.items()}
        return [future for future, found in is_batch.items() if found and not future.cancelled()]

    def require(self):
        """Let a random call make progress."""
        if self.is_gone:
            raise UserError("--scheduler: gone")
        future = self.random.choice(list(self.pending))
        action = self.pending.pop(future)
        if not future.cancelled():
            action(future)

    def run(self, workers, job, tasks, future):
        if workers.isdisjoint(self.threads):
            self.pending[future] = functools.partial(self.run, workers, job, tasks)
            return
        self.batches.append((tasks, len(self.batches_pending())))
        if any(task[0] in self.poison for task in tasks):
            self.die(self.random.choice(sorted(workers & self.threads.keys())))
            self.pending[future] = functools.partial(self.run, workers, job, tasks)
            for other in [future, *self.random.sample(neighbours := self.batches_pending(), len(neighbours) // 2)]:
                self.blamed[other] += 1
                if self.blamed[other] > self.allowed and other in self.pending:
                    del self.pending[other]
                    other.set_result(None)
            return
        try:
            future.set_result([job.function(*task) for task in tasks])
        except Exception as error:
            future.set_exception(error)

    def die(self, address):
        self.deaths += 1
        self.threads[next(self.names)] = self.threads.pop(address)


def double(number):
    return 2 * number


@pytest.fixture
def run(monkeypatch):
    """A function that runs tasks on a FakeDask and returns the results."""

    def run(dask, tasks=range(50), function=double, batch=4, paths=(), check=lambda: None):
        monkeypatch.setattr(cluster, "Connection", dask.connect)
        monkeypatch.setattr(cluster, "CHECK_INTERVAL", 0)  # calls end when they are asked, not in time
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
    assert dask.last_call[0] is cluster_worker.end


def test_a_slow_task_holds_back_the_others_in_time(run):
    """Results that cannot be yielded yet would fill the memory."""

    class SlowFirst(FakeDask):
        def run(self, workers, job, tasks, future):
            if tasks == [(0,)] and len(self.batches_pending()):
                self.pending[future] = functools.partial(self.run, workers, job, tasks)
            else:
                super().run(workers, job, tasks, future)

    dask = SlowFirst((1, 1))
    assert run(dask, range(3000), batch=1) == [2 * k for k in range(3000)]
    before = next(k for k, (tasks, _) in enumerate(dask.batches) if tasks == [(0,)])
    assert before == UNYIELDED - 1


@pytest.mark.parametrize("allowed", [0, 3])
@pytest.mark.parametrize("threads", [(1,), (1, 1), (4, 1, 2)])
@pytest.mark.parametrize("seed", range(5))
def test_only_tasks_that_kill_workers_are_lost(run, threads, seed, allowed):
    """Videos that were on a machine together with a bad one would be missing in the arrays."""
    dask = FakeDask(threads, poison=(7, 31), allowed=allowed, seed=seed)
    lost = Lost("crashed its worker")
    assert run(dask) == [lost if k in (7, 31) else 2 * k for k in range(50)]
    alone = [(tasks, others) for tasks, others in dask.batches if tasks in ([(7,)], [(31,)])]
    assert len([others for _, others in alone if others == 0]) >= 4
    assert dask.deaths <= 6 * (allowed + 1)


def twice(number, calls):
    """Return what a child process returns: the tasks 7 and 31 fail, the second one once."""
    calls[number] += 1
    return Lost("reason") if number == 7 or (number == 31 and calls[number] == 1) else number


def test_a_task_whose_process_fails_is_tried_again_alone(run):
    """A video that ran out of time on a busy machine would be missing in the arrays."""
    dask, calls = FakeDask((2, 2)), Counter()
    found = run(dask, function=lambda number: twice(number, calls))
    assert found == [Lost("reason") if k == 7 else k for k in range(50)]
    assert calls == dict.fromkeys(range(50), 1) | {7: 2, 31: 2}
    assert dask.batches[-2:] == [([(7,)], 0), ([(31,)], 0)]


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
    dask.is_gone = True
    with pytest.raises(UserError, match=r"^--scheduler: gone"):
        run(dask)


def described(**changes):
    """What a worker answers, apart from changes."""
    return describe((), ("numpy",), ("/videos",)) | {"the path /videos": None} | changes


PROBLEMS = {
    "must have Python 3.*, found 2.7": described(Python="2.7", **{CODE: "of other syntax trees"}),
    "must have the code with the digest .*, found other; restart it": described(**{CODE: "other"}),
    "must have numpy 2.*, found 1.26": described(numpy="1.26"),
    "must have numpy 2.*, found none": described(numpy=None),
    "failed: No module named 'utils'; it needs this project in /": ModuleNotFoundError("No module named 'utils'"),
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
    dask.threads["first"] = 1
    with pytest.raises(UserError, match=f"^--scheduler: worker first {problem}"):
        run(dask, paths=("/videos",))
    dask = FakeDask()
    dask.descriptions["late"] = PROBLEMS[problem]
    calls = itertools.count()

    def check():
        if next(calls) == 9:
            dask.threads["late"] = 1

    assert run(dask, paths=("/videos",), check=check) == [2 * k for k in range(50)]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("note: worker late is not used: it must") or problem.startswith("failed")


def test_a_path_that_a_worker_does_not_see(run, tmp_path):
    """All videos would be listed as unreadable."""
    dask = FakeDask()
    dask.descriptions["worker0"] = describe((), ("numpy",), (str(tmp_path),)) | {f"the path {tmp_path}": None}
    with pytest.raises(UserError, match=f"worker worker0 must have the path {tmp_path} of this machine, found none"):
        run(dask, paths=(str(tmp_path),))


def test_waiting_for_workers_is_announced_once(run, monkeypatch, capsys):
    """The command would seem to hang, without a hint what is missing."""
    monkeypatch.setattr(cluster, "SECONDS_WITHOUT_WORKERS", -1)
    dask = FakeDask(())
    checks = itertools.count()

    def check():
        if next(checks) == 5:
            dask.threads["first"] = 1

    assert run(dask, check=check) == [2 * k for k in range(50)]
    assert capsys.readouterr().err == f"waiting for workers; start one by: dask worker {ADDRESS}\n"


def test_the_digest_is_that_of_the_code_that_was_loaded():
    """A worker that runs for days would compute with old code after an update, unnoticed."""
    digest_when_loaded.cache_clear()
    first = describe(("utils.video.extraction_worker",), (), ())[CODE]
    assert describe(("utils.video.video",), (), ())[CODE] != first
    assert describe(("utils.video.extraction_worker",), (), ())[CODE] == first
