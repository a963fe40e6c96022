"""A wrong metric is believed, since nobody computes it again by hand."""

import warnings

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss, top_k_accuracy_score

from utils.evaluation.metrics import (
    accuracy,
    agreement,
    calibration,
    correct_answers,
    cross_entropy,
    per_class,
    top_k_accuracy,
)
from utils.runtime.errors import UserError


@pytest.fixture(params=range(3))
def table(request):
    """Labels and logits of a fair recogniser of 7 classes; class 6 has no clips and is never answered."""
    generator = np.random.default_rng(request.param)
    labels = generator.integers(0, 6, 200)
    logits = generator.normal(size=(200, 7)) + 1.5 * np.eye(7)[labels]
    logits[:, 6] = -50
    return labels, logits


def test_accuracy_by_hand(table):
    """Otherwise the first number of every report would be wrong."""
    labels, logits = table
    right = [int(max(range(7), key=lambda answer: row[answer])) == label for row, label in zip(logits.tolist(), labels)]
    assert accuracy(labels, logits) == sum(right) / 200
    assert correct_answers(labels, logits).tolist() == right


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_equals_scikit_learn(table, k):
    """Otherwise top-5 would not be comparable with other tables."""
    labels, logits = table
    assert top_k_accuracy(labels, logits, k) == top_k_accuracy_score(labels, logits, k=k, labels=range(7))


def test_top_k_of_ties_and_few_classes():
    """Otherwise top-1 would differ from the accuracy in half precision, and two classes would end in a traceback."""
    labels, logits = np.array([0, 1, 1]), np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0]])
    assert top_k_accuracy(labels, logits, 1) == accuracy(labels, logits) == pytest.approx(2 / 3)
    assert top_k_accuracy(labels, logits, 2) == top_k_accuracy(labels, logits, 5) == 1


def test_per_class_by_hand(table):
    """Otherwise the class that fails would not be found."""
    labels, logits = table
    answers = logits.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        numbers = per_class(labels, logits)
    for label in range(6):
        assert numbers.clips[label] == np.count_nonzero(labels == label)
        both = np.count_nonzero((labels == label) & (answers == label))
        assert numbers.accuracy[label] == pytest.approx(both / np.count_nonzero(labels == label))
        assert numbers.precision[label] == pytest.approx(both / np.count_nonzero(answers == label))
    assert numbers.clips[6] == 0
    assert np.isnan(numbers.accuracy[6])
    assert np.isnan(numbers.precision[6])
    assert numbers.mean_accuracy == pytest.approx(np.mean(numbers.accuracy[:6]))


def test_cross_entropy_by_hand(table):
    """Otherwise validation loss and report would not be of one formula; probabilities' logarithms must do too."""
    labels, logits = table
    by_hand = -np.mean([np.log(np.exp(row[label]) / np.exp(row).sum()) for row, label in zip(logits, labels)])
    assert cross_entropy(labels, logits) == pytest.approx(by_hand, rel=1e-12)
    assert cross_entropy(labels, logits) == pytest.approx(log_loss(labels, softmax(logits, axis=1), labels=range(7)))
    assert cross_entropy(labels, np.log(softmax(logits, axis=1))) == pytest.approx(by_hand, rel=1e-12)
    assert cross_entropy(np.array([0]), np.array([[1000.0, 0.0]], np.float32)) == 0
    assert cross_entropy(np.array([1]), np.array([[1000.0, 0.0]], np.float32)) == 1000


@pytest.mark.parametrize("bins", [5, 15])
def test_calibration_by_hand(table, bins):
    """Otherwise an overconfident recogniser would pass for an honest one."""
    labels, logits = table
    highest = softmax(logits, axis=1).max(axis=1)
    correct = logits.argmax(axis=1) == labels
    result = calibration(labels, logits, bins=bins)
    expected = 0.0
    for number, (low, high) in enumerate(zip(result.edges[:-1], result.edges[1:])):
        inside = (highest > low) & (highest <= high)
        assert result.clips[number] == inside.sum()
        if inside.any():
            assert result.confidence[number] == pytest.approx(highest[inside].mean())
            assert result.accuracy[number] == pytest.approx(correct[inside].mean())
            expected += inside.mean() * abs(correct[inside].mean() - highest[inside].mean())
        else:
            assert np.isnan(result.accuracy[number])
    assert result.expected_error == pytest.approx(expected)
    accuracies, confidences = calibration_curve(correct, highest, n_bins=bins)
    assert result.accuracy[result.clips > 0] == pytest.approx(accuracies)
    assert result.confidence[result.clips > 0] == pytest.approx(confidences)


def test_calibration_of_the_sure():
    """Otherwise a confidence of exactly 1 would fall out of the last bin."""
    result = calibration(np.array([0, 0, 1, 1]), np.array([[1000.0, 0.0]] * 4), bins=10)
    assert result.clips.tolist() == [0] * 9 + [4]
    assert result.expected_error == 0.5


def test_agreement_by_hand(table):
    """Otherwise how faithfully a student follows its teacher would be unknown."""
    _, logits = table
    other = logits + np.random.default_rng(9).normal(size=logits.shape)
    answers, others = logits.argmax(axis=1), other.argmax(axis=1)
    first, second = softmax(logits, axis=1), softmax(other, axis=1)
    by_chance = sum(np.mean(answers == label) * np.mean(others == label) for label in range(7))
    same = np.mean(answers == others)
    result = agreement(logits, other)
    assert result.same_answer == same
    assert result.kappa == pytest.approx((same - by_chance) / (1 - by_chance))
    assert result.divergence == pytest.approx(np.mean(np.sum(first * np.log(first / second), axis=1)))
    itself = agreement(logits, logits + 3)
    assert (itself.same_answer, itself.kappa) == (1, 1)
    assert itself.divergence == pytest.approx(0, abs=1e-12)


def test_scores_that_are_no_numbers_are_refused():
    """Otherwise a collapsed recogniser would answer class 0 everywhere and get an accuracy."""
    with pytest.raises(UserError, match="got NaN for 1 of 2 clips"):
        accuracy(np.array([0, 1]), np.array([[0.0, 1.0], [np.nan, 0.0]]))


@pytest.mark.parametrize(("labels", "shape"), [([0, 1], (3, 2)), ([0, 2], (2, 2)), ([], (0, 2)), ([0, 1], (2,))])
def test_tables_must_fit(labels, shape):
    """Otherwise answers would be compared with the labels of other clips."""
    with pytest.raises(ValueError, match="Expected labels"):
        accuracy(np.array(labels, int), np.zeros(shape))
