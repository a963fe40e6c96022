"""Training curves and commands from the files next to a record."""

import numpy as np
import pytest

from tests.fake_recognizer import valid_record
from utils.base.errors import UserError
from utils.base.options import OutputOptions
from utils.runs.commands import training_command
from utils.runs.history import history_array, save_history
from utils.runs.paths import RunFiles
from utils.runs.record import Arguments
from utils.runs.run import Run

EPOCHS = [{"epoch": n, "loss": 1 / n, "val_loss": 2 / n, "val_accuracy": n / 10} for n in (1, 2, 3)]


def files_of(log_path):
    return RunFiles.of(OutputOptions(log_path.with_name("net.keras"), log_path))


@pytest.fixture
def run(tmp_path):
    save_history(history_array(EPOCHS), files_of(tmp_path / "logs/history"))
    record = valid_record(history=str(tmp_path / "logs/history.npy"), kept_epoch=2, validation={"val_accuracy": 0.2})
    return Run(tmp_path / "models/s.keras", record)


def test_curves_are_those_of_the_record(run):
    """The page would mark another epoch than the one whose weights are kept."""
    curves = run.curves("s")
    assert curves.history["epoch"].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(curves.history["val_loss"], [2, 1, 2 / 3])
    assert curves.kept == 1


def test_a_moved_history_is_found_next_to_the_model(run, tmp_path):
    """The curves of a model that was copied with its files would be missing."""
    (tmp_path / "logs").rename(tmp_path / "models")
    assert run.curves("s").kept == 1


def test_a_name_that_is_no_unicode(run, tmp_path):
    """The curves of a model with such a name would be missing, because records hold its escapes."""
    save_history(history_array(EPOCHS), files_of(tmp_path / "v_\udcff"))
    named = Run(run.model, run.record.changed(history=str(tmp_path / r"v_\udcff.npy")))
    assert named.curves("s").kept == 1


@pytest.mark.parametrize(
    ("record", "text", "reason"),
    [
        ({"history": "nowhere/history.npy", "kept_epoch": 2}, None, "there is no nowhere/history.csv"),
        ({"validation": {"val_accuracy": 0.7}}, None, "history.csv is the history of another training"),
        ({"kept_epoch": 9}, None, "does not hold the kept epoch, 9"),
        ({}, "epoch,loss\n1,x\n", "is not the history of a training"),
        ({}, "loss\n1\n", "is not the history of a training"),
        ({}, "", "is not the history of a training"),
        ({}, "epoch,loss\n1\n", "is not the history of a training"),
    ],
)
def test_what_has_no_curves(run, tmp_path, record, text, reason):
    """Curves of another training would be shown, or a damaged file would cost the page."""
    if text is not None:
        (tmp_path / "logs/history.csv").write_text(text)
    with pytest.raises(UserError, match=reason):
        Run(run.model, run.record.changed(**record)).curves("s")


def test_the_command_has_the_paths_of_the_training(run):
    """The command of a page could not be repeated, or a card would tell the folders of the user."""
    record = run.record.changed(arguments=Arguments(group_pattern=None, data="/home/me/frames.npy", epochs=3))
    assert Run(run.model, record).command == (
        f"python KD_training.py \\\n  --data /home/me/frames.npy \\\n  --epochs 3 \\\n  --output_path {run.model}"
    )
    assert "/home/me" not in training_command(record, "s.keras", private=True)
