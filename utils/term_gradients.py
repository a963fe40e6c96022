"""Which of a Distiller's two terms steers: the ratio of their gradients' norms, once an epoch on one fixed batch."""

from collections.abc import Mapping

import numpy as np

from utils.batches import Source, evaluation_batches
from utils.splits import Split

CLIPS = 4  # of the fixed batch, so that it costs about as much as half a step of eight


def gradient_ratio(distiller, clips, targets: Mapping) -> float:
    """Norm of the weighted soft term's gradient over that of the weighted hard term's, without dropout.

    The terms are those of the loss, (1 - alpha) T^2 KL and alpha CE, and the gradients are with respect to all of the
    student's weights. Above 1 the teacher steers, below 1 the labels do. Infinite if no clip has a label.
    """
    import tensorflow as tf

    from models.distiller import hard_term, soft_term

    student, loss = distiller.student, distiller.distillation_loss
    targets = distiller.with_teacher_logits(clips, targets)
    with tf.GradientTape(persistent=True) as tape:
        logits = student(clips, training=False)
        hard = loss.alpha * tf.reduce_mean(hard_term(targets["labels"], logits))
        soft = (1 - loss.alpha) * tf.reduce_mean(soft_term(targets["teacher_logits"], logits, loss.temperature))
    norms = [float(tf.linalg.global_norm(tape.gradient(term, student.trainable_variables))) for term in (soft, hard)]
    return norms[0] / norms[1] if norms[1] > 0 else float("inf")


def gradient_log(distiller, source: Source, split: Split, targets: Mapping[str, np.ndarray]):
    """A callback that adds `gradient_ratio` to each epoch's log; to stand before those that read the log."""
    import keras

    labelled = split.train[np.asarray(targets["labels"])[split.train] >= 0]
    rows = np.unique(labelled[np.linspace(0, len(labelled) - 1, CLIPS).astype(int)])
    batch = next(iter(evaluation_batches(source, rows, targets, batch_size=CLIPS)))

    class GradientLog(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["gradient_ratio"] = gradient_ratio(distiller, *batch)

    return GradientLog()
