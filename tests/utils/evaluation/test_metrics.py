"""Users trust metrics without computing them again."""

import warnings

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss, top_k_accuracy_score

from utils.base.errors import UserError
from utils.evaluation.metrics import (
    accuracy,
    calibration_error,
    correct_predictions,
    cross_entropy,
    per_class,
    top_k_accuracy,
)


@pytest.fixture(params=range(3))
def table(request):
    """Labels and logits of a recogniser of 7 classes; class 6 has no clips and is never predicted."""
    generator = np.random.default_rng(request.param)
    labels = generator.integers(0, 6, 200)
    logits = generator.normal(size=(200, 7)) + 1.5 * np.eye(7)[labels]
    logits[:, 6] = -50
    return labels, logits


def test_accuracy_by_hand(table):
    """Otherwise the main result of every report would be wrong."""
    labels, logits = table
    right = [int(max(range(7), key=lambda index: row[index])) == label for row, label in zip(logits.tolist(), labels)]
    assert accuracy(labels, logits) == sum(right) / 200
    assert correct_predictions(labels, logits).tolist() == right


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_equals_scikit_learn(table, k):
    """Otherwise top-5 accuracy would not be comparable with other publications."""
    labels, logits = table
    assert top_k_accuracy(labels, logits, k) == top_k_accuracy_score(labels, logits, k=k, labels=range(7))


def test_top_k_of_ties_and_few_classes():
    """Otherwise top-1 could differ from the accuracy where logits tie, and two classes would cause a traceback."""
    labels, logits = np.array([0, 1, 1]), np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0]])
    assert top_k_accuracy(labels, logits, 1) == accuracy(labels, logits) == pytest.approx(2 / 3)
    assert top_k_accuracy(labels, logits, 2) == top_k_accuracy(labels, logits, 5) == 1


def test_per_class_by_hand(table):
    """Otherwise the report would point to the wrong classes."""
    labels, logits = table
    predicted = logits.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        numbers = per_class(labels, logits)
    for label in range(6):
        assert numbers.clips[label] == np.count_nonzero(labels == label)
        both = np.count_nonzero((labels == label) & (predicted == label))
        assert numbers.accuracy[label] == pytest.approx(both / np.count_nonzero(labels == label))
        assert numbers.precision[label] == pytest.approx(both / np.count_nonzero(predicted == label))
    assert numbers.clips[6] == 0
    assert np.isnan(numbers.accuracy[6])
    assert np.isnan(numbers.precision[6])
    assert numbers.mean_accuracy == pytest.approx(np.mean(numbers.accuracy[:6]))


def test_cross_entropy_by_hand(table):
    """Otherwise the reported loss would differ from the validation loss; log-probabilities must give the same."""
    labels, logits = table
    by_hand = -np.mean([np.log(np.exp(row[label]) / np.exp(row).sum()) for row, label in zip(logits, labels)])
    assert cross_entropy(labels, logits) == pytest.approx(by_hand, rel=1e-12)
    assert cross_entropy(labels, logits) == pytest.approx(log_loss(labels, softmax(logits, axis=1), labels=range(7)))
    assert cross_entropy(labels, np.log(softmax(logits, axis=1))) == pytest.approx(by_hand, rel=1e-12)
    assert cross_entropy(np.array([0]), np.array([[1000.0, 0.0]], np.float32)) == 0
    assert cross_entropy(np.array([1]), np.array([[1000.0, 0.0]], np.float32)) == 1000


@pytest.mark.parametrize("bins", [5, 15])
def test_calibration_error_by_hand(table, bins):
    """Otherwise an overconfident recogniser would look well calibrated."""
    labels, logits = table
    confidence = softmax(logits, axis=1).max(axis=1)
    correct = logits.argmax(axis=1) == labels
    inside = [(confidence > k / bins) & (confidence <= (k + 1) / bins) for k in range(bins)]
    inside = [rows for rows in inside if rows.any()]
    accuracies, confidences = calibration_curve(correct, confidence, n_bins=bins)
    expected = sum(
        rows.mean() * abs(right - sure) for rows, right, sure in zip(inside, accuracies, confidences, strict=True)
    )
    assert calibration_error(labels, logits, bins=bins) == pytest.approx(expected)


def test_calibration_error_of_full_confidence():
    """Otherwise clips with a confidence of exactly 1 would be left out."""
    assert calibration_error(np.array([0, 0, 1, 1]), np.array([[1000.0, 0.0]] * 4), bins=10) == 0.5


def test_nan_is_refused():
    """Otherwise a diverged recogniser would get the accuracy of class 0."""
    with pytest.raises(UserError, match="got NaN for 1 of 2 clips"):
        accuracy(np.array([0, 1]), np.array([[0.0, 1.0], [np.nan, 0.0]]))


@pytest.mark.parametrize(("labels", "shape"), [([0, 1], (3, 2)), ([0, 2], (2, 2)), ([], (0, 2)), ([0, 1], (2,))])
def test_shapes_must_match(labels, shape):
    """Otherwise predictions would be compared with the labels of other clips."""
    with pytest.raises(ValueError, match="Expected labels"):
        accuracy(np.array(labels, int), np.zeros(shape))
