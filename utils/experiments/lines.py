"""The lines of the result table: their cells, the choice on validation clips, and intervals over runs."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from utils.evaluation import intervals
from utils.evaluation.intervals import Comparison, Interval
from utils.evaluation.tables import unique
from utils.experiments.cells import Cell, Row
from utils.experiments.provenance import CellSeen
from utils.runs.seen import Seen, over_folds, united


@dataclass(frozen=True)
class Line:
    """A line of the table with its finished cells by (seed, fold).

    In lines with the role "chosen" the cells have different rows: in each fold the best one on validation clips. seen:
    what the cells have seen of their test and validation clips, together.
    """

    name: str
    role: str
    teacher: str | None
    cells: dict[tuple[int, str], Cell]
    seen: CellSeen
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


def lines_of(cells: Sequence[Cell], seen: dict[Cell, CellSeen]) -> tuple[list[Line], list[dict]]:
    """Return the lines of the table, and the temperature and alpha chosen for each teacher and fold.

    A given teacher without scores for the test clips has no line. Students that have seen test clips, or whose
    validation clips are training clips, are not chosen.
    """
    by_row = defaultdict(dict)
    for cell in cells:
        by_row[cell.row][cell.seed, cell.fold] = cell
    lines = [
        Line(row.name, row.role, row.teacher, found, seen_by_runs(found, seen), row) for row, found in by_row.items()
    ]
    lines = [line for line in lines if all(test["correct"] is not None for test in line.tests.values())]
    chosen = []
    for teacher in unique(line.teacher for line in lines if line.role == "distilled"):
        students = [line for line in lines if line.role == "distilled" and line.teacher == teacher]
        students = [line for line in students if not any(len(part.seen) for part in line.seen)]
        if len(students) <= 1:
            continue
        best = {}
        for fold in unique(fold for _, fold in students[0].cells):
            row, found = choose(students, fold)
            best |= found
            chosen.append({"teacher": teacher, "fold": fold, "temperature": row.temperature, "alpha": row.alpha})
        name = f"{students[0].name.rpartition(', T ')[0]}, T and alpha by validation"
        lines.append(Line(name, "chosen", teacher, best, seen_by_runs(best, seen)))
    return lines, chosen


def seen_by_runs(cells: dict[tuple[int, str], Cell], seen: dict[Cell, CellSeen]) -> CellSeen:
    """Return what cells by (seed, fold) have seen together: united over the seeds of a fold, added over the folds."""

    def together(part: str) -> Seen:
        by_fold = defaultdict(list)
        for (_, fold), cell in cells.items():
            by_fold[fold].append(getattr(seen[cell], part))
        return over_folds([united(found) for found in by_fold.values()])

    return CellSeen(together("test"), together("validation"))


def choose(students: Sequence[Line], fold: str) -> tuple[Row, dict[tuple[int, str], Cell]]:
    """Return the row with the best mean validation accuracy (then loss) over the seeds of a fold, and its cells.

    Other folds are not considered: their validation clips may be test clips of this fold. A row with a loss that is not
    finite (None) is chosen only if there is no other.
    """

    def merit(line: Line) -> tuple[float, float]:
        trained = [cell.read("trained") for (_, of), cell in line.cells.items() if of == fold]
        losses = [t["validation_loss"] for t in trained]
        if None in losses:
            return -1.0, 0.0
        accuracy = np.mean([t["validation_accuracy"] for t in trained])
        return round(float(accuracy), 9), -float(np.mean(losses))

    best = max(students, key=merit)
    return best.row, {run: cell for run, cell in best.cells.items() if run[1] == fold}


def summarise(line: Line, alone: Line, teacher: Line | None, groups: np.ndarray | None) -> dict:
    """Return the values of a line in results.json; shares are 0..1.

    Differences from a line that has seen test clips, and ratios of them, are None.
    """
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
        "seen": line.seen.test.as_dict(),
        "validation_clips_trained_on": len(line.seen.validation.seen),
        "by_run": [{"seed": seed, "fold": fold, "test": test["top1"]} for (seed, fold), test in tests.items()],
        "clips": sum({fold: len(test["rows"]) for (_, fold), test in tests.items()}.values()),
        "parameters": first["parameters"],
        "multiply_accumulates": first["multiply_accumulates"],
        "megabytes": first["megabytes"],
        "minus_alone": None,
        "minus_teacher": None,
        "gap_closed": None,
    }
    if line.role == "alone" or has_seen(line) or has_seen(alone):
        return row
    gain = difference(tests, alone.tests, groups)
    row["minus_alone"] = as_dict(gain)
    if line.role in ("distilled", "chosen") and teacher is not None and not has_seen(teacher):
        row["minus_teacher"] = as_dict(difference(tests, teacher.tests, groups))
        gap = difference(teacher.tests, alone.tests, groups)
        if gap.verdict == "significant" and gap.difference.estimate > 0:
            row["gap_closed"] = gain.difference.estimate / gap.difference.estimate
    return row


def as_dict(comparison: Comparison) -> dict:
    """Return a difference as plain values: those of its interval, and its test."""
    found = asdict(comparison)
    return found.pop("difference") | found


def has_seen(line: Line) -> bool:
    """Return whether a line is known to have seen test clips."""
    return len(line.seen.test.seen) > 0


def accuracy(tests: dict[tuple[int, str], dict], groups: np.ndarray | None) -> Interval:
    """Return the mean accuracy over runs with the interval that suits the runs.

    - One run, or equal predictions for all seeds (a given teacher): over the groups of the clips.
    - Several seeds of one fold: t over seeds.
    - Several folds with disjoint test clips and known groups: over all groups, where the value of a clip is the share
      of seeds that recognise it.
    - Other folds: t over folds.
    """
    test, *others = tests.values()
    if all((other["rows"], other["correct"]) == (test["rows"], test["correct"]) for other in others):
        return intervals.accuracy_interval(np.array(test["correct"]), keys(test, groups))
    pooled = pool({run: np.array(test["correct"], float) for run, test in tests.items()}, tests, groups)
    if pooled is not None:
        return intervals.accuracy_interval(*pooled)
    return intervals.over_runs({run: test["top1"] for run, test in tests.items()})


def difference(tests: dict, others: dict, groups: np.ndarray | None) -> Comparison:
    """Compare `tests` with `others`, paired by run, with an interval as in `accuracy`."""
    if len(tests) == 1:
        (test,), (other,) = tests.values(), others.values()
        return intervals.compare(test["correct"], other["correct"], keys(test, groups))
    gains = {run: np.subtract(test["correct"], others[run]["correct"], dtype=float) for run, test in tests.items()}
    pooled = pool(gains, tests, groups)
    if pooled is not None:
        return intervals.compare_gains(*pooled)
    return intervals.paired_over_runs(*({run: test["top1"] for run, test in each.items()} for each in (tests, others)))


def keys(test: dict, groups: np.ndarray | None) -> np.ndarray | None:
    return None if groups is None else groups[test["rows"]]


def pool(
    values: dict[tuple[int, str], np.ndarray], tests: dict, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the mean over seeds of one value per run and test clip, and the groups of the clips, both (N,).

    None if there is one fold, if folds overlap or if groups are unknown.
    """
    by_fold, rows = defaultdict(list), {}
    for (seed, fold), numbers in values.items():
        by_fold[fold].append(numbers)
        rows[fold] = tests[seed, fold]["rows"]
    all_rows = np.concatenate(list(rows.values()))
    if groups is None or len(by_fold) == 1 or len(np.unique(all_rows)) < len(all_rows):
        return None
    return np.concatenate([np.mean(numbers, axis=0) for numbers in by_fold.values()]), groups[all_rows]
