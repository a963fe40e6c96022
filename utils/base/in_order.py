"""Tasks that end in any order and whose results are yielded in order; one that fails is tried again alone."""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

TRIES = 2  # attempts per task: a process may also die for other reasons, for example when the system runs out of memory
UNYIELDED = 1024  # limit of tasks started but not yet yielded; results are small


@dataclass(frozen=True)
class Lost:
    """The result of a task whose process died, or was killed because the task ran out of time."""

    reason: str
    out_of_time: bool = False


@dataclass
class InOrder:
    """The tasks of a run. A task has an index, its place in the order."""

    waiting: Iterator[tuple[int, tuple]]  # (index, task), not yet started
    tries: int = TRIES
    again: list[tuple[int, tuple]] = field(default_factory=list)  # failed tasks
    is_alone: bool = False  # while failed tasks are tried again
    failures: Counter[int] = field(default_factory=Counter)  # by index
    finished: dict[int, object] = field(default_factory=dict)  # results by index, not yet yielded
    started: int = 0
    yielded: int = 0

    def next_tasks(self, count: int, *, running: int) -> list[tuple[int, tuple]]:
        """Return up to `count` tasks to start while `running` others run; a failed task only if it is alone."""
        self.is_alone = self.is_alone and bool(running or self.again)
        if not self.is_alone:
            tasks = list(itertools.islice(self.waiting, min(count, UNYIELDED - self.started + self.yielded)))
            self.started += len(tasks)
            if tasks:
                return tasks
        if running or not self.again:
            return []
        self.is_alone = True
        return [self.again.pop(0)]

    def failed(self, index: int, task: tuple, lost: Lost) -> None:
        """Try a task again, or let `lost` be its result."""
        self.failures[index] += 1
        if self.failures[index] < self.tries:
            self.again.append((index, task))
        else:
            self.finished[index] = lost

    def results(self) -> Iterator[object]:
        """Yield the results that are next in order."""
        while self.yielded in self.finished:
            self.yielded += 1
            yield self.finished.pop(self.yielded - 1)
