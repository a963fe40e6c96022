"""The numbers of the result table, on cells with known predictions."""

import json

import numpy as np
import pytest
from scipy import stats

from utils.evaluation.intervals import accuracy_interval
from utils.experiments.cells import Cell, Row
from utils.experiments.lines import accuracy, difference, lines_of, summarise
from utils.experiments.provenance import CellSeen
from utils.runs.seen import Seen

ALONE, TEACHER = Row("alone"), Row("teacher", "scratch")
COOL, WARM, HOT = (Row("distilled", "scratch", temperature, 0.1) for temperature in (1.0, 5.0, 20.0))
FOLDS = {"logo:1": [0, 1], "logo:2": [2, 3]}


@pytest.fixture
def make_cell(tmp_path):
    """Write a finished cell: correct (1) and wrong (0) predictions for the clips `rows`, and validation results."""

    def make(row, fold, seed, rows, correct, validation=0.5, loss=1.0):
        cell = Cell(row, fold, seed, {"row": str(row), "fold": fold, "seed": seed}, tmp_path, {})
        cell.write("trained", {"validation_accuracy": validation, "validation_loss": loss, "seconds": 1.0})
        tested = {"top1": float(np.mean(correct)), "rows": rows, "correct": correct}
        tested |= {"parameters": 10, "multiply_accumulates": 20, "megabytes": 0.1}
        cell.write("tested", tested)
        return cell

    return make


def seen_by_cells(cells, clips=()):
    """Return what each cell has seen: `clips` among its test rows, no validation clip."""
    found = {}
    for cell in cells:
        rows = np.array(cell.read("tested")["rows"])
        found[cell] = CellSeen(Seen(rows, np.intersect1d(rows, clips)), Seen(rows[:0], rows[:0]))
    return found


def line(cells, row, clips=()):
    return next(line for line in lines_of(cells, seen_by_cells(cells, clips))[0] if line.row == row)


def test_folds_are_pooled_over_their_groups(make_cell):
    """Otherwise the interval would come from two folds, or treat clips of one person as independent."""
    groups = np.repeat(np.arange(12), 3)
    rng = np.random.default_rng(0)
    correct = rng.integers(0, 2, (2, 36))  # by seed
    cells = [
        make_cell(ALONE, f"fold:{fold + 1}/2", seed, list(range(18 * fold, 18 * fold + 18)), list(map(int, part)))
        for seed, both in enumerate(correct)
        for fold, part in enumerate(np.split(both, 2))
    ]
    found = accuracy(line(cells, ALONE).tests, groups)
    assert found == accuracy_interval(correct.mean(axis=0), groups)
    assert (found.method, found.groups) == ("Wilson over groups", 12)


def test_seeds_of_one_fold_give_t_over_seeds(make_cell):
    """Otherwise the variation between training seeds would be missing from the table."""
    rows = list(range(20))
    right = {seed: [1] * count + [0] * (20 - count) for seed, count in enumerate((10, 12, 8))}
    cells = [make_cell(ALONE, "group", seed, rows, correct) for seed, correct in right.items()]
    found = accuracy(line(cells, ALONE).tests, np.zeros(20))
    assert found.method == "t over 3 seeds"
    low, high = stats.t.interval(0.95, 2, 0.5, stats.sem([0.5, 0.6, 0.4]))
    assert (found.low, found.high) == pytest.approx((low, high))


def test_equal_predictions_of_all_seeds_are_one_run(make_cell):
    """Otherwise a given teacher, which does not depend on the seed, would have no interval."""
    cells = [make_cell(ALONE, "group", seed, list(range(4)), [1, 1, 0, 1]) for seed in range(3)]
    groups = np.array([0, 0, 1, 1])
    found = accuracy(line(cells, ALONE).tests, groups)
    assert found == accuracy_interval(np.array([1, 1, 0, 1], bool), groups)
    assert found.method == "Wilson over groups"


def test_differences_are_paired(make_cell):
    """Otherwise variation between seeds would hide a small but consistent difference."""
    rows = list(range(10))
    cells = []
    for seed, (right, more) in enumerate(((3, 1), (6, 2), (8, 2))):
        cells.append(make_cell(ALONE, "group", seed, rows, [1] * right + [0] * (10 - right)))
        cells.append(make_cell(COOL, "group", seed, rows, [1] * (right + more) + [0] * (10 - right - more)))
    gain = difference(line(cells, COOL).tests, line(cells, ALONE).tests, None).difference
    low, high = stats.t.interval(0.95, 2, 0.5 / 3, stats.sem([0.1, 0.2, 0.2]))
    assert (gain.estimate, gain.low, gain.high) == pytest.approx((0.5 / 3, low, high))


def test_temperature_is_chosen_on_validation_clips(make_cell):
    """Otherwise the choice would use test clips; here, the worse temperature in the test is chosen in each fold."""
    cells = []
    for fold, (cool, warm) in {"logo:1": (0.9, 0.5), "logo:2": (0.5, 0.5)}.items():
        rows = FOLDS[fold]
        cells.append(make_cell(ALONE, fold, 0, rows, [0, 0]))
        cells.append(make_cell(TEACHER, fold, 0, rows, [1, 1]))
        cells.append(make_cell(COOL, fold, 0, rows, [0, 1], validation=cool, loss=1.0))
        cells.append(make_cell(WARM, fold, 0, rows, [1, 1], validation=warm, loss=2.0))
    lines, chosen = lines_of(cells, seen_by_cells(cells))
    assert [choice["temperature"] for choice in chosen] == [1.0, 1.0]  # the second by its loss
    assert lines[-1].role == "chosen"
    assert accuracy(lines[-1].tests, None).estimate == 0.5


def test_a_student_that_ended_with_nan_is_not_chosen(make_cell):
    """Its validation loss is null; comparing it would end the experiment after all trainings."""
    cells = [make_cell(row, "group", 0, [0], [0]) for row in (ALONE, TEACHER)]
    cells.append(make_cell(COOL, "group", 0, [0], [0], validation=0.9, loss=float("nan")))
    cells.append(make_cell(WARM, "group", 0, [0], [1], validation=0.5, loss=2.0))
    assert [choice["temperature"] for choice in lines_of(cells, seen_by_cells(cells))[1]] == [5.0]


def test_gap_closed_only_where_there_is_a_gap(make_cell):
    """Otherwise the ratio would be meaningless for a teacher whose lead may be due to chance."""
    rows, groups = list(range(40)), np.arange(40)
    cells = [make_cell(ALONE, "group", 0, rows, [1] * 10 + [0] * 30)]
    cells.append(make_cell(TEACHER, "group", 0, rows, [1] * 30 + [0] * 10))
    cells.append(make_cell(COOL, "group", 0, rows, [1] * 25 + [0] * 15))
    alone, teacher, student = (line(cells, row) for row in (ALONE, TEACHER, COOL))
    found = summarise(student, alone, teacher, groups)
    assert found["gap_closed"] == pytest.approx(15 / 20)
    assert found["minus_teacher"]["estimate"] == pytest.approx(-5 / 40)
    weak = make_cell(Row("teacher", "weak"), "group", 0, rows, [0] * 1 + [1] * 12 + [0] * 27)
    assert summarise(student, alone, line([weak], weak.row), groups)["gap_closed"] is None


def test_a_line_that_has_seen_test_clips_is_compared_with_none(make_cell):
    """The distance to a teacher on its own training clips would pass for the gap that distillation should close."""
    rows, groups = list(range(40)), np.arange(40)
    cells = [make_cell(ALONE, "group", 0, rows, [1] * 10 + [0] * 30)]
    cells.append(make_cell(COOL, "group", 0, rows, [1] * 25 + [0] * 15))
    alone, student = (line(cells, row) for row in (ALONE, COOL))
    teacher = make_cell(TEACHER, "group", 0, rows, [1] * 30 + [0] * 10)
    teacher = line([teacher], TEACHER, clips=[3, 77])
    found = summarise(teacher, alone, None, groups)
    assert found["seen"] == {"test_clips": 40, "seen_test_clips": 1, "unknown": []}
    assert found["interval"]["estimate"] == 0.75
    assert found["minus_alone"] is None
    found = summarise(student, alone, teacher, groups)
    assert (found["minus_teacher"], found["gap_closed"]) == (None, None)
    assert found["minus_alone"]["estimate"] == pytest.approx(15 / 40)


def test_a_student_that_has_seen_test_clips_is_not_chosen(make_cell):
    """The row "by validation" would flatter: its validation accuracy may come from clips that it was trained on."""
    cells = [make_cell(ALONE, "group", 0, [0, 1], [0, 0])]
    cells.append(make_cell(COOL, "group", 0, [0, 1], [0, 1], validation=0.5))
    cells.append(make_cell(WARM, "group", 0, [0, 1], [1, 1], validation=0.9))
    cells.append(make_cell(HOT, "group", 0, [0, 1], [0, 0], validation=0.4))
    seen = seen_by_cells(cells)
    seen[cells[2]] = seen_by_cells(cells, clips=[1])[cells[2]]
    _, chosen = lines_of(cells, seen)
    assert [choice["temperature"] for choice in chosen] == [1.0]


def test_what_seeds_and_folds_have_seen_is_united_by_fold(make_cell):
    """Two teachers that have each seen another test clip would count as one clip, or the same clip as two."""
    cells = [make_cell(ALONE, fold, seed, rows, [0, 0]) for seed in (0, 1) for fold, rows in FOLDS.items()]
    seen = seen_by_cells(cells)
    for cell, clip in zip(cells, (0, 2, 1, 2)):
        seen[cell] = seen_by_cells([cell], clips=[clip])[cell]
    (found,) = lines_of(cells, seen)[0]
    assert found.seen.test.as_dict() == {"test_clips": 4, "seen_test_clips": 3, "unknown": []}


def test_names_of_teachers():
    """Two teachers, `x` and `x teacher`, would share a name, and with it their times in the table."""
    names = {"scratch": "teacher: C3D (scratch)", "x": "teacher: x", "x teacher": "teacher: x teacher"}
    assert {teacher: Row("teacher", teacher).name for teacher in names} == names


def test_cells_are_identified_by_their_settings(make_cell, tmp_path):
    """Otherwise results of other settings or of an unfinished training would be used."""
    cell = make_cell(COOL, "fold:1/3", 0, [0], [1])
    other = Cell(COOL, "fold:1/3", 0, {**cell.settings, "epochs": 9}, tmp_path, {})
    assert other.folder != cell.folder
    assert other.read("trained") is None
    assert json.loads((cell.folder / "trained.json").read_text())["settings"] == cell.settings
    assert not cell.is_trained  # the model is missing
    cell.model_path.touch()
    assert cell.is_trained
    assert cell.is_tested


def test_gains_over_folds_and_seeds(make_cell):
    """A student that is worse than the student alone would be reported as better, or its gap to the teacher as gain."""
    right = {ALONE: ([1, 0], [0, 0]), TEACHER: ([1, 1], [1, 1]), COOL: ([1, 1], [1, 0])}  # 25, 100 and 75 %
    cells = [
        make_cell(row, fold, seed, rows, correct)
        for row, both in right.items()
        for (fold, rows), correct in zip(FOLDS.items(), both)
        for seed in (0, 1)
    ]
    lines = {row: line(cells, row) for row in right}
    for groups in (None, np.arange(4)):  # t over folds, then pooled
        found = summarise(lines[COOL], lines[ALONE], lines[TEACHER], groups)
        assert found["minus_alone"]["estimate"] == pytest.approx(0.5)
        assert found["minus_teacher"]["estimate"] == pytest.approx(-0.25)
        assert summarise(lines[TEACHER], lines[ALONE], None, groups)["minus_alone"]["estimate"] == pytest.approx(0.75)


def test_overlapping_folds_are_not_pooled(make_cell):
    """Clips that several folds test would count as several clips, and the interval would be too narrow."""
    cells = [make_cell(ALONE, fold, 0, [0, 1, number], [1, number % 2, 0]) for number, fold in enumerate("abc", 2)]
    assert accuracy(line(cells, ALONE).tests, np.arange(9)).method == "t over 3 folds"


def test_validation_clips_of_other_folds_have_no_say(make_cell):
    """They may be test clips of this fold: the choice would be made on what it is tested on."""
    cells = [make_cell(row, fold, 0, rows, [0, 1]) for row in (ALONE, TEACHER) for fold, rows in FOLDS.items()]
    for fold, (cool, warm) in {"logo:1": (0.6, 0.5), "logo:2": (0.1, 0.9)}.items():  # WARM is better on average
        cells.append(make_cell(COOL, fold, 0, FOLDS[fold], [0, 1], validation=cool))
        cells.append(make_cell(WARM, fold, 0, FOLDS[fold], [0, 1], validation=warm))
    _, chosen = lines_of(cells, seen_by_cells(cells))
    assert {choice["fold"]: choice["temperature"] for choice in chosen} == {"logo:1": 1.0, "logo:2": 5.0}
