"""Smoothing, segments and the answers of a timeline, against values computed by hand."""

import numpy as np
import pytest

from utils.prediction.answers import (
    NO_ACTION,
    Answer,
    Segment,
    Timeline,
    label_windows,
    moving_average,
    segments_of,
    window_edges,
)

NAMES = ("walk", "run")


def shares(*of_walk) -> np.ndarray:
    """Return probabilities (W, 2)."""
    return np.array([[share, 1 - share] for share in of_walk])


def test_an_answer_below_the_threshold_is_no_action():
    """A video that shows none of the classes would get one of them."""
    probabilities = np.array([0.25, 0.5, 0.25])
    answer = Answer("a.mp4", ("a", "b", "c"), probabilities, threshold=0.5)
    assert (answer.label, answer.confidence, answer.rejected) == ("b", 0.5, False)
    assert answer.top(2) == [("b", 0.5), ("a", 0.25)]
    assert Answer("a.mp4", ("a", "b", "c"), probabilities, threshold=0.51).label == NO_ACTION


def test_the_moving_average_is_centred():
    """Segments would be delayed, or the ends be drawn to zero."""
    values, times = shares(0.0, 0.3, 0.9, 0.6, 0.0), np.arange(5) / 2
    np.testing.assert_allclose(moving_average(values, times, 1.5)[:, 0], [0.15, 0.4, 0.6, 0.5, 0.3])
    np.testing.assert_allclose(moving_average(values, times, 0.5), values)
    np.testing.assert_allclose(moving_average(values, times, 50)[:, 0], [0.36] * 5)
    rng = np.random.default_rng(0)
    many = rng.random((50, 4))
    expected = [many[max(row - 3, 0) : row + 4].mean(axis=0) for row in range(50)]
    np.testing.assert_allclose(moving_average(many, np.arange(50), 7), expected)
    after_a_gap = moving_average(values, np.array([0.0, 0.5, 100.0, 100.5, 101.0]), 1.5)[:, 0]
    np.testing.assert_allclose(after_a_gap, [0.15, 0.15, 0.75, 0.5, 0.3])


def test_edges_lie_between_the_times_that_windows_saw():
    """The times of segments would be those of the starts of windows, half a window too early."""
    np.testing.assert_allclose(window_edges(np.array([1, 1.5, 2]), duration=3.2), [0, 1.25, 1.75, 3.2])
    np.testing.assert_allclose(window_edges(np.array([1, 9, 10]), duration=9.3), [0, 5, 9.3, 9.3])
    np.testing.assert_allclose(window_edges(np.array([1.0]), duration=1.1), [0, 1.1])


@pytest.mark.parametrize(
    ("of_walk", "threshold", "min_segment", "expected"),
    [
        ([0.9, 0.8, 0.3, 0.2], 0.0, 0, [0, 0, 1, 1]),
        ([0.9, 0.55, 0.5, 0.1], 0.6, 0, [0, -1, -1, 1]),
        ([0.9, 0.9, 0.4, 0.9, 0.1, 0.1], 0.0, 2, [0, 0, 0, 0, 1, 1]),  # one window within walk
        ([0.9, 0.1, 0.1, 0.9], 0.0, 2, [1, 1, 1, 1]),  # both ends are short
        ([0.9, 0.9, 0.9, 0.1, 0.5, 0.5], 0.6, 2, [0, 0, 0, 0, -1, -1]),  # to the longer neighbour
        ([0.9, 0.9, 0.1, 0.5, 0.5], 0.6, 2, [0, 0, 0, -1, -1]),  # to the earlier of equal ones
        ([0.1], 0.0, 9, [1]),  # a video shorter than the shortest segment
    ],
)
def test_short_runs_are_merged(of_walk, threshold, min_segment, expected):
    """A single wrong window would cut a segment in two."""
    edges = np.arange(len(of_walk) + 1.0)
    found = label_windows(shares(*of_walk), edges, threshold=threshold, min_segment=min_segment)
    assert found.tolist() == expected


def test_segments_and_answers_at_a_time():
    """The annotated video would show another class than the table."""
    probabilities, edges = shares(0.9, 0.7, 0.5, 0.2), np.array([0, 1.25, 1.75, 2.25, 4.0])
    segments = segments_of(probabilities, edges, np.array([0, 0, -1, 1]), NAMES)
    assert segments == (
        Segment(0.0, 1.75, "walk", pytest.approx(0.8)),
        Segment(1.75, 2.25, NO_ACTION, None),
        Segment(2.25, 4.0, "run", pytest.approx(0.8)),
    )
    timeline = Timeline("a.mp4", NAMES, edges, probabilities, segments)
    assert timeline.duration == 4.0
    times = (-1, 0, 1.2, 1.25, 1.75, 2.3, 4.0, 9.0)
    labels = ["walk"] * 4 + [NO_ACTION] + ["run"] * 3
    assert [timeline.segment_at(time).label for time in times] == labels
    expected = [0.9, 0.9, 0.9, 0.7, 0.5, 0.8, 0.8, 0.8]
    np.testing.assert_allclose([timeline.confidence_at(time) for time in times], expected)
