"""Training curves and commands from the files next to a record."""

import numpy as np
import pytest

from tests.fake_recognizer import valid_record
from utils.base.errors import UserError
from utils.evaluation.recorded import training_command, training_curves
from utils.networks.recognizer import Recognizer
from utils.runs.history import history_array, save_history

EPOCHS = [{"epoch": n, "loss": 1 / n, "val_loss": 2 / n, "val_accuracy": n / 10} for n in (1, 2, 3)]


@pytest.fixture
def recognizer(tmp_path):
    save_history(history_array(EPOCHS), tmp_path / "logs/history")
    record = valid_record(history=str(tmp_path / "logs/history.npy"), kept_epoch=2, validation={"val_accuracy": 0.2})
    return Recognizer(tmp_path / "models/s.keras", None, record)


def test_curves_are_those_of_the_record(recognizer):
    """The page would mark another epoch than the one whose weights are kept."""
    curves = training_curves(recognizer, "s")
    assert curves.history["epoch"].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(curves.history["val_loss"], [2, 1, 2 / 3])
    assert curves.kept == 1


def test_a_moved_history_is_found_next_to_the_model(recognizer, tmp_path):
    """The curves of a model that was copied with its files would be missing."""
    (tmp_path / "logs").rename(tmp_path / "models")
    assert training_curves(recognizer, "s").kept == 1


def test_a_name_that_is_no_unicode(recognizer, tmp_path):
    """The curves of a model with such a name would be missing, because records hold its escapes."""
    save_history(history_array(EPOCHS), tmp_path / "v_\udcff")
    named = Recognizer(recognizer.path, None, recognizer.record.changed(history=str(tmp_path / r"v_\udcff.npy")))
    assert training_curves(named, "s").kept == 1


@pytest.mark.parametrize(
    ("record", "text", "reason"),
    [
        (None, None, "there is no record"),
        ({"history": "nowhere/history.npy", "kept_epoch": 2}, None, "there is no nowhere/history.csv"),
        ({"validation": {"val_accuracy": 0.7}}, None, "history.csv is the history of another training"),
        ({"kept_epoch": 9}, None, "does not hold the kept epoch, 9"),
        ({}, "epoch,loss\n1,x\n", "is not the history of a training"),
        ({}, "loss\n1\n", "is not the history of a training"),
        ({}, "", "is not the history of a training"),
        ({}, "epoch,loss\n1\n", "is not the history of a training"),
    ],
)
def test_what_has_no_curves(recognizer, tmp_path, record, text, reason):
    """Curves of another training would be shown, or a damaged file would cost the page."""
    if text is not None:
        (tmp_path / "logs/history.csv").write_text(text)
    changed = None if record is None else recognizer.record.changed(**record)
    with pytest.raises(UserError, match=reason):
        training_curves(Recognizer(recognizer.path, None, changed), "s")


def test_the_last_command_of_the_log(recognizer, tmp_path):
    """The page would not say how the model was trained."""
    assert training_command(recognizer) is None
    lines = ["=== python KD_training.py --epochs 1", "in /home", "=== python KD_training.py --epochs 3", "epoch 1"]
    text = "".join(f"2026-01-02 03:04:05  {line}\n" for line in lines)
    (tmp_path / "logs/history.log").write_text(text)
    assert training_command(recognizer) == "python KD_training.py --epochs 3"
