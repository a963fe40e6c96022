"""The history of a training: its files, the best epoch and the kept epoch."""

import csv

import cv2
import numpy as np
import pytest

from utils.base.options import OutputOptions
from utils.runs.history import (
    best_epoch,
    draw_history,
    has_finite_losses,
    history_array,
    kept_epoch,
    save_history,
)
from utils.runs.paths import RunFiles

pytestmark = pytest.mark.draws

EPOCHS = [
    {"epoch": 1, "loss": 1.5, "accuracy": 0.25, "val_loss": 1.25, "val_accuracy": 0.5},
    {"epoch": 2, "loss": 0.1, "accuracy": 1.0, "val_loss": 0.3, "val_accuracy": 0.75},
]


@pytest.mark.parametrize("name", ["run.1/hist_50", "run.1/hist_50.npy"])
def test_three_files_that_any_reader_can_open(tmp_path, name):
    """A structured array without pickle, the same numbers as CSV, and a figure; `.npy` is appended at most once."""
    files = RunFiles.of(OutputOptions(tmp_path / "net.keras", tmp_path / name))
    save_history(history_array(EPOCHS), files)
    draw_history(history_array(EPOCHS), files, title="a student", kept=1)
    path = tmp_path / "run.1" / "hist_50.npy"
    loaded = np.load(path, allow_pickle=False)
    assert loaded.dtype == [("epoch", "<i8")] + [(field, "<f8") for field in list(EPOCHS[0])[1:]]
    assert [dict(zip(loaded.dtype.names, row.item())) for row in loaded] == EPOCHS
    with open(path.with_suffix(".csv"), newline="") as file:
        assert [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)] == EPOCHS
    assert cv2.imread(str(path.with_suffix(".png"))).shape[1] > 600
    assert len(list(path.parent.iterdir())) == 3


def test_a_dot_in_the_name_is_not_a_suffix(tmp_path):
    """Otherwise `--log_path hist_lr0.001` would overwrite the history of another learning rate."""
    files = RunFiles.of(OutputOptions(tmp_path / "net.keras", tmp_path / "hist_lr0.001"))
    assert files.history == tmp_path / "hist_lr0.001.npy"


def rows(*pairs, name="val_loss"):
    return np.array(list(pairs), dtype=[("val_accuracy", float), (name, float)])


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (rows((0.5, 0.1), (0.8, 2.0), (0.7, 0.1)), 1),  # accuracy first
        (rows((0.8, 0.9), (0.8, 0.5), (0.8, 0.7)), 1),  # then the lower loss
        (rows((0.8, 0.5), (0.8, 0.5)), 0),  # then the earlier epoch
        (rows((0.8, 0.9), (0.8, 0.5), name="val_hard_loss"), 1),
        (rows((0.2, 0.9), (0.5, np.nan), (0.5, np.inf)), 0),  # NaN predicts class 0
        (rows((0.5, np.nan)), 0),
    ],
)
def test_the_best_epoch(history, expected):
    """A wrong rule would save a worse network, or one that outputs NaN."""
    assert best_epoch(history) == expected


def test_every_validation_loss_of_the_kept_epoch_is_finite():
    """A student with a finite hard loss and an infinite distillation loss would be kept instead of a usable one."""
    names = ["val_accuracy", "val_loss", "val_hard_loss", "val_soft_loss"]
    epochs = [(0.5, 1.0, 1.0, 1.0), (0.8, np.inf, 0.5, np.inf), (0.9, np.nan, np.nan, 1.0)]
    history = np.array(epochs, dtype=[(name, float) for name in names])
    assert has_finite_losses(history).tolist() == [True, False, False]
    assert kept_epoch(history, keep="last", epochs=3) == kept_epoch(history, keep="best", epochs=3) == 0
    assert best_epoch(history[1:]) == 0


def test_the_best_epoch_of_a_distilled_student_has_the_lowest_hard_loss():
    """The distillation loss depends on the temperature; the cross entropy of the labels does not."""
    history = np.array(
        [(0.8, 0.1, 0.9), (0.8, 0.2, 0.5)],
        dtype=[("val_accuracy", float), ("val_loss", float), ("val_hard_loss", float)],
    )
    assert best_epoch(history) == 1


@pytest.mark.parametrize(
    ("keep", "epochs", "losses", "expected"),
    [
        ("last", 3, (0.9, 0.1, 0.5), 2),
        ("best", 3, (0.9, 0.1, 0.5), 1),
        ("last", 4, (0.9, 0.1, 0.5), 1),  # ended early, before the learning rate has decayed
        ("last", 3, (0.9, 0.1, np.nan), 1),
        ("last", 3, (0.9, 0.1, np.inf), 1),
        ("last", 1, (0.9,), 0),
    ],
)
def test_the_kept_epoch(keep, epochs, losses, expected):
    """A network that ended early, or that outputs NaN, would be saved although an earlier epoch was better."""
    assert kept_epoch(rows(*((0.5, loss) for loss in losses)), keep=keep, epochs=epochs) == expected
