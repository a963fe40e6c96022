"""The scores of benchmarks/timeline.py, against values counted by hand."""

import numpy as np
import pytest

from benchmarks.timeline import make_video, matches, merged, scores
from tests.utils.prediction.conftest import coloured, write_video
from utils.prediction.answers import NO_ACTION, Segment, Timeline


def segments(*parts) -> tuple[Segment, ...]:
    """Return segments from (class, end in seconds)."""
    starts = [0.0, *(end for _, end in parts)]
    return tuple(Segment(start, end, label, None) for start, (label, end) in zip(starts, parts))


def test_scores():
    """The page would state wrong shares."""
    truth = segments(("walk", 10), (NO_ACTION, 20), ("run", 30), ("run", 40))
    answer = segments(("walk", 6), (NO_ACTION, 15), ("walk", 20), ("run", 38), (NO_ACTION, 40))
    timeline = Timeline("", ("walk", "run"), np.array([0, 40.0]), np.ones((1, 2)), answer)
    assert [segment.end for segment in merged(truth)] == [10, 40]
    found = scores([truth], [timeline])
    assert found["frame_accuracy"] == pytest.approx((6 + 18) / 30, abs=0.01)
    assert found["segment_f1"] == pytest.approx(2 * 2 / (2 + 3))
    assert found["unknown_rejected"] == pytest.approx(0.5, abs=0.01)
    assert found["known_rejected"] == pytest.approx((4 + 2) / 30, abs=0.01)


def test_a_segment_is_found_once():
    """Many short answers would count as many hits."""
    truth = merged(segments(("walk", 10)))
    assert matches(truth, merged(segments((NO_ACTION, 1), ("walk", 6), (NO_ACTION, 10)))) == 1
    assert matches(truth, merged(segments((NO_ACTION, 1), ("walk", 5.9), (NO_ACTION, 10)))) == 0
    assert matches(truth, merged(segments(("walk", 4), ("run", 5), ("walk", 10)))) == 1


def test_parts_repeat_whole_clips(tmp_path):
    """The truth would not be that of the video."""
    clip = write_video(tmp_path / "a.avi", coloured((0, 30)))
    found = make_video(tmp_path / "joined.avi", [("red", clip), (NO_ACTION, clip)], seconds=2.0)
    assert found == segments(("red", 2.4), (NO_ACTION, 4.8))
