"""The limits within which a file must agree with Keras."""

from dataclasses import replace

import numpy as np
import pytest

from utils.base.errors import UserError
from utils.export.clips import ComparisonClips
from utils.export.verification import check_floats, check_integers, compared

CLIPS = ComparisonClips(lambda numbers: None, 200, "test clips")
EXPECTED = np.tile([[0.7, 0.2, 0.1]], (200, 1))


def with_changes(count: int) -> np.ndarray:
    """Return probabilities of which `count` rows have another class."""
    found = EXPECTED.copy()
    found[:count] = [0.2, 0.7, 0.1]
    return found


def test_differences_and_agreement_by_hand():
    """The record would state a better file than it is."""
    verification = compared(with_changes(30), EXPECTED, CLIPS)
    assert verification.agreement == 0.85
    assert verification.largest_difference == pytest.approx(0.5)
    assert verification.accuracy is None


def test_floats_may_differ_by_rounding_only():
    """A conversion that loses a layer's epsilon or rounds weights to 16 bits would pass."""
    check_floats("a.onnx", compared(EXPECTED + 0.9e-4, EXPECTED, CLIPS), CLIPS)
    with pytest.raises(UserError, match=r"at most 0.0001 on 200 test clips, found 0.00011"):
        check_floats("a.onnx", compared(EXPECTED + 1.1e-4, EXPECTED, CLIPS), CLIPS)


def test_integers_may_change_one_class_of_a_hundred():
    """A quantisation that destroys a network would be kept, or rounding would refuse a good one."""
    check_integers("a.onnx", compared(with_changes(2), EXPECTED, CLIPS), None, CLIPS)
    with pytest.raises(UserError, match=r"--int8: a.onnx must agree with Keras on 99% of 200 test clips.*found 98.5%;"):
        check_integers("a.onnx", compared(with_changes(3), EXPECTED, CLIPS), None, CLIPS)


def test_integers_may_lose_one_point_of_accuracy():
    """A file as accurate as Keras would be refused because it errs on other clips."""
    labels = np.zeros(200, np.int64)
    labels[:50] = 1  # Keras is right for the other 150 clips
    clips = replace(CLIPS, labels=labels)
    keras = clips.accuracy(EXPECTED)
    assert keras.estimate == 0.75
    check_integers("a.onnx", compared(with_changes(50), EXPECTED, clips), keras, clips)  # right for all
    worse = EXPECTED[:, [0, 1, 2]].copy()
    worse[50:52] = worse[:10] = [0.1, 0.2, 0.7]  # two more errors: one point
    check_integers("a.onnx", compared(worse, EXPECTED, clips), keras, clips)
    worse[52] = [0.1, 0.2, 0.7]
    with pytest.raises(UserError, match=r"found 93.5% and an accuracy of 73.5% in place of 75.0%"):
        check_integers("a.onnx", compared(worse, EXPECTED, clips), keras, clips)
