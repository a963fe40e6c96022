"""Progress of training: a bar on a terminal, only a line per epoch elsewhere."""

import io
import math
from functools import partial

import keras
import numpy as np
import pytest
from tqdm import tqdm

from utils.base.options import TrainingOptions
from utils.base.progress import duration
from utils.data.batches import RowReader
from utils.data.protocols import Split
from utils.training.callbacks import epoch_line
from utils.training.fit import fit
from utils.training.progress_bar import loss_text, step_text

INPUTS = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
SPLIT = Split("random", 0, np.arange(12), np.arange(12, 16), np.arange(16, 20), ())


class Terminal(io.StringIO):
    def isatty(self):
        return True


def train(epochs=2):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    source = RowReader(lambda rows, views: INPUTS[rows], (4,), np.float32)
    return fit(model, source, SPLIT, {"labels": np.arange(20) % 2}, TrainingOptions(batch_size=4, epochs=epochs))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (99.4, "99 s"), (99.6, "2 min"), (720, "12 min"), (5990, "1 h 40 min"), (12000, "3 h 20 min")],
)
def test_durations_are_rounded_for_readers(seconds, text):
    assert duration(seconds) == text


def test_a_step_shows_losses_speed_waiting_time_and_time_left():
    """From these a user decides whether to wait or to stop."""
    logs = {"loss": 1.2345, "hard_loss": 2.0, "soft_loss": 1.1, "accuracy": 0.345}
    text = step_text(logs, clips_per_second=17.84, seconds_left=1500)
    assert text == ("loss 1.234  (hard 2.000, soft 1.100)  accuracy 34.5 %  17.8 clips/s, 25 min left")


def test_a_terminal_shows_a_bar_that_is_erased_after_each_epoch(monkeypatch, capsys):
    """The bar must not remain between the lines of the epochs."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("utils.training.progress_bar.tqdm", partial(tqdm, mininterval=0, ascii=True))  # every step
    train()
    drawn = terminal.getvalue()
    assert "  0 %|                    | epoch 1/2" in drawn
    assert "100 %|####################| epoch 2/2  loss" in drawn
    assert "100 %|####################| epoch 2/2  validation" in drawn
    assert drawn.split("\r")[-2].strip() == ""  # overwritten with blanks
    assert "\n" not in drawn
    assert capsys.readouterr().out.count("epoch ") == 2


def test_elsewhere_an_epoch_is_one_line(capsys):
    """Log files must not contain control characters."""
    train()
    printed = capsys.readouterr()
    assert printed.err == ""
    assert [line.split("  ")[0] for line in printed.out.splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert "\r" not in printed.out


def test_the_line_of_an_epoch_shows_the_time_left():
    epoch = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5, "seconds": 60.0}
    epoch |= {"clips_per_second": 10.0}
    assert "10.0 clips/s, 47 min left" in epoch_line({"epoch": 3} | epoch, 50, is_best=False)
    assert "left" not in epoch_line({"epoch": 50} | epoch, 50, is_best=False)


def test_an_unknown_accuracy_is_not_shown_as_a_number():
    """Of an epoch without labelled clips, 0 % or nan % would look like a fault of the student."""
    assert loss_text({"loss": 1.0, "accuracy": math.nan}) == "loss 1.000  accuracy -"
