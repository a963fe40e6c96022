"""The table of an experiment and its caption: each number under its heading, in every file."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from reproduce import make_parser
from utils.experiments import report as module
from utils.experiments.cells import Cell, Row
from utils.experiments.provenance import CellSeen
from utils.experiments.report import frames_text, kept_epoch_text, report
from utils.networks.averaging import AveragedViews
from utils.runs.seen import Seen

# By row: correct predictions for 30 clips, validation accuracy, training seconds; ms per clip and view by parameters.
RIGHT = {
    Row("alone"): (12, 0.9, 60.0),
    Row("teacher", "scratch"): (27, 0.2, 300.0),
    Row("distilled", "scratch", 4.0, 0.1): (21, 0.7, 120.0),
}
MILLISECONDS = {12: 2.0, 27: 30.0, 21: 2.5}


@pytest.fixture
def reported(tmp_path, monkeypatch):
    """Return results.json and the printed table, by row and column, of an experiment of three cells."""
    cells = []
    for row, (right, validation, seconds) in RIGHT.items():
        cell = Cell(row, "group", 0, {"row": str(row)}, tmp_path / "cells", {}, views=AveragedViews(2))
        cell.write("trained", {"validation_accuracy": validation, "validation_loss": 1.0, "seconds": seconds})
        tested = {"top1": right / 30, "rows": list(range(30)), "correct": [1] * right + [0] * (30 - right)}
        costs = {"parameters": 1000 * right, "multiply_accumulates": 10**9 * right, "megabytes": 0.1 * right}
        cell.write("tested", tested | costs)
        cell.model_path.write_text(str(right))
        cells.append(cell)
    monkeypatch.setattr(module, "load_recognizer", lambda path, **_: SimpleNamespace(model=int(path.read_text())))
    monkeypatch.setattr(module, "milliseconds_per_clip", MILLISECONDS.get)
    monkeypatch.setattr(module, "write_experiment_page", lambda *_: None)
    nothing = np.zeros(0, np.int64)
    seen = dict.fromkeys(cells, CellSeen(Seen(np.arange(30), nothing), Seen(nothing, nothing)))
    leaks = {"group": {"leaking_test_clips": 3, "test_clips": 30}}
    arguments = vars(make_parser().parse_args([]))
    return report(cells, np.arange(30), leaks, seen, arguments, tmp_path)


def test_each_number_is_under_its_heading(reported, tmp_path):
    """A validation accuracy would be read as a test accuracy, or the distance to the teacher as a gain."""
    text = (tmp_path / "results.md").read_text()
    header, _, *lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    rows = [dict(zip(header, line)) for line in lines]
    for row, stored, (right, validation, seconds) in zip(rows, reported["rows"], RIGHT.values()):
        assert row["test accuracy (95 % interval)"].startswith(f"{100 * right / 30:.1f} % (")
        assert row["validation"] == f"{100 * validation:.1f} %"
        assert (row["parameters"], row["GMAC"], row["MB"]) == (f"{right},000", f"{right}.000", f"{0.1 * right:.1f}")
        assert row["ms per clip"] == f"{2 * MILLISECONDS[right]:.1f}"  # two views
        assert row["training (s)"] == f"{seconds:.0f}"
        assert stored["interval"]["estimate"] == pytest.approx(right / 30)
    assert [row["minus student alone"].partition(" ")[0] for row in rows] == ["-", "+50.0", "+30.0"]
    assert [row["gap closed"] for row in rows] == ["-", "-", "60 %"]
    assert "\n8 minutes of training on " in text
    assert "near-duplicate in training or validation): 3 of 30." in text
    assert json.loads((tmp_path / "results.json").read_text())["rows"] == reported["rows"]


def test_the_caption_names_the_settings_of_a_frame_student():
    """A table would not say which network, weights and number of frames it compares."""
    arguments = {"student": "frames:MobileNetV2", "student_weights": "imagenet", "mixing": "none", "student_frames": 4}
    assert frames_text(arguments) == "frames:MobileNetV2, weights imagenet, mixing none, 4 frames, "
    assert frames_text(arguments | {"student": "compact3d"}) == ""


def test_the_caption_says_which_epoch_is_kept():
    """A reader would take an epoch chosen on validation clips after an early stop for the last one."""
    assert kept_epoch_text({"keep": "last", "patience": None}) == "The last epoch is kept."
    early = "The last epoch is kept, or after an early stop the best on validation clips."
    assert kept_epoch_text({"keep": "last", "patience": 3}) == early
    assert kept_epoch_text({"keep": "best", "patience": 3}) == "The best epoch is chosen on validation clips."
