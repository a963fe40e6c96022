"""Gains by class and agreement, against hand computations."""

import numpy as np
import pytest

from utils.evaluation.class_gains import SHOWN_GAINS, ClassGain, ClassGains, class_gains


def logits_of(predicted, classes=3):
    return np.eye(classes)[predicted]


def test_gains_by_hand():
    """The wrong recogniser would win a class, or chance differences would look significant."""
    labels = np.array([0] * 8 + [1] * 2 + [2] * 2)
    first = logits_of([0] * 8 + [1, 0] + [0, 0])
    second = logits_of([1] * 7 + [0] + [1, 1] + [1, 1])
    gains = class_gains(labels, first, second, ["a", "b", "c"])
    assert [gain.name for gain in gains] == ["a", "c", "b"]
    best, equal, worst = gains
    assert (best.clips, best.first, best.second, best.gain) == (8, 1, 0.125, 0.875)
    assert (best.only_first, best.only_second) == (7, 0)
    assert best.p_value == pytest.approx(2 / 2**7)  # McNemar's exact test: seven of seven
    assert (worst.gain, worst.only_first, worst.only_second, worst.p_value) == (-0.5, 0, 1, 1)
    assert (equal.gain, equal.p_value) == (0, 1)
    assert best.q_value == pytest.approx(3 * 2 / 2**7)  # the smallest of three p-values, times three


def test_groups_are_exchanged_as_a_whole():
    """Eight clips of two sources would count as eight independent observations."""
    labels = np.zeros(8, np.int64)
    first, second = logits_of([0] * 8), logits_of([1] * 8)
    groups = np.array(["x"] * 4 + ["y"] * 4)
    (gain,) = class_gains(labels, first, second, ["a", "b", "c"], groups)
    assert gain.p_value == pytest.approx(0.5)  # 2 of the 4 exchanges are as extreme
    (gain,) = class_gains(labels, first, second, ["a", "b", "c"])
    assert gain.p_value == pytest.approx(2 / 2**8)


def test_of_many_classes_both_ends_are_shown():
    """A figure of 101 classes would be longer than the page."""
    gains = [ClassGain(str(number), 1, 1 - number / 100, 0.5, 1, 1, 1.0, 1.0) for number in range(101)]
    shown = ClassGains(gains, "first", "second").shown
    assert [gain.name for gain in shown] == [*map(str, range(15)), *map(str, range(86, 101))]
    assert len(ClassGains(gains[: 2 * SHOWN_GAINS], "first", "second").shown) == 2 * SHOWN_GAINS
