"""The notes on finished runs that are not reused name the settings that differ."""

import os
from dataclasses import replace

import pytest

from utils.experiments.cells import Cell, Row
from utils.experiments.not_reused import print_not_reused

DIGESTS = ["xxh3_128:" + digit * 32 for digit in "01"]
SETTINGS = {
    "arrays": {"shape": [30, 16, 32, 32, 3], "content": DIGESTS[0]},
    "versions": {"keras": "3.15.1"},
    "epochs": 50,
    "teacher": "0123456789ab",
}
TRAINED = {"validation_accuracy": 0.5, "validation_loss": 1.0, "seconds": 1.0}


@pytest.fixture
def cells(tmp_path):
    """Two finished runs, seeds 0 and 1."""
    cells = [Cell(Row("alone"), "fold:1/2", seed, SETTINGS | {"seed": seed}, tmp_path, {}) for seed in (0, 1)]
    for cell in cells:
        cell.write("trained", TRAINED)
        cell.model_path.touch()
    return cells


def with_settings(cell, **changes):
    return replace(cell, settings=cell.settings | changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"arrays": SETTINGS["arrays"] | {"content": DIGESTS[1]}}, "arrays.content differs"),
        (
            {"arrays": {"shape": [30, 16, 32, 32, 3], "frames": "0" * 64}},
            "arrays.frames is missing there; arrays.content is missing here",
        ),
        ({"epochs": 100, "teacher": "ba9876543210"}, "epochs is 50 there and 100 here; teacher differs"),
        (
            {"unlabelled": [{"shape": [6, 16, 32, 32, 3], "content": DIGESTS[0]}]},
            "unlabelled.1.shape is missing there; unlabelled.1.content is missing there",
        ),
        ({"versions": {}}, "versions.keras is missing here"),
    ],
)
def test_differences_are_named(cells, capsys, changes, text):
    """A user would wait for trainings that seem to be finished, without knowing why they are repeated."""
    print_not_reused([with_settings(cell, **changes) for cell in cells])
    assert capsys.readouterr().out == f"note: 2 finished runs are not reused: {text}\n"


def test_only_the_latest_training_of_a_missing_cell_counts(cells, capsys):
    """The notes would list every experiment that was ever run in this folder."""
    print_not_reused([*cells, replace(cells[0], seed=2)])
    assert capsys.readouterr().out == ""
    later = with_settings(cells[0], epochs=60)
    later.write("trained", TRAINED)
    os.utime(cells[0].folder / "trained.json", ns=(1, 1))
    print_not_reused([with_settings(cells[0], epochs=70)])
    assert capsys.readouterr().out == "note: 1 finished run is not reused: epochs is 60 there and 70 here\n"
