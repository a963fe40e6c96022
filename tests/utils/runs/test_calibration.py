"""Temperature and rejection threshold, compared with a grid search and with counts by hand."""

import warnings

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from utils.evaluation.metrics import calibration_error
from utils.runs.calibration import (
    TEMPERATURES,
    Calibration,
    best_temperature,
    calibration_note,
    fit_calibration,
    threshold_that_keeps,
)

VALID = {"temperature": 1.5, "threshold": 0.4, "kept": 0.95, "clips": 20, "rows": "validation"}


def overconfident(seed: int, clips: int = 400):
    """Labels drawn from the probabilities of logits, and these logits times 3; the best temperature is about 3."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (clips, 5))
    labels = np.array([generator.choice(5, p=row) for row in softmax(logits, axis=1)])
    return labels, (3 * logits).astype(np.float32)


def test_temperature_is_that_of_a_grid_search():
    """Confidences would be calibrated by a temperature that is not the best one."""
    labels, logits = overconfident(0)
    grid = np.exp(np.linspace(np.log(0.5), np.log(10), 2001))
    losses = [log_loss(labels, softmax(logits.astype(np.float64) / t, axis=1), labels=range(5)) for t in grid]
    found = best_temperature(labels, logits.astype(np.float64))
    assert found == pytest.approx(grid[np.argmin(losses)], rel=2e-3)
    assert found == pytest.approx(3, rel=0.15)
    assert best_temperature(labels, 2.5 * logits.astype(np.float64)) == pytest.approx(2.5 * found, rel=1e-4)


def test_calibration_error_of_other_clips_falls():
    """The temperature would make confidences worse than they are, computed by hand in 15 bins."""
    temperature = fit_calibration(*overconfident(0)).temperature
    labels, logits = overconfident(1)

    def by_hand(scores):
        probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
        bins = [(sure > k / 15) & (sure <= (k + 1) / 15) for k in range(15)]
        return sum(rows.mean() * abs(right[rows].mean() - sure[rows].mean()) for rows in bins if rows.any())

    before, after = logits.astype(np.float64), logits.astype(np.float64) / temperature
    assert calibration_error(labels, before) == pytest.approx(by_hand(before))
    assert calibration_error(labels, after) == pytest.approx(by_hand(after))
    assert by_hand(before) > 0.15
    assert by_hand(after) < 0.06


@pytest.mark.parametrize("count", [1, 2, 19, 20, 21, 39, 40, 100, 137])
def test_threshold_keeps_95_percent(count):
    """More correct predictions would be rejected than documented, or fewer wrong ones than possible."""
    confidence = np.random.default_rng(count).permutation(np.linspace(0.21, 0.98, count))
    threshold = threshold_that_keeps(confidence, 0.95)
    assert np.mean(confidence >= threshold) >= 0.95
    kept = np.sort(confidence)[np.sort(confidence) >= threshold]
    assert threshold == pytest.approx(kept[0], abs=1.1e-6)
    assert (len(kept) - 1) / count < 0.95  # a higher threshold would keep fewer than 95 %


def test_the_threshold_belongs_to_calibrated_probabilities():
    """predict.py would compare probabilities at one temperature with a threshold at another."""
    labels, logits = overconfident(2)
    found = fit_calibration(labels, logits)
    confidence = softmax(logits.astype(np.float64) / found.temperature, axis=1).max(axis=1)
    correct = logits.argmax(axis=1) == labels
    assert 0.95 <= np.mean(confidence[correct] >= found.threshold) < 0.96
    assert (found.kept, found.clips, found.rows) == (0.95, 400, "validation")


@pytest.mark.parametrize(
    ("labels", "logits", "temperature", "threshold"),
    [
        ([0, 1], [[9.0, 0.0], [0.0, 4.0]], 1.0, 0.982013),  # all correct
        ([0], [[3.0, 0.0]], 1.0, 0.952574),
        ([1, 0], [[9.0, 0.0], [0.0, 4.0]], TEMPERATURES[1], 0.0),  # all wrong
        ([1], [[3.0, 0.0]], TEMPERATURES[1], 0.0),
        ([0, 1], [[0.0, 0.0], [0.0, 0.0]], None, 0.5),  # no information
        ([0, 1, 0], [[1e30, -1e30], [1e30, -1e30], [1e30, 0.0]], TEMPERATURES[1], 1.0),
    ],
)
def test_degenerate_validation_clips(labels, logits, temperature, threshold):
    """A training would end with a traceback, or the record hold NaN or an arbitrary temperature."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fit_calibration(np.array(labels), np.array(logits))
    if temperature is not None:
        assert found.temperature == pytest.approx(temperature)
    assert TEMPERATURES[0] <= found.temperature <= TEMPERATURES[1]
    assert found.threshold == pytest.approx(threshold, abs=2e-6)


@pytest.mark.parametrize(
    ("labels", "logits", "reason"),
    [
        ([], np.empty((0, 3)), "there are no validation clips"),
        ([0, 1], [[0.0, np.nan], [1.0, 0.0]], "the logits of 1 of 2 validation clips are not finite"),
        ([0, 1], [[0.0, np.inf], [1.0, -np.inf]], "the logits of 2 of 2"),
    ],
)
def test_unusable_validation_clips(labels, logits, reason):
    with pytest.raises(ValueError, match=reason):
        fit_calibration(np.array(labels, np.int64), np.array(logits))


def test_a_note_on_few_clips():
    """A user would trust a threshold from 20 clips."""
    fitted = Calibration(temperature=2.0, threshold=0.5, kept=0.95, clips=20, rows="validation")
    assert "20 validation clips, fewer than 100" in calibration_note(fitted)
    assert calibration_note(fitted.model_copy(update={"clips": 100})) == ""
    assert "20, the bound of its search" in calibration_note(fitted.model_copy(update={"temperature": 20.0}))
