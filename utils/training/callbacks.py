"""Keras callbacks of the fit loop: the epoch log, early stopping, the resumable state, TensorBoard."""

import importlib.util
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from utils.runtime.errors import UserError
from utils.runtime.progress import duration
from utils.settings.options import TrainingOptions
from utils.training.history import best_epoch, history_array
from utils.training.progress_bar import WaitClock, loss_text
from utils.training.state import TrainingState, own_variables


def no_better_epoch(history: np.ndarray, options: TrainingOptions) -> str | None:
    """Why early stopping ends the training after the last epoch of `history`, or None.

    It does when the kept epoch (utils.evaluation.figures.best_epoch) has not changed for `patience` epochs.
    """
    waited = len(history) - 1 - best_epoch(history)
    if options.patience is None or waited < options.patience:
        return None
    return f"no better epoch on validation for {waited} epochs (--patience {options.patience})"


def out_of_time(history: np.ndarray, options: TrainingOptions, seconds: float) -> str | None:
    """Why no other epoch is begun after `seconds` of training, or None.

    It would end later than `max_minutes` allow if it took as long as the last one.
    """
    if options.max_minutes is None or seconds + history["seconds"][-1] <= 60 * options.max_minutes:
        return None
    return f"epoch {len(history) + 1} of {options.epochs} would end after --max_minutes {options.max_minutes:g}"


def epoch_log(options: TrainingOptions, clock: WaitClock, clips_per_epoch: int, state: TrainingState):
    """A callback that collects the history, keeps the best epoch's weights, prints a line an epoch and ends early.

    It begins with what `state` holds. `ended` says that no epoch is to follow; after `out_of_time` a run may continue.
    """
    import keras

    class EpochLog(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.epochs: list[dict[str, float]] = list(state.history)
            self.best_weights = state.best()
            self.ended = self.out_of_time = False

        def on_train_begin(self, logs=None):
            self.begun = time.perf_counter()

        def on_epoch_begin(self, epoch, logs=None):
            self.started = time.perf_counter()
            clock.seconds = 0.0
            self.training_seconds = None

        def on_test_begin(self, logs=None):
            self.training_seconds = time.perf_counter() - self.started
            self.wait_share = clock.seconds / self.training_seconds

        def on_epoch_end(self, epoch, logs=None):
            self.epochs.append(
                {
                    "epoch": epoch + 1,
                    **{name: float(value) for name, value in logs.items()},
                    "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
                    "seconds": time.perf_counter() - self.started,
                    "clips_per_second": clips_per_epoch / self.training_seconds,
                    "wait_share": self.wait_share,
                }
            )
            history = history_array(self.epochs)
            is_best = best_epoch(history) == epoch
            if is_best:
                self.best_weights = [variable.numpy() for variable in own_variables(self.model)]
            print(epoch_line(self.epochs[-1], options.epochs, is_best=is_best), flush=True)
            if len(history) < options.epochs:
                seconds = time.perf_counter() - self.begun
                final = no_better_epoch(history, options)
                reason = final or out_of_time(history, options, seconds)
                if reason is not None:
                    print(f"note: stopped after epoch {epoch + 1}: {reason}")
                    self.ended, self.out_of_time, self.model.stop_training = final is not None, final is None, True
            else:
                self.ended = True

    return EpochLog()


def epoch_line(epoch: Mapping[str, float], epochs: int, *, is_best: bool) -> str:
    """One epoch for a person to read."""
    parts = [f"epoch {epoch['epoch']:>{len(str(epochs))}}/{epochs}", loss_text(epoch)]
    if "gradient_ratio" in epoch:
        parts.append(f"soft/hard gradients {epoch['gradient_ratio']:.2g}")
    parts.append(f"| validation loss {epoch['val_loss']:.3f}, accuracy {100 * epoch['val_accuracy']:.1f} %")
    if "val_agreement" in epoch:
        parts.append(f"(agrees with teacher {100 * epoch['val_agreement']:.1f} %)")
    parts.append(f"| {epoch['clips_per_second']:.1f} clips/s, waiting for data {100 * epoch['wait_share']:.1f} %")
    if epoch["epoch"] < epochs:
        parts[-1] += f", {duration((epochs - epoch['epoch']) * epoch['seconds'])} left"
    return "  ".join(parts) + ("  best so far" if is_best else "")


def keeping(state: TrainingState, log):
    """A callback, the last of its list, that puts each epoch of the callback `log` into `state` as it ends."""
    import keras

    class Keeping(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.model.optimizer.build(self.model.trainable_variables)
            state.require_space(self.model)
            state.restore(self.model)

        def on_epoch_end(self, epoch, logs=None):
            best = None if best_epoch(history_array(log.epochs)) == epoch else log.best_weights
            state.save(self.model, log.epochs, best, ended=log.ended)

    return Keeping()


def after_each_step(check: Callable[[], None]):
    """A callback that calls `check` after each step of training and validation."""
    import keras

    class AfterEachStep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            check()

        def on_test_batch_end(self, batch, logs=None):
            check()

    return AfterEachStep()


def tensorboard(folder: Path | None) -> list:
    """Keras' TensorBoard callback for scalars, or nothing. Raises UserError if its package is not installed."""
    import keras

    if folder and importlib.util.find_spec("tensorboard") is None:
        raise UserError("--tensorboard needs the package tensorboard, which is not installed: pip install tensorboard")
    return [keras.callbacks.TensorBoard(str(folder), write_graph=False)] if folder else []
