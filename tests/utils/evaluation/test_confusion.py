"""Counts, order and pairs of confusion matrices."""

import numpy as np
import pytest

from utils.evaluation.confusion import ConfusionMatrix, counts_of, most_confused, order_by_similarity


def test_counts_by_hand():
    """Rows and columns would be exchanged, or a class without clips would be missing."""
    logits = np.eye(4)[[0, 2, 2, 2, 0]]
    counts = counts_of(np.array([0, 0, 0, 2, 2]), logits)
    assert counts.tolist() == [[1, 0, 2, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    first, second = most_confused(counts, 5)
    assert (first.true, first.predicted, first.clips, first.share) == (0, 2, 2, pytest.approx(2 / 3))
    assert (second.true, second.predicted, second.clips, second.share) == (2, 0, 1, 0.5)
    assert [pair.clips for pair in most_confused(counts, 1)] == [2]


def test_confused_classes_are_neighbours():
    """The confusions of 101 classes would be scattered over the matrix."""
    counts = np.diag([10] * 6)
    for one, other in ((0, 5), (5, 2), (1, 4)):
        counts[one, other] = counts[other, one] = 4
    order = order_by_similarity(counts).tolist()
    assert sorted(order) == list(range(6))
    for one, other in ((0, 5), (5, 2), (1, 4)):
        assert abs(order.index(one) - order.index(other)) == 1, order
    assert order_by_similarity(np.array([[1, 5], [2, 2]])).tolist() == [0, 1]
    assert sorted(order_by_similarity(np.zeros((5, 5), int)).tolist()) == [0, 1, 2, 3, 4]


def test_names_move_with_the_counts():
    """A class would be shown with the confusions of another one."""
    generator = np.random.default_rng(0)
    labels, logits = generator.integers(0, 8, 300), generator.normal(0, 1, (300, 8))
    display = ConfusionMatrix.from_predictions(labels, logits, list("abcdefgh"))
    counts = counts_of(labels, logits)
    numbers = ["abcdefgh".index(name) for name in display.class_names]
    assert display.counts.tolist() == [[counts[row, column] for column in numbers] for row in numbers]
    assert numbers != list(range(8))
