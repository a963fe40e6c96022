"""Offline response-based knowledge distillation: the loss, and the model that trains a student with it."""

import keras
from keras import ops


class DistillationLoss(keras.losses.Loss):
    """alpha CE(y, z_s) + (1 - alpha) T^2 KL(softmax(z_t / T) || softmax(z_s / T)), averaged over the batch.

    The formula is from Hinton et al., arXiv:1503.02531; T^2 makes the size of the soft gradients independent of the
    temperature T. Logarithms are natural. `y_true` is a dict of `labels` `(B,)`, class numbers or -1 for unlabelled
    clips, whose hard term is 0, and `teacher_logits` `(B, C)`, which may be missing if `alpha` is 1. Optional
    `label_weights` `(B,)` multiply the hard term of each clip. `y_pred` are the student's logits `(B, C)`. Both logits
    must be raw: with a softmax before this loss the soft term vanishes.
    """

    def __init__(self, temperature: float = 10.0, alpha: float = 0.1, name: str = "distillation_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        if not temperature > 0:
            raise ValueError(f"temperature must be a number above 0, got {temperature}")
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be a number from 0 to 1, got {alpha}")
        self.temperature = temperature
        self.alpha = alpha

    def call(self, y_true, y_pred):
        if self.alpha == 0:
            return self.soft(y_true, y_pred)
        hard = self.hard(y_true, y_pred)
        if self.alpha == 1:
            return hard
        return self.alpha * hard + (1 - self.alpha) * self.soft(y_true, y_pred)  # (B,)

    def hard(self, y_true, y_pred):
        """Return the hard term per clip before weighting by alpha: `(B,)`."""
        return hard_term(y_true["labels"], y_pred, y_true.get("label_weights"))

    def soft(self, y_true, y_pred):
        """Return the soft term per clip before weighting by 1 - alpha: `(B,)`."""
        return soft_term(y_true["teacher_logits"], y_pred, self.temperature)

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature, "alpha": self.alpha}


def hard_term(labels, student_logits, label_weights=None):
    """Return the cross entropy of labels `(B,)` and logits `(B, C)` per clip: `(B,)`, in nats; 0 for the label -1.

    `label_weights` `(B,)` multiply it.
    """
    labels = ops.cast(labels, "int32")
    entropy = ops.sparse_categorical_crossentropy(ops.maximum(labels, 0), student_logits, from_logits=True)
    hard = ops.where(labels >= 0, entropy, 0.0)
    return hard if label_weights is None else hard * ops.cast(label_weights, hard.dtype)


def soft_term(teacher_logits, student_logits, temperature: float):
    """Return T^2 KL(teacher || student) at temperature T of two logits `(B, C)` per clip: `(B,)`, in nats."""
    teacher = ops.log_softmax(teacher_logits / temperature, axis=-1)
    student = ops.log_softmax(student_logits / temperature, axis=-1)
    return temperature**2 * ops.sum(ops.exp(teacher) * (teacher - student), axis=-1)


def is_correct(labels, logits):
    """Return 1 for each clip whose highest logit `(B, C)` is that of its label `(B,)`, else 0: float32 `(B,)`.

    Logits with NaN have no highest one; argmax would return class 0.
    """
    is_right = ops.equal(ops.cast(labels, "int32"), ops.cast(ops.argmax(logits, axis=-1), "int32"))
    return ops.cast(ops.logical_and(is_right, ops.logical_not(ops.any(ops.isnan(logits), axis=-1))), "float32")


class MeanOrNan(keras.metrics.Mean):
    """The weighted mean of values, or NaN if the weights sum to 0, where Keras returns 0."""

    def result(self):
        return ops.where(self.count > 0, super().result(), float("nan"))


class Distiller(keras.Model):
    """Trains `student` with `DistillationLoss(**loss)`; afterwards only the student is needed.

    Targets are a dict of `labels` `(B,)` and `teacher_logits` `(B, C)`, computed beforehand. Alternatively, a live
    `teacher`, a model of the same clips that returns logits, is evaluated in each step, frozen and without dropout.
    Targets are then only `labels`, as a dict or an array, or `labels` and `teacher_clips`, the same views at the
    teacher's input size.

    Logs `hard_loss` and `soft_loss`, the means of the two terms over all clips before weighting by `alpha`, `accuracy`
    on the labelled clips, NaN if there are none, and `agreement`, the fraction of clips for which student and teacher
    predict the same class. With `alpha` 1 no teacher is needed, and `soft_loss` and `agreement` are not logged.
    """

    def __init__(self, student: keras.Model, teacher: keras.Model | None = None, **loss):
        super().__init__()
        self.student = student
        self.teacher = teacher
        if teacher is not None:
            teacher.trainable = False
        self.distillation_loss = DistillationLoss(**loss)
        self.hard_loss = keras.metrics.Mean(name="hard_loss")
        self.accuracy = MeanOrNan(name="accuracy")
        if self.distillation_loss.alpha < 1:
            self.soft_loss = keras.metrics.Mean(name="soft_loss")
            self.agreement = keras.metrics.Mean(name="agreement")

    def call(self, clips, training=None):
        return self.student(clips, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        targets = self.with_teacher_logits(x, y if isinstance(y, dict) else {"labels": y})
        self._log(targets, y_pred, sample_weight)
        loss = self.distillation_loss(targets, y_pred, sample_weight)
        for penalty in self.student.losses:
            loss += self._aggregate_additional_loss(penalty)
        return loss

    def with_teacher_logits(self, clips, targets: dict) -> dict:
        """Return the targets of a batch, with the logits of the live teacher if there is one."""
        if self.teacher is None or self.distillation_loss.alpha == 1:
            return targets
        logits = ops.stop_gradient(self.teacher(targets.get("teacher_clips", clips), training=False))
        return {**targets, "teacher_logits": logits}

    def _log(self, targets, student_logits, sample_weight):
        labels = ops.cast(targets["labels"], "int32")
        labelled = ops.cast(labels >= 0, "float32")
        weight = labelled if sample_weight is None else labelled * sample_weight
        self.hard_loss.update_state(self.distillation_loss.hard(targets, student_logits), sample_weight)
        self.accuracy.update_state(is_correct(labels, student_logits), weight)
        if self.distillation_loss.alpha < 1:
            teacher_choice = ops.argmax(targets["teacher_logits"], axis=-1)
            self.soft_loss.update_state(self.distillation_loss.soft(targets, student_logits), sample_weight)
            self.agreement.update_state(is_correct(teacher_choice, student_logits), sample_weight)
