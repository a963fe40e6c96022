"""The ratio of the gradient norms of a Distiller's two loss terms, measured in the first steps of each epoch."""

import functools
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from models.distiller import DistillationLoss, Distiller
from utils.training.replicas import parts_of, run_on_replicas, sum_over_replicas

MOST_STEPS = 8  # measured per epoch; each takes nearly three times as long as an ordinary step


def gradient_norms(distiller: Distiller, clips, targets: Mapping) -> list:
    """Return the gradient norms of the two terms of a training step's loss, soft and hard: two scalar tensors.

    The terms are those of `DistillationLoss` with all of their weights, averaged over the batch. The gradients are with
    respect to all trainable weights of the student. The dropout masks are those of the next training step: the states
    of the seed generators, and of layers such as batch normalisation, are restored.
    """
    student, loss = distiller.student, distiller.distillation_loss
    changing = student.non_trainable_variables
    before = [tf.identity(variable.value) for variable in changing]
    targets = distiller.with_teacher_logits(clips, targets)
    with tf.GradientTape(persistent=True) as tape:
        logits = distiller(clips, training=True)
        soft = (1 - loss.alpha) * DistillationLoss(loss.temperature, alpha=0.0)(targets, logits)
        hard = loss.alpha * DistillationLoss(loss.temperature, alpha=1.0)(targets, logits)
    gradients = [sum_over_replicas(tape.gradient(term, student.trainable_variables)) for term in (soft, hard)]
    norms = [tf.linalg.global_norm(each) for each in gradients]
    for variable, value in zip(changing, before):
        variable.assign(value)
    return norms


class GradientRatio(keras.callbacks.Callback):
    """Adds `gradient_ratio` to the logs of each epoch; must precede the callbacks that read the logs.

    The ratio is the gradient norm of the soft term divided by that of the hard term: above 1 the teacher dominates,
    below 1 the labels. It is measured before the first training steps of an epoch, on their batches and weights, until
    one of them has a labelled clip, but in at most MOST_STEPS steps; the norms are averaged over these steps. It is
    infinite if none of them has a labelled clip. The compiled `model` must be a Distiller.
    """

    def __init__(self, model: Distiller):
        super().__init__()
        self.norms: list[list[float]] = []
        self._norms_of = tf.function(lambda *batch: run_on_replicas(functools.partial(gradient_norms, model), *batch))
        model.make_train_function()
        step = model.train_function

        def measured_step(iterator):
            clips, targets = batch = next(iter(iterator))
            if not self.is_complete:
                self.norms.append([float(norm) for norm, *_ in self._norms_of(clips, targets)])
                self.is_complete = len(self.norms) == MOST_STEPS or any(
                    np.any(labels >= 0) for labels in parts_of(targets["labels"])
                )
            return step([batch])

        model.train_function = measured_step

    def on_epoch_begin(self, epoch, logs=None):
        self.norms, self.is_complete = [], False

    def on_epoch_end(self, epoch, logs):
        soft, hard = np.mean(self.norms, axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            logs["gradient_ratio"] = float(soft / hard)


def gradient_ratio(model) -> list[keras.callbacks.Callback]:
    """Return the GradientRatio of a compiled model, if it is a Distiller with two terms.

    It wraps the training step, so that functions that wrap the step later must pass the batch on.
    """
    has_two_terms = isinstance(model, Distiller) and 0 < model.distillation_loss.alpha < 1
    return [GradientRatio(model)] if has_two_terms else []
