"""Means of probabilities over networks and views, compared with NumPy in float64."""

import numpy as np
import pytest
from scipy.special import softmax

from tests.fake_recognizer import FakeModel, fake_recognizer, valid_record
from utils.base.options import ViewOptions
from utils.data.class_scores import mean_probabilities
from utils.networks.averaging import AveragedViews, average, averaged_logits, recorded_views
from utils.networks.recognizer import Recognizer


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_softened_probabilities_are_averaged(temperature):
    """A mean of logits, or of probabilities at another temperature, would give other targets than documented."""
    logits = np.random.default_rng(0).normal(0, 5, (3, 7, 2, 4)).astype(np.float32)
    expected = softmax(logits.astype(np.float64) / temperature, axis=-1).mean(axis=0)
    averaged = average(list(logits), temperature)
    np.testing.assert_allclose(softmax(averaged.astype(np.float64) / temperature, axis=-1), expected, rtol=1e-5)
    assert averaged.dtype == np.float32
    same = average([logits[0], logits[0]], temperature)  # of equal teachers
    np.testing.assert_allclose(softmax(same, axis=-1), softmax(logits[0], axis=-1), rtol=1e-4, atol=1e-7)


class ByView(Recognizer):
    """Returns other logits for each view; `asked` collects views and options."""

    asked = ()
    scores = np.random.default_rng(1).normal(0, 4, (5, 20, 3)).astype(np.float32)  # (views, clips, C)

    def logits(self, dataset, rows, *, batch_size=16, view=0, options=None):
        type(self).asked += ((view, options),)
        return self.scores[view][rows]


@pytest.mark.parametrize("temperature", [None, 3.0])
def test_calibrated_probabilities_are_averaged_over_views(monkeypatch, temperature):
    """eval.py would report another accuracy than predict.py has, or use other views than those of training."""
    monkeypatch.setattr(ByView, "asked", ())
    fitted = {"temperature": temperature, "threshold": 0.0, "kept": 0.95, "clips": 9, "rows": "validation"}
    record = valid_record(calibration=fitted if temperature else None)
    recognizer, options = ByView("s.h5", FakeModel(3), record), ViewOptions(views=0, view_seed=4, flip=False)
    rows = np.array([3, 7, 19])
    found = averaged_logits(recognizer, None, rows, AveragedViews(4, options))
    divisor = temperature or 1.0
    expected = softmax(ByView.scores[:4].astype(np.float64) / divisor, axis=-1).mean(axis=0)[rows]
    np.testing.assert_allclose(softmax(found.astype(np.float64) / divisor, axis=-1), expected, rtol=1e-5)
    predicted = mean_probabilities(ByView.scores[:4, rows], [divisor] * 4)  # of predict.py
    np.testing.assert_allclose(predicted, expected, rtol=1e-12)
    assert ByView.asked == tuple((view, options) for view in range(4))


def test_one_view_is_unchanged():
    """Results of the default setting would change in the last digits."""
    scores = np.random.default_rng(0).normal(0, 30, (8, 3)).astype(np.float32)
    found = averaged_logits(fake_recognizer("s.h5", scores=scores), None, np.arange(8), AveragedViews())
    np.testing.assert_array_equal(found, scores)


def test_views_are_those_of_the_training():
    """A recogniser of left and right would be tested on flipped clips."""
    record = valid_record(arguments={"group_pattern": None, "view_seed": 5, "flip": False, "views": 8})
    assert recorded_views(3, record) == AveragedViews(3, ViewOptions(views=0, view_seed=5, flip=False))
    assert recorded_views(3, None) == AveragedViews(3, ViewOptions(views=0))
    assert recorded_views(3, None, flip=False).options.flip is False
    assert recorded_views(2, valid_record()) == AveragedViews(2)
