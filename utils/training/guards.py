"""Detect training that cannot succeed, and report the likely cause and a remedy in one line."""

import math
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from utils.base.options import TrainingOptions
from utils.data.batches import RowReader
from utils.data.protocols import Split
from utils.data.views import evenly_spaced
from utils.networks.precision import is_mixed

PROBE_CLIPS = 8  # validation clips whose scores are compared
CONFIRMING_CLIPS = 64  # compared as well before a network counts as dead
STEPS_BETWEEN_WEIGHTS = 10  # checking all weights takes about a hundredth of a step
STEPS_BETWEEN_PROBES = 100
SAME = 1e-5  # rounding error of equal scores, relative to the largest score
PATIENT_EPOCHS = 10  # from scratch, the published networks stay at chance for some epochs


class HopelessTraining(Exception):
    """Raised when training cannot succeed; the message is one line for the user."""


def is_constant(values: np.ndarray) -> bool:
    """Return whether all rows of `values` `(B, ...)` are equal up to rounding errors. False for a single row."""
    values = np.asarray(values, np.float64)
    return len(values) > 1 and bool(np.ptp(values, axis=0).max() <= SAME * np.abs(values).max())


def non_finite_variable(variables: Sequence) -> str | None:
    """Return the path of the first variable with a value that is not finite, or None.

    Gradients that are not finite cause such values. The sum finds them in one pass and without a copy.
    """
    return next((v.path for v in variables if not math.isfinite(float(keras.ops.sum(v)))), None)


def no_progress(losses: Sequence[float], accuracies: Sequence[float], labels: np.ndarray) -> str | None:
    """Return a message if the last PATIENT_EPOCHS epochs are the first without progress, else None.

    `losses` and `accuracies` are those of training, one per epoch; the accuracy is NaN in an epoch without labels.
    `labels` are those of the training clips, -1 for unlabelled clips. There is no progress if the loss has not fallen
    by 2 % and accuracy has never exceeded that of predicting the most frequent class by more than three standard
    errors.
    """
    labels = labels[labels >= 0]
    if len(losses) < PATIENT_EPOCHS or not len(labels):
        return None

    def stuck(end: int) -> bool:
        chance = np.bincount(labels).max() / len(labels)
        limit = chance + 3 * math.sqrt(chance * (1 - chance) / len(labels))
        begin = end - PATIENT_EPOCHS
        if begin < 0:
            return False
        best = np.nan_to_num(accuracies[begin:end]).max()
        return best <= limit and min(losses[begin:end]) > 0.98 * losses[begin]

    if not stuck(len(losses)) or stuck(len(losses) - 1):
        return None
    return (
        f"no progress in {PATIENT_EPOCHS} epochs: the loss stays at {losses[-1]:.3f} and accuracy on training clips at "
        "chance; try another --learning_rate, --initialisation data, --dropout 0 for a narrow model, or more --epochs"
    )


class Guard(keras.callbacks.Callback):
    """Ends hopeless training; must precede the callback that saves epochs.

    It checks the loss in every step, the weights every 10 steps, the scores of some clips every 100 steps, and all of
    these at the end of an epoch: the scores only if the accuracy leaves it open whether they are equal. With
    `keep_going` it prints each finding once and continues. `past` is the growing list of finished epochs with `loss`
    and `accuracy`.
    """

    def __init__(
        self,
        model,
        reader: RowReader,
        split: Split,
        targets: Mapping[str, np.ndarray],
        options: TrainingOptions,
        past: Sequence[Mapping[str, float]],
    ):
        super().__init__()
        self.set_model(model)
        self.reader, self.options, self.past = reader, options, past
        self.labels = targets["labels"][split.train]
        self.validation_clips = len(split.validation)
        self.shares = np.bincount(targets["labels"][split.validation]) / self.validation_clips
        self.probe = split.validation[evenly_spaced(PROBE_CLIPS, len(split.validation))]
        seen = np.concatenate([split.train, split.validation])
        self.more_clips = seen[evenly_spaced(CONFIRMING_CLIPS, len(seen))]
        self.epoch = self.steps = 0
        self.reported: set[str] = set()

    def on_train_begin(self, logs=None) -> None:
        if is_constant(self.inputs(self.probe)):
            self.report("data", f"--data: {len(self.probe)} validation clips are equal in every frame")

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float]) -> None:
        where = f"in step {batch + 1} of epoch {self.epoch + 1}"
        self.check_loss("loss", logs["loss"], where)
        self.steps += 1
        if self.steps % STEPS_BETWEEN_WEIGHTS == 0:
            self.check_weights(where)
        if self.steps % STEPS_BETWEEN_PROBES == 0:
            self.check_scores(where)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        where = f"in epoch {epoch + 1}"
        self.check_weights(where)
        self.check_loss("validation loss", logs["val_loss"], where)
        if self.may_be_constant(logs["val_accuracy"]):
            self.check_scores(where)
        losses, accuracies = ([past[name] for past in (*self.past, logs)] for name in ("loss", "accuracy"))
        stuck = no_progress(losses, accuracies, self.labels)
        if stuck is not None:
            print(f"note: {stuck}", flush=True)

    def inputs(self, rows: np.ndarray) -> np.ndarray:
        return self.reader.read(rows, np.zeros(len(rows), np.int64))

    def scores(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self.model(self.inputs(rows), training=False))

    def may_be_constant(self, accuracy: float) -> bool:
        """Return whether an accuracy on validation clips is that of one prediction for all of them."""
        return bool(np.isclose(self.shares, accuracy, atol=0.5 / self.validation_clips).any())

    def check_loss(self, name: str, loss: float, where: str) -> None:
        if not math.isfinite(loss):
            is_first = self.steps == self.epoch == 0
            teacher = ", the teacher's logits" if getattr(self.model, "teacher", None) is not None else ""
            early = f"no weight has changed yet, so the clips{teacher} or the initial weights are not finite"
            self.report("finite", f"the {name} is {loss} {where}: {early if is_first else self.cause()}")

    def check_weights(self, where: str) -> None:
        path = non_finite_variable(self.model.trainable_variables)
        if path is not None:
            self.report("finite", f"{path} is not finite {where}, nor was its gradient: {self.cause()}")

    def check_scores(self, where: str) -> None:
        if is_constant(self.scores(self.probe)) and is_constant(self.scores(self.more_clips)):
            remedy = f"try --learning_rate {self.options.learning_rate / 10:g}, or --initialisation data"
            self.report("constant", f"all clips have the same scores {where}: the model's units are dead; {remedy}")

    def cause(self) -> str:
        rate, clipping = self.options.learning_rate, " and --clip_norm 1" if self.options.clip_norm is None else ""
        rounding = " or --precision float32" if is_mixed(self.model) else ""
        return f"--learning_rate {rate:g} is likely too high, try {rate / 10:g}{clipping}{rounding}"

    def report(self, kind: str, reason: str) -> None:
        if not self.options.keep_going:
            raise HopelessTraining(reason)
        if kind not in self.reported:
            self.reported.add(kind)
            print(f"note: {reason} (continuing because of --keep_going)", flush=True)
