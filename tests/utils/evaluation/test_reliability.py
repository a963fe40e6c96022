"""Reliability diagrams against a hand computation and the expected calibration error."""

import numpy as np
import pytest

from utils.evaluation.metrics import calibration_error
from utils.evaluation.reliability import ReliabilityDiagram


def test_bins_by_hand():
    """A point would show the accuracy of other clips than those of its confidence."""
    probabilities = np.array([[0.95, 0.05], [0.96, 0.04], [0.97, 0.03], [0.61, 0.39], [0.4, 0.6]])
    labels = np.array([0, 0, 1, 0, 0])
    (line,) = ReliabilityDiagram.from_predictions({"it": (labels, np.log(probabilities))}).lines
    # of 15 bins, 0.6 is the upper edge of the ninth and 0.61 is in the tenth
    assert line.confidence == pytest.approx([0.6, 0.61, 0.96])
    assert line.accuracy == pytest.approx([0, 1, 2 / 3])
    assert line.clips.tolist() == [1, 1, 3]
    assert line.error == pytest.approx((0.6 + 0.39 + 3 * (0.96 - 2 / 3)) / 5)


def test_the_diagram_shows_the_reported_error():
    """The figure would contradict the table, with and without temperature."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, 400)
    logits = 4 * generator.normal(0, 1, (400, 5)) + 3 * np.eye(5)[labels]
    named = {"raw": (labels, logits), "T 3": (labels, logits / 3)}
    raw, calibrated = ReliabilityDiagram.from_predictions(named).lines
    for line, found in ((raw, logits), (calibrated, logits / 3)):
        gaps = np.abs(line.confidence - line.accuracy)
        assert np.average(gaps, weights=line.clips) == pytest.approx(calibration_error(labels, found))
        assert line.error == pytest.approx(calibration_error(labels, found))
    assert calibrated.error < raw.error


def test_infinite_logits_have_no_line():
    """One network that diverged would cost the figure of the others."""
    logits = np.array([[np.inf, 0.0], [1.0, 0.0]])
    assert ReliabilityDiagram.from_predictions({"it": (np.array([0, 1]), logits)}).lines == []
