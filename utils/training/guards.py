"""Trainings that cannot succeed, noticed early and said in one line with the likely cause and what to try."""

import math
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from models.distiller import Distiller
from utils.data.batches import RowReader
from utils.networks.precision import is_mixed
from utils.runtime.errors import UserError
from utils.settings.options import TrainingOptions
from utils.splits.protocols import Split

PROBE_CLIPS = 8  # whose scores are compared
CONFIRMING_CLIPS = 64  # before a network is called dead
STEPS_BETWEEN_WEIGHTS = 10  # looking at all weights costs about as much as a hundredth of a step
STEPS_BETWEEN_PROBES = 100
SAME = 1e-5  # of the largest score: what rounding makes of equal scores
PATIENT_EPOCHS = 10  # from scratch, the published networks need some epochs before anything happens


class HopelessTraining(Exception):
    """Going on is pointless; the message is one line for the user."""


def check_targets(classes: int, targets: Mapping[str, np.ndarray], split: Split, *, may_lack_labels: bool) -> None:
    """Raises UserError if a network with `classes` outputs cannot learn the targets of training and validation rows.

    Labels are 0..classes-1, or -1 for a clip without one; teacher logits `(N, C)` or `(N, views, C)` are finite.
    """
    rows = np.concatenate([split.train, split.validation])
    labels = targets["labels"][rows]
    lowest = -1 if may_lack_labels else 0
    wrong = rows[(labels < lowest) | (labels >= classes)]
    if len(wrong):
        raise UserError(
            f"--annotations: labels must be {lowest} to {classes - 1} for a network of {classes} classes, "
            f"got {targets['labels'][wrong[0]]} in row {wrong[0]} ({len(wrong)} such clips)"
        )
    teacher = targets.get("teacher_logits")
    if teacher is None:
        return
    if teacher.shape[-1] != classes:
        raise UserError(f"--source: must answer for {classes} classes, answers for {teacher.shape[-1]}")
    of_view_zero = teacher if teacher.ndim == 2 else teacher[:, 0]
    for name, answers in (("train", teacher), ("validation", of_view_zero)):
        rows = getattr(split, name)
        wrong = rows[~np.isfinite(answers[rows]).reshape(len(rows), -1).all(axis=1)]
        if len(wrong):
            raise UserError(f"--source: answers must be finite, those for {len(wrong)} clips are not: row {wrong[0]}")


def is_constant(values: np.ndarray) -> bool:
    """Whether all rows of `values` `(B, ...)` are equal, but for rounding. False for a single row."""
    values = np.asarray(values, np.float64)
    return len(values) > 1 and bool(np.ptp(values, axis=0).max() <= SAME * np.abs(values).max())


def non_finite_variable(variables: Sequence) -> str | None:
    """Path of the first variable that holds a number which is not finite, or None.

    Gradients that are not finite leave such variables. A sum tells in one pass without a copy.
    """
    return next((v.path for v in variables if not math.isfinite(float(keras.ops.sum(v)))), None)


def no_progress(losses: Sequence[float], accuracies: Sequence[float], labels: np.ndarray) -> str | None:
    """What to say once after PATIENT_EPOCHS epochs in which training has come to nothing, or None.

    `losses` and `accuracies` are those of training, an entry an epoch; `labels` those of its clips, -1 for none.
    Nothing has come of it if accuracy was never above chance (always naming the largest class, and three standard
    deviations of that) and the loss has not fallen by 2 %.
    """
    labels = labels[labels >= 0]
    if len(losses) < PATIENT_EPOCHS or not len(labels):
        return None

    def stuck(end: int) -> bool:
        chance = np.bincount(labels).max() / len(labels)
        limit = chance + 3 * math.sqrt(chance * (1 - chance) / len(labels))
        begin = end - PATIENT_EPOCHS
        return begin >= 0 and max(accuracies[begin:end]) <= limit and min(losses[begin:end]) > 0.98 * losses[begin]

    if not stuck(len(losses)) or stuck(len(losses) - 1):
        return None
    return (
        f"no progress in {PATIENT_EPOCHS} epochs: the loss stays at {losses[-1]:.3f} and accuracy on training clips at "
        f"chance; try another --learning_rate, --initialisation data, --dropout 0 for a narrow network, more --epochs"
    )


class Guard(keras.callbacks.Callback):
    """Ends a hopeless training; must stand before the callback that saves epochs.

    It checks the loss in every step, the weights every 10 steps, the scores of some clips every 100 steps, and all of
    them at the end of an epoch. With `keep_going` it prints each finding once and training goes on. `past()` returns
    the finished epochs with `loss` and `accuracy`. Raises UserError if the model cannot learn the targets.
    """

    def __init__(
        self,
        model,
        reader: RowReader,
        split: Split,
        targets: Mapping[str, np.ndarray],
        options: TrainingOptions,
        past: Callable[[], Sequence[Mapping[str, float]]],
    ):
        super().__init__()
        self.set_model(model)
        self.reader, self.options, self.past = reader, options, past
        self.labels = targets["labels"][split.train]
        self.probe = spread(split.validation, PROBE_CLIPS)
        self.more_clips = spread(np.concatenate([split.train, split.validation]), CONFIRMING_CLIPS)
        self.epoch = self.steps = 0
        self.said: set[str] = set()
        classes = self.scores(self.probe).shape[-1]
        check_targets(classes, targets, split, may_lack_labels=isinstance(model, Distiller))

    def on_train_begin(self, logs=None) -> None:
        if is_constant(self.inputs(self.probe)):
            self.found("data", f"--data: {len(self.probe)} validation clips are equal in every frame")

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
        self.check_scores(where)
        losses, accuracies = ([past[name] for past in (*self.past(), logs)] for name in ("loss", "accuracy"))
        stuck = no_progress(losses, accuracies, self.labels)
        if stuck is not None:
            print(f"note: {stuck}", flush=True)

    def inputs(self, rows: np.ndarray) -> np.ndarray:
        return self.reader.read(rows, np.zeros(len(rows), np.int64))

    def scores(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self.model(self.inputs(rows), training=False))

    def check_loss(self, name: str, loss: float, where: str) -> None:
        if not math.isfinite(loss):
            is_first = self.steps == self.epoch == 0
            early = "before any weight has changed, so clips or starting weights are not finite"
            self.found("finite", f"the {name} is {loss} {where}: {early if is_first else self.cause()}")

    def check_weights(self, where: str) -> None:
        path = non_finite_variable(self.model.trainable_variables)
        if path is not None:
            self.found("finite", f"{path} is not finite {where}, nor was its gradient: {self.cause()}")

    def check_scores(self, where: str) -> None:
        if is_constant(self.scores(self.probe)) and is_constant(self.scores(self.more_clips)):
            remedy = f"try --learning_rate {self.options.learning_rate / 10:g}, or --initialisation data"
            self.found("constant", f"the network gives all clips the same scores {where}: its units are dead; {remedy}")

    def cause(self) -> str:
        rate, clipping = self.options.learning_rate, " and --clip_norm 1" if self.options.clip_norm is None else ""
        rounding = " or --precision float32" if is_mixed(self.model) else ""
        return f"--learning_rate {rate:g} is likely too high, try {rate / 10:g}{clipping}{rounding}"

    def found(self, kind: str, reason: str) -> None:
        if not self.options.keep_going:
            raise HopelessTraining(reason)
        if kind not in self.said:
            self.said.add(kind)
            print(f"note: {reason} (continuing because of --keep_going)", flush=True)


def spread(rows: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of `rows`, evenly spread, the first and the last among them."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, count).astype(int))]
