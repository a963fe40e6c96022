"""Early ends of training: a function of history and options, so that a resumed run ends at the same epoch."""

import numpy as np
import pytest

from utils.base.options import TrainingOptions
from utils.runs.history import history_array
from utils.runs.state import Ending
from utils.training.callbacks import ending_after


def history(val_accuracies, seconds=60.0):
    rows = [
        {"epoch": e + 1, "val_accuracy": a, "val_loss": 1.0, "seconds": seconds} for e, a in enumerate(val_accuracies)
    ]
    return history_array(rows)


@pytest.mark.parametrize(
    ("accuracies", "patience", "stops"),
    [
        ([0.5, 0.4], 2, False),
        ([0.5, 0.4, 0.4], 2, True),
        ([0.5, 0.5, 0.5], 2, True),  # an equal epoch is no improvement
        ([0.5, 0.4, 0.6], 2, False),
        ([0.5, 0.4, 0.6, 0.1, 0.1], 2, True),
        ([0.5] + [0.4] * 98, None, False),
    ],
)
def test_patience_counts_epochs_since_the_best(accuracies, patience, stops):
    """Stopping too early may miss the best epoch; stopping too late costs an epoch of C3D."""
    options = TrainingOptions(epochs=100, patience=patience)
    expected = (Ending.NO_IMPROVEMENT, "no improvement on validation for 2 epochs (--patience 2)")
    assert ending_after(history(accuracies), options, seconds=0) == (expected if stops else (None, ""))


def test_no_epoch_is_started_that_would_exceed_the_limit():
    """If a scheduler kills the job during an epoch, the time of that epoch is lost."""
    options = TrainingOptions(epochs=50, max_minutes=10)
    assert ending_after(history([0.5]), options, seconds=540.0) == (None, "")  # epochs of 1 minute
    expected = (Ending.OUT_OF_TIME, "epoch 2 of 50 would exceed --max_minutes 10")
    assert ending_after(history([0.5]), options, seconds=541.0) == expected
    assert ending_after(history([0.5]), TrainingOptions(), seconds=1e9) == (None, "")


def test_the_last_epoch_ends_training_even_without_time_left():
    options = TrainingOptions(epochs=2, max_minutes=1, patience=1)
    assert ending_after(history([0.5, 0.5]), options, seconds=1e9) == (Ending.LAST_EPOCH, "")


def test_the_next_epoch_is_assumed_to_take_as_long_as_the_last():
    """The first epoch includes the compilation of the network, so it takes longer."""
    epochs = np.concatenate([history([0.5], seconds=500.0), history([0.5], seconds=10.0)])
    assert ending_after(epochs, TrainingOptions(max_minutes=10), seconds=580.0) == (None, "")
