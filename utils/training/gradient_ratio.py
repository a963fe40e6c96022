"""The ratio of the gradient norms of a Distiller's two loss terms, once per epoch on one fixed batch."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from models.distiller import Distiller, hard_term, soft_term
from utils.data.batches import RowReader, evaluation_batches
from utils.splits.protocols import Split

CLIPS = 4  # in the fixed batch, so that it costs less than a training step of 8


def gradient_norms(distiller, clips, targets: Mapping) -> list:
    """Return the gradient norms of a Distiller's weighted soft and hard terms, two scalar tensors.

    The terms are (1 - alpha) T^2 KL and alpha CE, without dropout. The gradients are with respect to all weights of the
    student.
    """
    student, loss = distiller.student, distiller.distillation_loss
    targets = distiller.with_teacher_logits(clips, targets)
    with tf.GradientTape(persistent=True) as tape:
        logits = student(clips, training=False)
        hard = loss.alpha * tf.reduce_mean(hard_term(targets["labels"], logits))
        soft = (1 - loss.alpha) * tf.reduce_mean(soft_term(targets["teacher_logits"], logits, loss.temperature))
    return [tf.linalg.global_norm(tape.gradient(term, student.trainable_variables)) for term in (soft, hard)]


def gradient_log(model, reader: RowReader, split: Split, targets: Mapping) -> list[keras.callbacks.Callback]:
    """Return a callback that adds `gradient_ratio` to the logs of each epoch, if `model` is a Distiller with two terms.

    The ratio is the gradient norm of the soft term divided by that of the hard term: above 1 the teacher dominates,
    below 1 the labels. It is infinite if the hard term has no gradient. The callback must precede those that read the
    logs.
    """
    if not isinstance(model, Distiller) or not 0 < model.distillation_loss.alpha < 1:
        return []
    labelled = split.train[np.asarray(targets["labels"])[split.train] >= 0]
    rows = np.unique(labelled[np.linspace(0, len(labelled) - 1, CLIPS).astype(int)])
    batch = next(iter(evaluation_batches(reader, rows, targets, batch_size=CLIPS)))

    @tf.function  # three times as fast as eager execution
    def norms_of_batch(clips, targets):
        return gradient_norms(model, clips, targets)

    def add_ratio(epoch, logs):
        soft, hard = (float(norm) for norm in norms_of_batch(*batch))
        logs["gradient_ratio"] = soft / hard if hard > 0 else float("inf")

    return [keras.callbacks.LambdaCallback(on_epoch_end=add_ratio)]
