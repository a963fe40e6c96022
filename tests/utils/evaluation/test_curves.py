"""ROC and precision-recall curves against hand computations."""

import numpy as np
import pytest

from utils.evaluation.curves import PrecisionRecallCurves, RocCurves, class_areas, mean_areas

# Probabilities of six clips; the third class has no clips.
PROBABILITIES = [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1], [0.5, 0.4, 0.1], [0.2, 0.7, 0.1]]
LABELS, LOGITS = np.array([0, 0, 0, 1, 1, 1]), np.log(PROBABILITIES)


def roc_area(truth, scores):
    """Return the share of pairs of a positive and a negative clip in the right order; equal scores count half."""
    pairs = [(a > b) + (a == b) / 2 for a in scores[truth] for b in scores[~truth]]
    return np.mean(pairs)


def average_precision(truth, scores):
    """Return the sum of the steps of recall times the precision there, over falling thresholds."""
    total = 0.0
    for threshold in np.unique(scores):
        chosen = scores >= threshold
        step = (truth & (scores == threshold)).sum() / truth.sum()
        total += step * (truth & chosen).sum() / chosen.sum()
    return total


def test_areas_by_hand():
    """A paper would report areas of another average, or count a class without clips."""
    # class 0: positives 0.8 0.6 0.3, negatives 0.1 0.5 0.2: only 0.3 < 0.5 is in the wrong order
    expected = 8 / 9
    areas = class_areas(LABELS, LOGITS)
    assert areas.roc_auc[:2] == pytest.approx([expected, expected])
    # precisions at the positives of class 0: 1/1, 2/2, 3/4
    assert areas.average_precision[0] == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert np.isnan(areas.roc_auc[2])
    assert np.isnan(areas.average_precision[2])
    found = mean_areas(LABELS, LOGITS)
    assert found["roc_auc"]["macro"] == pytest.approx(expected)
    truth, scores = (np.eye(3)[LABELS] == 1).ravel(), np.array(PROBABILITIES).ravel()
    assert found["roc_auc"]["micro"] == pytest.approx(roc_area(truth, scores))
    assert found["average_precision"]["micro"] == pytest.approx(average_precision(truth, scores))


def test_curves_pass_through_the_thresholds():
    """The figure would contradict the areas in its legend."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, 200)
    logits = generator.normal(0, 1, (200, 4)) + 1.5 * np.eye(4)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    areas = mean_areas(labels, logits)
    macro, micro = RocCurves.from_predictions({"it": (labels, logits)}).curves
    assert (macro.name, macro.average, micro.average) == ("it", "macro", "micro")
    truth = np.eye(4, dtype=bool)[labels]
    for threshold in np.quantile(probabilities, [0.2, 0.5, 0.9]):
        chosen = probabilities >= threshold
        false, true = (chosen & ~truth).sum() / (~truth).sum(), (chosen & truth).sum() / truth.sum()
        assert np.interp(false, micro.x, micro.y) == pytest.approx(true, abs=0.01)
    for curve, average in ((macro, "macro"), (micro, "micro")):
        assert curve.area == pytest.approx(areas["roc_auc"][average])
        assert np.trapezoid(curve.y, curve.x) == pytest.approx(curve.area, abs=2e-3)
    macro, micro = PrecisionRecallCurves.from_predictions({"it": (labels, logits)}).curves
    assert macro.area == pytest.approx(areas["average_precision"]["macro"])
    assert micro.area == pytest.approx(average_precision(truth.ravel(), probabilities.ravel()))
    assert np.mean(macro.y) == pytest.approx(macro.area, abs=0.01)  # the grid is even
    assert np.trapezoid(micro.y, micro.x) == pytest.approx(micro.area, abs=0.01)


def test_what_has_no_curve():
    """Infinite logits, or test clips of a single class, would end a test after all predictions."""
    broken = LOGITS.copy()
    broken[0, 0] = np.inf
    one_class = (np.zeros(3, np.int64), LOGITS[:3])
    for labels, logits in ((LABELS, broken), one_class):
        assert mean_areas(labels, logits)["roc_auc"] == {"macro": None, "micro": None}
        assert RocCurves.from_predictions({"it": (labels, logits)}).curves == []
