"""The ratio of the gradient norms of the two loss terms, compared with a closed form."""

import keras
import numpy as np
import pytest
from scipy.special import softmax

from models.distiller import Distiller
from utils.data.batches import RowReader
from utils.splits.protocols import Split
from utils.training.gradient_ratio import gradient_log, gradient_norms


def expected_ratio(inputs, weights, labels, teacher, temperature, alpha):
    """For logits z = x W: dCE/dW = x^T (p - y) / B and d(T^2 KL)/dW = T x^T (p_T - q_T) / B."""
    logits = inputs @ weights
    hard = (softmax(logits, axis=1) - np.eye(3)[labels]) * (labels >= 0)[:, None]
    soft = temperature * (softmax(logits / temperature, axis=1) - softmax(teacher / temperature, axis=1))
    norms = [np.linalg.norm(inputs.T @ part) for part in ((1 - alpha) * soft, alpha * hard)]
    return norms[0] / norms[1]


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    inputs, teacher = rng.normal(size=(20, 5)), rng.normal(0, 3, (20, 3))
    student = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(3, use_bias=False), keras.layers.Dropout(0.9)], name="student"
    )
    return inputs.astype(np.float32), rng.integers(0, 3, 20), teacher.astype(np.float32), student


def test_the_ratio_is_of_the_weighted_terms_without_dropout(problem):
    """Without the weights or T^2, or with dropout, the ratio would not show which term dominates."""
    inputs, labels, teacher, student = problem
    labels[:7] = -1
    for temperature, alpha in ((1.0, 0.5), (8.0, 0.1)):
        distiller = Distiller(student, temperature=temperature, alpha=alpha)
        soft, hard = gradient_norms(distiller, inputs, {"labels": labels, "teacher_logits": teacher})
        weights = np.asarray(student.layers[0].kernel)
        assert float(soft / hard) == pytest.approx(
            expected_ratio(inputs, weights, labels, teacher, temperature, alpha), rel=1e-4
        )


def test_the_fixed_batch_has_labelled_training_clips(problem):
    """With other clips in each epoch the ratio would vary; unlabelled clips have no hard term."""
    inputs, labels, teacher, student = problem
    labels[[0, 1, 9]] = -1
    source = RowReader(lambda rows, _: inputs[rows], (5,), np.float32)
    split = Split("random", 0, np.arange(10), np.arange(10, 15), np.arange(15, 20), ())
    distiller = Distiller(student, temperature=4.0, alpha=0.1)
    log = {}
    (callback,) = gradient_log(distiller, source, split, {"labels": labels, "teacher_logits": teacher})
    callback.on_epoch_end(0, log)
    rows = np.array([2, 4, 6, 8])
    expected = expected_ratio(inputs[rows], np.asarray(student.layers[0].kernel), labels[rows], teacher[rows], 4.0, 0.1)
    assert log["gradient_ratio"] == pytest.approx(expected, rel=1e-4)
