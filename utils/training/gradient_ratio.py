"""The ratio of the gradient norms of a Distiller's two loss terms, measured in the first steps of each epoch."""

import functools
from collections.abc import Callable, Mapping

import keras
import numpy as np

from models.distiller import DistillationLoss, Distiller
from utils.base.backend import is_jax
from utils.training.replicas import parts_of, run_on_replicas, sum_over_replicas
from utils.training.steps import on_each_batch

MOST_STEPS = 8  # measured per epoch; each takes nearly three times as long as an ordinary step


def gradient_norms(distiller: Distiller, clips, targets: Mapping) -> list:
    """Return the gradient norms of the two terms of a training step's loss, soft and hard: two scalar tensors.

    The terms are those of `DistillationLoss` with all of their weights, averaged over the batch. The gradients are with
    respect to all trainable weights of the student. The dropout masks are those of the next training step: the states
    of the seed generators, and of layers such as batch normalisation, are restored.
    """
    import tensorflow as tf

    student = distiller.student
    changing = student.non_trainable_variables
    before = [tf.identity(variable.value) for variable in changing]
    targets = distiller.with_teacher_logits(clips, targets)
    with tf.GradientTape(persistent=True) as tape:
        terms = soft_and_hard(distiller, targets, distiller(clips, training=True))
    gradients = [sum_over_replicas(tape.gradient(term, student.trainable_variables)) for term in terms]
    norms = [tf.linalg.global_norm(each) for each in gradients]
    for variable, value in zip(changing, before):
        variable.assign(value)
    return norms


def gradient_norms_with_jax(distiller: Distiller, trainable: list, others: list, clips, targets: Mapping) -> list:
    """Return the same norms for the values `trainable` and `others` of the variables of the distiller."""
    import jax

    def terms(trainable):
        variables = distiller.trainable_variables + distiller.non_trainable_variables
        with keras.StatelessScope(state_mapping=list(zip(variables, [*trainable, *others]))):
            given = distiller.with_teacher_logits(clips, targets)
            return soft_and_hard(distiller, given, distiller(clips, training=True))

    _, gradients = jax.vjp(terms, trainable)
    squares = [sum(keras.ops.sum(part**2) for part in gradients(term)[0]) for term in ((1.0, 0.0), (0.0, 1.0))]
    return [keras.ops.sqrt(square) for square in squares]


def soft_and_hard(distiller: Distiller, targets: Mapping, logits) -> tuple:
    """Return the two terms of the loss with their weights, averaged over the batch."""
    loss = distiller.distillation_loss
    soft = (1 - loss.alpha) * DistillationLoss(loss.temperature, alpha=0.0)(targets, logits)
    return soft, loss.alpha * DistillationLoss(loss.temperature, alpha=1.0)(targets, logits)


def compiled_norms(distiller: Distiller) -> Callable:
    """Return a compiled function of (clips, targets, state of the step, see `on_each_batch`) to the two norms."""
    if is_jax():
        import jax

        norms_of = jax.jit(lambda *arguments: gradient_norms_with_jax(distiller, *arguments))
        return lambda clips, targets, state: norms_of(state[0], state[1], clips, targets)
    import tensorflow as tf

    norms_of = tf.function(lambda *batch: run_on_replicas(functools.partial(gradient_norms, distiller), *batch))
    return lambda clips, targets, _: [norm for norm, *_ in norms_of(clips, targets)]  # equal in all replicas


def has_label(labels) -> bool:
    """Return whether any of the labels `(B,)` is not -1."""
    return bool(keras.ops.any(keras.ops.greater_equal(labels, 0)))


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
        norms_of = compiled_norms(model)

        def measured(iterator, state):
            clips, targets = batch = next(iterator)
            if not self.is_complete:
                self.norms.append([float(norm) for norm in norms_of(clips, targets, state)])
                self.is_complete = len(self.norms) == MOST_STEPS or any(map(has_label, parts_of(targets["labels"])))
            return batch

        on_each_batch(model, measured)

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
