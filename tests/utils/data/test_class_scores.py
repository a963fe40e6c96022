"""The decision between logits and probabilities, logits from probabilities, and the soft term that they give."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax, softmax

from models.distiller import soft_term
from utils.base.errors import UserError
from utils.data.class_scores import BLOCK, LOGITS, are_probabilities, as_logits, kind_of

LOGIT = np.random.default_rng(0).normal(0, 2, (60, 5)) + 3 * np.eye(5)[np.arange(60) % 5]
PROBABILITY = softmax(LOGIT, axis=1)
MANY = softmax(np.random.default_rng(1).normal(0, 2, (50, 101)), axis=1)
RELU = np.maximum(np.random.default_rng(2).normal(0, 2, (60, 5)), 0)


def with_row(scores, values, row=7):
    scores = scores.copy()
    scores[row] = values
    return scores


def as_bfloat16(scores):
    """Scores rounded to bfloat16, as float32."""
    return np.asarray(keras.ops.cast(keras.ops.cast(scores.astype("f4"), "bfloat16"), "float32"))


KINDS = {
    "logits": (LOGIT, "logits"),
    "log-probabilities": (np.log(PROBABILITY), "logits"),
    "rows of logits sum to 1": (LOGIT + (1 - LOGIT.sum(axis=1, keepdims=True)) / 5, "logits"),
    "huge logits": (with_row(LOGIT, 1e308), "logits"),
    "probabilities": (PROBABILITY, "probabilities"),
    "float16": (MANY.astype("f2"), "probabilities"),
    "sums 0.9995": (0.9995 * PROBABILITY, "probabilities"),
    "one decimal, sums 1": (np.tile([0.5, 0.3, 0.2], (9, 1)), "probabilities"),
    "one-hot rows": (np.eye(5), "probabilities"),
    "rows without scores": (with_row(PROBABILITY, np.nan), "probabilities"),
    "a row with an infinity": (with_row(PROBABILITY, [np.inf, 0, 0, 0, 0]), "probabilities"),
    "a row of zeros": (with_row(PROBABILITY, 0), "probabilities"),
    "views": (np.stack([PROBABILITY, np.full_like(PROBABILITY, np.nan)], axis=1), "probabilities"),
}


@pytest.mark.parametrize(("scores", "expected"), KINDS.values(), ids=KINDS)
def test_kinds(scores, expected):
    """Probabilities that are taken for logits give a fraction of the soft term, logits a logarithm of logits."""
    assert kind_of(scores, what="s.npy").name == expected


UNCLEAR = {
    "logits that are not negative": (RELU, 0),
    "one-hot rows of 5": (5 * np.eye(5), 0),
    "zeros": (np.zeros((6, 5)), 0),
    "sums 0.99": (0.99 * PROBABILITY, 0),
    "sigmoids": (1 / (1 + np.exp(-LOGIT)), 0),
    "two decimals, 101 classes": (np.round(MANY, 2).astype("f4"), None),
    "percent": (100 * PROBABILITY, 0),
    "one row of logits": (with_row(PROBABILITY, LOGIT[7]), 59),
    "one row in percent": (with_row(PROBABILITY, 100 * PROBABILITY[7]), 59),
    "one negative value": (with_row(PROBABILITY, [1.2, -0.2, 0, 0, 0]), 59),
    "views": (np.stack([PROBABILITY, LOGIT], axis=1), 60),
}


@pytest.mark.parametrize(("scores", "fitting"), UNCLEAR.values(), ids=UNCLEAR)
def test_unclear_scores_are_asked_for(scores, fitting):
    """A guess would give targets of another kind than the teacher's, for all clips or for some of them."""
    with pytest.raises(UserError, match=r"^--source: s\.npy must hold logits or probabilities; choose ") as error:
        kind_of(scores, what="--source: s.npy")
    if fitting is not None:
        assert f" {fitting} of " in str(error.value)
    assert "\n" not in str(error.value)
    assert kind_of(scores, what="", asked="logits") == LOGITS
    assert kind_of(scores, what="", asked="probabilities").name == "probabilities"


def test_rows_are_counted_across_blocks():
    """Rows of a large file, which is read in parts, would be left out."""
    clips = 2 * BLOCK // 50 + 3
    scores = np.zeros((clips, 2, 50), np.float32)
    scores[..., 0] = 1
    assert kind_of(scores, what="").name == "probabilities"
    scores[-2, 1, 3] = 0.5
    with pytest.raises(UserError, match=f"{2 * clips - 1} of {2 * clips} rows sum to 1"):
        kind_of(scores, what="")


def converted(scores, asked="auto"):
    return as_logits(scores, kind_of(scores, what="", asked=asked))


def test_logarithms_of_probabilities():
    """Targets would differ from those of the teacher."""
    for scores in (PROBABILITY, 100 * PROBABILITY, PROBABILITY.astype("f4")):
        found = converted(scores, "probabilities")
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, np.log(PROBABILITY), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(converted(PROBABILITY, "logits"), PROBABILITY.astype("f4"))


def test_rows_without_scores_become_nan():
    """A row of zeros would become a uniform target, and a row with a negative number one that ignores it."""
    for bad in (0, np.nan, [np.inf, 0, 0, 0, 0], [1.2, -0.2, 0, 0, 0]):
        found = converted(with_row(PROBABILITY, bad), "probabilities")
        assert np.isnan(found[7]).all()
        assert np.isfinite(np.delete(found, 7, axis=0)).all()
    assert np.isinf(converted(with_row(LOGIT, 1e308))[7]).all()


@pytest.mark.parametrize(("row", "zeros"), [([1.0, 0, 0], 0.0025), ([0.99, 0.01, 0], 0.005), ([0.7, 0.3, 0], 0.005)])
def test_zeros_share_half_of_the_smallest_probability(row, zeros):
    """A zero of a rounded file would count as 1e-30, which at temperature 10 is a score ratio of 1:1000, not 1:2."""
    scores, shares = np.array([row, [0.5, 0.49, 0.01]]), np.array(row)
    shares[shares == 0] = zeros
    np.testing.assert_allclose(converted(scores)[0], np.log(shares), rtol=1e-6)


def test_zeros_of_unrounded_probabilities_are_below_all_others():
    """A zero of float32 would be ranked above small probabilities."""
    scores = np.array([[1 - 1e-9, 1e-9, 0.0], [0.2, 0.3, 0.5]])
    np.testing.assert_allclose(converted(scores)[0, 1:], np.log([1e-9, 5e-10]), rtol=1e-6)
    scores = np.array([[1.0, 5e-324, 0.0], [0.2, 0.3, 0.5]])
    np.testing.assert_allclose(converted(scores)[0], np.log([1, 1e-30, 1e-30]), rtol=1e-6)


@pytest.mark.parametrize("classes", [3, 20, 101])
def test_zeros_are_closer_to_the_teacher_than_other_choices(classes):
    """Softened targets would be further than necessary from those of the unrounded probabilities."""
    rng = np.random.default_rng(classes)
    logits = rng.normal(0, 2, (300, classes)) + 8 * np.eye(classes)[np.arange(300) % classes]
    rounded = np.round(softmax(logits, axis=1), 2)
    choices = {
        "ours": converted(rounded, "probabilities"),
        "1e-30": np.log(np.maximum(rounded, 1e-30)),
        "half a step each": np.log(np.where(rounded == 0, 0.005, rounded)),
    }
    for temperature in (1, 4, 10):
        errors = {name: soft_loss(logits, found, temperature) for name, found in choices.items()}
        assert min(errors, key=errors.get) == "ours"


def soft_loss(teacher, student, temperature):
    """The soft term in float64: T^2 KL(teacher || student), averaged over the rows."""
    teacher = log_softmax(np.asarray(teacher, np.float64) / temperature, axis=1)
    student = log_softmax(np.asarray(student, np.float64) / temperature, axis=1)
    return temperature**2 * (np.exp(teacher) * (teacher - student)).sum(axis=1).mean()


@pytest.mark.parametrize(
    "scores",
    [lambda p: p, lambda p: np.round(p, 2), lambda p: 100 * p, lambda p: np.round(100 * p), lambda p: with_row(p, 0)],
    ids=["exact", "two decimals", "percent", "whole percent", "with a row of zeros"],
)
def test_the_soft_term_and_its_gradient_are_those_of_the_logarithm(scores):
    """Taken for logits, rounded probabilities give a small part of the soft term, and the student learns little.

    The smallest probability is 0.05, so that rounding changes a logarithm by at most 0.1, and the term by about 5 %.
    """
    logits = 0.3 * np.random.default_rng(3).normal(size=(60, 5)) + np.eye(5)[np.arange(60) % 5]
    probability = softmax(logits, axis=1)
    assert probability.min() > 0.05
    given = scores(probability).astype(np.float32)
    student = np.random.default_rng(4).normal(size=(60, 5))
    found = converted(given, "probabilities")
    rows = np.isfinite(found).all(axis=1)
    temperature = 10.0
    expected = soft_loss(logits[rows], student[rows], temperature)
    term = float(np.mean(soft_term(found[rows], student[rows].astype("f4"), temperature)))
    assert term == pytest.approx(expected, rel=0.05)
    assert soft_loss(given[rows], student[rows], temperature) != pytest.approx(expected, rel=0.15)

    def closed_form(teacher):  # gradient of T^2 KL with respect to the student's logits
        softened = [softmax(np.asarray(part, np.float64)[rows] / temperature, axis=1) for part in (student, teacher)]
        return temperature * (softened[0] - softened[1])

    variable = tf.Variable(student[rows].astype("f4"))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(soft_term(found[rows], variable, temperature))
    gradient = tape.gradient(loss, variable).numpy()
    size = np.linalg.norm(closed_form(logits))
    assert np.linalg.norm(gradient - closed_form(logits)) < 0.05 * size
    assert np.linalg.norm(closed_form(given) - closed_form(logits)) > 0.15 * size


def test_outputs_of_networks_follow_the_same_rule():
    """A network with a softmax in bfloat16 would be a teacher without a soft term."""
    for scores in (PROBABILITY, as_bfloat16(PROBABILITY)):
        assert are_probabilities(scores[:2])
    for scores in (LOGIT, RELU, with_row(PROBABILITY, 0, row=1)):
        assert not are_probabilities(scores[:2])
