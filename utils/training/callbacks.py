"""Keras callbacks of the fit loop: the epoch log with early stopping and resuming, TensorBoard."""

import importlib.util
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np

from utils.base.devices import strategy_scope
from utils.base.errors import UserError
from utils.base.options import TrainingOptions
from utils.base.progress import duration
from utils.base.text import counted
from utils.runs.history import best_epoch, has_finite_losses, history_array, kept_epoch
from utils.runs.state import Ending, TrainingState, own_variables
from utils.training.progress_bar import loss_text


class EpochLog(keras.callbacks.Callback):
    """Collects the history, selects the weights to keep, prints a line per epoch, stops early and saves `state`.

    Training starts from the epochs in `state`. epochs: a dict of metrics per epoch. kept_weights: values of
    `own_variables` after the epoch that is kept so far. `state.ending` is set after each epoch.
    """

    def __init__(self, options: TrainingOptions, clips_per_epoch: int, state: TrainingState):
        super().__init__()
        self.options, self.clips_per_epoch, self.state = options, clips_per_epoch, state
        self.epochs: list[dict[str, float]] = list(state.history)
        self.kept_weights = state.kept_weights()

    def on_train_begin(self, logs=None):
        self.train_start = time.perf_counter()
        if self.epochs:
            print(f"resuming from epoch {len(self.epochs) + 1} of {self.options.epochs}")
        with strategy_scope(self.options.devices):
            self.model.optimizer.build(self.model.trainable_variables)
        self.state.require_space(self.model)
        self.state.restore(self.model)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch_start = time.perf_counter()

    def on_test_begin(self, logs=None):
        self.training_seconds = time.perf_counter() - self.epoch_start

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(
            {
                "epoch": epoch + 1,
                **{name: float(value) for name, value in logs.items()},
                "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
                "seconds": time.perf_counter() - self.epoch_start,
                "clips_per_second": self.clips_per_epoch / self.training_seconds,
            }
        )
        history = history_array(self.epochs)
        is_kept = kept_epoch(history, keep=self.options.keep, epochs=self.options.epochs) == epoch
        if is_kept:
            self.kept_weights = [variable.numpy() for variable in own_variables(self.model)]
        is_best = best_epoch(history) == epoch and bool(has_finite_losses(history)[epoch])
        print(epoch_line(self.epochs[-1], self.options.epochs, is_best=is_best), flush=True)
        seconds = time.perf_counter() - self.train_start
        self.state.ending, reason = ending_after(history, self.options, seconds=seconds)
        if reason:
            print(f"note: stopped after epoch {epoch + 1}: {reason}")
            self.model.stop_training = True
        self.state.save(self.model, self.epochs, None if is_kept else self.kept_weights)


def ending_after(history: np.ndarray, options: TrainingOptions, *, seconds: float) -> tuple[Ending | None, str]:
    """Return why training ends after the last epoch of `history`, or None, and the reason for an early end as text.

    Early stopping: the best epoch has not changed for `patience` epochs. Time limit: one more epoch of the last one's
    duration would exceed `max_minutes`; `seconds` is the time since this run started training.
    """
    if len(history) >= options.epochs:
        return Ending.LAST_EPOCH, ""
    waited = len(history) - 1 - best_epoch(history)
    if options.patience is not None and waited >= options.patience:
        patience = f"--patience {options.patience}"
        return Ending.NO_IMPROVEMENT, f"no improvement on validation for {counted(waited, 'epoch')} ({patience})"
    if options.max_minutes is not None and seconds + history["seconds"][-1] > 60 * options.max_minutes:
        minutes = f"--max_minutes {options.max_minutes:g}"
        return Ending.OUT_OF_TIME, f"epoch {len(history) + 1} of {options.epochs} would exceed {minutes}"
    return None, ""


def epoch_line(epoch: Mapping[str, float], epochs: int, *, is_best: bool) -> str:
    """Return the metrics of an epoch as a line of text."""
    parts = [f"epoch {epoch['epoch']:>{len(str(epochs))}}/{epochs}", loss_text(epoch)]
    parts.append(f"| validation loss {epoch['val_loss']:.3f}, accuracy {100 * epoch['val_accuracy']:.1f} %")
    if "val_agreement" in epoch:
        parts.append(f"(agrees with teacher {100 * epoch['val_agreement']:.1f} %)")
    parts.append(f"| {epoch['clips_per_second']:.1f} clips/s")
    if epoch["epoch"] < epochs:
        parts[-1] += f", {duration((epochs - epoch['epoch']) * epoch['seconds'])} left"
    return "  ".join(parts) + ("  best so far" if is_best else "")


class AfterEachStep(keras.callbacks.Callback):
    """Calls `check` after each step of training and validation."""

    def __init__(self, check: Callable[[], None]):
        super().__init__()
        self.check = check

    def on_train_batch_end(self, batch, logs=None):
        self.check()

    def on_test_batch_end(self, batch, logs=None):
        self.check()


def tensorboard(folder: Path | None) -> list[keras.callbacks.Callback]:
    """Return the TensorBoard callback for scalars, if asked for. Raises UserError if the package is not installed."""
    if folder and importlib.util.find_spec("tensorboard") is None:
        raise UserError("--tensorboard needs the package tensorboard, which is not installed: pip install tensorboard")
    return [keras.callbacks.TensorBoard(str(folder), write_graph=False)] if folder else []
