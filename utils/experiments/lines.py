"""The lines of an experiment's table: which cells each stands for, the choice by validation, intervals over runs."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from utils.evaluation import intervals
from utils.evaluation.intervals import Interval
from utils.evaluation.tables import unique
from utils.experiments.cells import Cell, Row


@dataclass(frozen=True)
class Line:
    """A line of the table: its name and one finished cell for each (seed, fold).

    For "chosen" lines these cells are of different rows: in each fold the one that validation prefers.
    """

    name: str
    role: str
    teacher: str | None
    cells: dict[tuple[int, str], Cell]
    row: Row | None = None

    @property
    def tests(self) -> dict[tuple[int, str], dict]:
        return {run: cell.read("tested") for run, cell in self.cells.items()}

    @property
    def trainings(self) -> list[dict]:
        return [cell.read("trained") for cell in self.cells.values()]

    @property
    def validation_accuracy(self) -> float:
        return float(np.mean([trained["validation_accuracy"] for trained in self.trainings]))


def lines_of(cells: Sequence[Cell]) -> tuple[list[Line], list[dict]]:
    """The lines of the table, and for each teacher and fold the temperature and alpha that validation prefers.

    A given teacher without answers for the test clips has no line.
    """
    by_row = defaultdict(dict)
    for cell in cells:
        by_row[cell.row][cell.seed, cell.fold] = cell
    lines = [Line(row.name, row.role, row.teacher, found, row) for row, found in by_row.items()]
    lines = [line for line in lines if all(test["correct"] is not None for test in line.tests.values())]
    chosen = []
    for teacher in unique(line.teacher for line in lines if line.role == "distilled"):
        students = [line for line in lines if line.role == "distilled" and line.teacher == teacher]
        if len(students) == 1:
            continue
        best = {}
        for fold in unique(fold for _, fold in students[0].cells):
            row, found = choose(students, fold)
            best |= found
            chosen.append({"teacher": teacher, "fold": fold, "temperature": row.temperature, "alpha": row.alpha})
        name = f"{students[0].name.partition(', T ')[0]}, T and alpha by validation"
        lines.append(Line(name, "chosen", teacher, best))
    return lines, chosen


def choose(students: Sequence[Line], fold: str) -> tuple[Row, dict[tuple[int, str], Cell]]:
    """The row that is best on the fold's validation clips, by mean accuracy over the seeds, then by mean loss.

    A fold looks at its own validation clips alone: those of another fold may be its test clips.
    """

    def merit(line: Line) -> tuple[float, float]:
        trained = [cell.read("trained") for (_, of), cell in line.cells.items() if of == fold]
        accuracy = np.mean([t["validation_accuracy"] for t in trained])
        return round(float(accuracy), 9), -float(np.mean([t["validation_loss"] for t in trained]))

    best = max(students, key=merit)
    return best.row, {run: cell for run, cell in best.cells.items() if run[1] == fold}


def summarise(line: Line, alone: Line, teacher: Line | None, groups: np.ndarray | None) -> dict:
    """Everything that the table says of a line, as plain values; shares are 0..1."""
    tests = line.tests
    first = next(iter(tests.values()))
    row = {
        "name": line.name,
        "role": line.role,
        "teacher": line.teacher,
        "temperature": line.row.temperature if line.row else None,
        "alpha": line.row.alpha if line.row else None,
        "validation_accuracy": line.validation_accuracy,
        "interval": asdict(accuracy(tests, groups)),
        "by_run": [{"seed": seed, "fold": fold, "test": test["top1"]} for (seed, fold), test in tests.items()],
        "clips": sum({fold: len(test["rows"]) for (_, fold), test in tests.items()}.values()),
        "parameters": first["parameters"],
        "multiply_accumulates": first["multiply_accumulates"],
        "megabytes": first["megabytes"],
        "minus_alone": None,
        "minus_teacher": None,
        "gap_closed": None,
    }
    if line.role == "alone":
        return row
    gain = difference(tests, alone.tests, groups)
    row["minus_alone"] = asdict(gain)
    if line.role in ("distilled", "chosen") and teacher is not None:
        row["minus_teacher"] = asdict(difference(tests, teacher.tests, groups))
        gap = difference(teacher.tests, alone.tests, groups)
        if gap.low is not None and gap.low > 0:
            row["gap_closed"] = gain.estimate / gap.estimate
    return row


def accuracy(tests: dict[tuple[int, str], dict], groups: np.ndarray | None) -> Interval:
    """The mean accuracy over runs, with the interval that the runs allow.

    One run, or a given teacher's answers, equal for all seeds: over its clips' groups. Several seeds of one fold: t
    over the seeds. Several folds whose test clips are disjoint and have groups: over all groups, a clip counting as the
    share of seeds that recognise it; else t over folds.
    """
    test, *others = tests.values()
    if all((other["rows"], other["correct"]) == (test["rows"], test["correct"]) for other in others):
        return intervals.accuracy_interval(np.array(test["correct"], bool), keys(test, groups))
    pooled = over_clips({run: np.array(test["correct"], float) for run, test in tests.items()}, tests, groups)
    return pooled or intervals.over_runs({run: test["top1"] for run, test in tests.items()})


def difference(tests: dict, others: dict, groups: np.ndarray | None) -> Interval:
    """The first's accuracy minus the second's, run by run, with an interval of the same kind as `accuracy`."""
    if len(tests) == 1:
        (test,), (other,) = tests.values(), others.values()
        correct = [np.array(found["correct"], bool) for found in (test, other)]
        return intervals.compare(*correct, keys(test, groups)).difference
    gains = {run: np.subtract(test["correct"], others[run]["correct"], dtype=float) for run, test in tests.items()}
    pooled = over_clips(gains, tests, groups)
    scores = ({run: test["top1"] for run, test in found.items()} for found in (tests, others))
    return pooled or intervals.paired_over_runs(*scores)


def keys(test: dict, groups: np.ndarray | None) -> np.ndarray | None:
    return None if groups is None else groups[test["rows"]]


def over_clips(values: dict[tuple[int, str], np.ndarray], tests: dict, groups: np.ndarray | None) -> Interval | None:
    """The interval over groups of values that each run has for its test clips; None if folds do not allow it."""
    by_fold, rows = defaultdict(list), {}
    for (seed, fold), numbers in values.items():
        by_fold[fold].append(numbers)
        rows[fold] = tests[seed, fold]["rows"]
    all_rows = np.concatenate(list(rows.values()))
    if groups is None or len(by_fold) == 1 or len(np.unique(all_rows)) < len(all_rows):
        return None
    means = np.concatenate([np.mean(numbers, axis=0) for numbers in by_fold.values()])
    return intervals.mean_over_groups(means, groups[all_rows])
