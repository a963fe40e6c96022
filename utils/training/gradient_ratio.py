"""Which of a Distiller's two terms steers: the ratio of their gradients' norms, once an epoch on one fixed batch."""

from collections.abc import Mapping

import numpy as np

from utils.data.batches import Source, evaluation_batches
from utils.splits.protocols import Split

CLIPS = 4  # of the fixed batch, so that it costs less than a step of eight


def gradient_norms(distiller, clips, targets: Mapping) -> list:
    """Norms of the gradients of a Distiller's two weighted terms, the soft and the hard one, without dropout.

    The terms are those of the loss, (1 - alpha) T^2 KL and alpha CE, and the gradients are with respect to all of the
    student's weights. Two scalar tensors.
    """
    import tensorflow as tf

    from models.distiller import hard_term, soft_term

    student, loss = distiller.student, distiller.distillation_loss
    targets = distiller.with_teacher_logits(clips, targets)
    with tf.GradientTape(persistent=True) as tape:
        logits = student(clips, training=False)
        hard = loss.alpha * tf.reduce_mean(hard_term(targets["labels"], logits))
        soft = (1 - loss.alpha) * tf.reduce_mean(soft_term(targets["teacher_logits"], logits, loss.temperature))
    return [tf.linalg.global_norm(tape.gradient(term, student.trainable_variables)) for term in (soft, hard)]


def gradient_log(distiller, source: Source, split: Split, targets: Mapping[str, np.ndarray]):
    """A callback that adds `gradient_ratio` to each epoch's log; to stand before those that read the log.

    It is the soft term's norm over the hard term's: above 1 the teacher steers, below 1 the labels do; infinite where
    the labels have no gradient left.
    """
    import keras
    import tensorflow as tf

    labelled = split.train[np.asarray(targets["labels"])[split.train] >= 0]
    rows = np.unique(labelled[np.linspace(0, len(labelled) - 1, CLIPS).astype(int)])
    batch = next(iter(evaluation_batches(source, rows, targets, batch_size=CLIPS)))

    @tf.function  # three times as fast as step by step
    def norms_of_batch(clips, targets):
        return gradient_norms(distiller, clips, targets)

    class GradientLog(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            soft, hard = (float(norm) for norm in norms_of_batch(*batch))
            logs["gradient_ratio"] = soft / hard if hard > 0 else float("inf")

    return GradientLog()
