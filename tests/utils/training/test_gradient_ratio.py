"""The ratio of the gradient norms of the two loss terms, compared with those of the training steps themselves."""

import functools
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import ops

from models.distiller import Distiller
from tests.gradients import IS_JAX
from utils.base.options import TrainingOptions
from utils.data.batches import RowReader
from utils.data.protocols import Split
from utils.training.fit import fit
from utils.training.gradient_ratio import MOST_STEPS

ROWS, CLASSES = 60, 3
RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(ROWS, 5)).astype(np.float32)
TEACHER = RNG.normal(0, 3, (ROWS, CLASSES)).astype(np.float32)
LABELS = np.where(np.arange(ROWS) % 6, 0, RNG.integers(0, CLASSES, ROWS))  # class 0 is frequent
SPLIT = Split("random", 0, np.arange(48), np.arange(48, 54), np.arange(54, 60), ())
OPTIONS = TrainingOptions(batch_size=4, epochs=3, learning_rate=0.05, clip_norm=None)


def student(**last):
    """Return a network with dropout and batch normalisation, which change in every training step."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(8, activation="tanh"), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    return keras.Sequential([keras.Input((5,)), *layers, keras.layers.Dense(CLASSES, **last)])


def written_out(distiller, targets, logits):
    """Return the two terms, soft and hard, with the weights, as sums over the batch divided by its size."""
    alpha, temperature = distiller.distillation_loss.alpha, distiller.distillation_loss.temperature
    labels = ops.one_hot(targets["labels"], CLASSES)  # zeros for -1
    entropy = -ops.sum(labels * ops.log_softmax(logits), axis=1)
    hard = alpha * ops.sum(entropy * targets.get("label_weights", 1.0)) / logits.shape[0]
    p = ops.softmax(targets["teacher_logits"] / temperature)
    distance = ops.sum(p * (ops.log(p) - ops.log_softmax(logits / temperature)))
    return (1 - alpha) * temperature**2 * distance / logits.shape[0], hard


def norm(gradients):
    return ops.sqrt(sum(ops.sum(ops.square(part)) for part in gradients))


class Watched(Distiller):
    """Collects the gradient norms of both terms and the number of labels in each training step.

    The terms are written out above; batch, weights and dropout masks are those of the step.
    """

    def train_step(self, *arguments):
        step = self.norms_with_jax if IS_JAX else self.norms_with_tensorflow
        step(*arguments)
        return super().train_step(*arguments)

    def keep(self, *found):
        self.steps.append([float(value) for value in found])

    def norms_with_tensorflow(self, data):
        import tensorflow as tf

        clips, targets = data
        state = self.student.non_trainable_variables
        before = [tf.identity(variable.value) for variable in state]
        with tf.GradientTape(persistent=True) as tape:
            terms = written_out(self, targets, self.student(clips, training=True))
        norms = [norm(tape.gradient(term, self.student.trainable_weights)) for term in terms]
        for variable, value in zip(state, before):
            variable.assign(value)
        tf.py_function(self.keep, [*norms, tf.math.count_nonzero(targets["labels"] >= 0)], [])

    def norms_with_jax(self, state, data):
        import jax

        clips, targets = data

        def term(number):
            return lambda trainable: written_out(
                self, targets, self.student.stateless_call(trainable, state[1], clips, training=True)[0]
            )[number]

        norms = [norm(jax.grad(term(number))(state[0])) for number in (0, 1)]
        jax.debug.callback(self.keep, *norms, ops.count_nonzero(targets["labels"] >= 0), ordered=True)


def fitted(labels, options=OPTIONS, *, alpha=0.1, temperature=4.0, split=SPLIT, model=None):
    """Return the history of a distillation, and per training step the two norms and the number of labels."""
    distiller = Watched(model or student(), temperature=temperature, alpha=alpha)
    distiller.steps = []
    reader = RowReader(lambda rows, _: INPUTS[rows], (5,), np.float32)
    history = fit(distiller, reader, split, {"labels": labels, "teacher_logits": TEACHER}, options)
    return history, np.reshape(distiller.steps, (len(history), -1, 3))


def few(labels, kept):
    """Return the labels with those of all but `kept` training rows removed."""
    return np.where(np.isin(np.arange(ROWS), [*kept, *SPLIT.validation]), labels, -1)


CASES = {
    "all labels": LABELS,
    "few labels": few(LABELS, [3, 6, 17, 30, 36, 41]),
    "unlabelled clips": few(LABELS, range(24)),
    "few labels and unlabelled clips": few(LABELS, [1, 2, np.argmax(LABELS > 0)]),
}


@functools.cache
def fitted_case(case, class_weights):
    return fitted(CASES[case], replace(OPTIONS, class_weights=class_weights))


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
@pytest.mark.parametrize("case", CASES)
def test_the_ratio_is_that_of_the_training_steps(case, class_weights):
    """A user would tune alpha and T by a ratio that leaves out label weights, unlabelled clips or dropout."""
    history, steps = fitted_case(case, class_weights)
    for ratio, found in zip(history["gradient_ratio"], steps, strict=True):
        first_labelled = np.argmax(found[:, 2] > 0)
        assert found[first_labelled, 2] > 0
        assert first_labelled < MOST_STEPS
        soft, hard, _ = found[: 1 + first_labelled].mean(axis=0)
        assert ratio == pytest.approx(soft / hard, rel=1e-5)


def test_the_ratio_depends_on_class_weights_and_labels():
    """The comparison above detects what is left out only if it changes the ratio."""
    ratios = [[fitted_case(case, w)[0]["gradient_ratio"][0] for w in ("none", "balanced")] for case in CASES]
    assert all(abs(balanced / plain - 1) > 0.1 for plain, balanced in ratios)
    assert np.max(ratios) > 5 * np.min(ratios)


def test_measuring_does_not_change_the_training(monkeypatch):
    """A student would depend on whether its gradients are reported."""
    model, unmeasured = student(), student()
    fitted(LABELS, model=model)
    monkeypatch.setattr("utils.training.fit.gradient_ratio", lambda model: [])
    history, _ = fitted(LABELS, model=unmeasured)
    assert "gradient_ratio" not in history.dtype.names
    for one, other in zip(model.variables, unmeasured.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_steps_without_labels_have_an_infinite_ratio(capsys):
    """Only the teacher acts in them; a finite number would hide that."""
    history, steps = fitted(few(LABELS, []), replace(OPTIONS, epochs=1))
    assert np.isposinf(history["gradient_ratio"]).all()
    assert np.count_nonzero(steps[0, :, 1]) == 0
    assert "soft/hard gradients inf" in capsys.readouterr().out


def test_a_student_that_equals_its_teacher_without_labels_has_no_ratio():
    """0 / 0 is neither of the two terms."""
    model = student(kernel_initializer="zeros")
    targets = {"labels": few(LABELS, []), "teacher_logits": np.zeros((ROWS, CLASSES), np.float32)}
    reader = RowReader(lambda rows, _: INPUTS[rows], (5,), np.float32)
    options = replace(OPTIONS, epochs=1, keep_going=True)
    history = fit(Distiller(model, temperature=4.0, alpha=0.1), reader, SPLIT, targets, options)
    assert np.isnan(history["gradient_ratio"]).all()


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_one_term_has_no_ratio(alpha):
    """With alpha 0 or 1 there is nothing to compare."""
    history, _ = fitted(LABELS, replace(OPTIONS, epochs=1), alpha=alpha)
    assert "gradient_ratio" not in history.dtype.names
