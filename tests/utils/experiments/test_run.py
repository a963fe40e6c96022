"""The test of single cells."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.fake_recognizer import fake_recognizer, record_of
from utils.experiments import run
from utils.experiments.cells import Cell, Row


@pytest.mark.parametrize("broken", [[], [0], [0, 1, 2, 3, 4, 5]], ids=["none", "one clip", "all clips"])
def test_clips_with_nan_count_as_wrong(arrays, tmp_path, monkeypatch, capsys, broken):
    """One network that ended with NaN would end the experiment after all trainings, without results of the others."""
    dataset, split = arrays
    scores = 5 * np.eye(3, dtype=np.float32)[dataset.labels]
    scores[split.test[broken]] = np.nan
    recognizer = fake_recognizer(tmp_path / "student.keras", record=record_of(dataset, split), scores=scores)
    recognizer.path.touch()
    monkeypatch.setattr(run, "load_recognizer", lambda *_, **__: recognizer)
    monkeypatch.setattr("utils.evaluation.results.multiply_accumulates", lambda _: 1)
    cell = Cell(Row("alone"), "group", 0, {}, tmp_path, {})
    grid = SimpleNamespace(data=SimpleNamespace(group_pattern=None))
    run.test(grid, cell, dataset, None)
    found, right = cell.read("tested"), len(split.test) - len(broken)
    assert (sum(found["correct"]), found["top1"]) == (right, pytest.approx(right / len(split.test)))
    assert found["mean_class_accuracy"] == pytest.approx(right / len(split.test), abs=0.1)
    assert ("NaN" in capsys.readouterr().out) == (found["loss"] is None) == (found["calibration_error"] is None)
    assert (found["loss"] is None) == bool(broken)
