"""The timeline of a video file."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from tests.utils.prediction.conftest import colour_predictor, coloured, write_video
from utils.base.prediction_options import TimelineOptions
from utils.prediction.answers import NO_ACTION
from utils.prediction.frames import Frames, in_background
from utils.prediction.timelines import Timing, timeline_of
from utils.video.decoding import Clock
from utils.video.video import VideoError


def test_segments_of_a_video(tmp_path):
    """Segments would have wrong classes or times: here they are known to half a stride."""
    path = write_video(tmp_path / "a.avi", coloured((0, 100), (-1, 100), (2, 150)))  # 25 frames per second
    predictor = colour_predictor(threshold=0.5, batch_size=4)
    timeline = predictor.timeline(path, TimelineOptions(window=1.0, stride=0.25, smoothing=0.0))
    assert [segment.label for segment in timeline.segments] == ["red", NO_ACTION, "blue"]
    ends = [segment.end for segment in timeline.segments]
    np.testing.assert_allclose(ends, [4.0, 8.0, 14.0], atol=0.5)
    assert ends[-1] == 14.0
    assert timeline.segments[1].confidence is None
    assert timeline.segments[0].confidence > 0.95
    assert len(timeline.probabilities) == (14 - 1) / 0.25 + 1
    assert set(predictor.members[0].recognizer.model.batches) == {4, 1}


def test_smoothing_and_short_segments(tmp_path):
    """A flash of another colour would cut a segment in three."""
    path = write_video(tmp_path / "a.avi", coloured((0, 50), (1, 10), (0, 50)))
    predictor = colour_predictor()
    raw = TimelineOptions(window=0.4, stride=0.1, smoothing=0.0, min_segment=0.0)
    assert [each.label for each in predictor.timeline(path, raw).segments] == ["red", "green", "red"]
    smoothed = TimelineOptions(window=0.4, stride=0.1, smoothing=2.0, min_segment=0.0)
    assert [each.label for each in predictor.timeline(path, smoothed).segments] == ["red"]
    merged = TimelineOptions(window=0.4, stride=0.1, smoothing=0.0, min_segment=1.0)
    assert [each.label for each in predictor.timeline(path, merged).segments] == ["red"]


def test_the_window_is_that_of_the_record():
    """Windows would show motion faster or slower than in training."""
    assert Timing.of(TimelineOptions(), 3.2) == Timing(3.2, 0.8, 3.2, 1.6)
    assert Timing.of(TimelineOptions(), None) == Timing(2.0, 0.5, 2.0, 1.0)
    assert Timing.of(TimelineOptions(window=1.0, smoothing=0.0), 3.2) == Timing(1.0, 0.25, 0.0, 0.5)
    assert Timing.of(TimelineOptions(), 3.2, duration=2.4) == Timing(2.4, 0.8, 3.2, 1.6)
    assert [Timing(2.0, 0.5, smoothing, 1.0).averaged for smoothing in (0.0, 1.0, 2.0, 3.0)] == [1, 3, 5, 7]


def test_a_video_shorter_than_a_window(tmp_path):
    """A short video would have no timeline."""
    path = write_video(tmp_path / "a.avi", coloured((1, 10)))
    (segment,) = colour_predictor().timeline(path).segments
    assert (segment.start, segment.end, segment.label) == (0.0, pytest.approx(0.4), "green")


def test_damaged_files(tmp_path, shared_data, capsys):
    """A damaged video would end without its reason, or with a traceback."""
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError):
        timeline_of(colour_predictor(), tmp_path / "text.mp4", TimelineOptions())
    timeline = timeline_of(colour_predictor(), shared_data / "odd/decord/corrupted.mp4", TimelineOptions())
    assert timeline.duration == pytest.approx(5.0)
    assert capsys.readouterr().err.endswith("corrupted.mp4: is damaged: frames may show parts of others\n")


def test_times_start_at_zero_and_never_go_back():
    """A recording that starts at the time of day, or a fault in a stream, would end in millions of windows."""
    clock = Clock(rate=2.0)
    stamps = [36000.0, 36000.5, None, 36001.5, 3.0, 3.5, 9e9]
    assert [clock.time_of(stamp) for stamp in stamps] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    frames = Frames([(0.0, None), (0.5, None), (1.0, None)], count=3, rate=2.0)
    assert list(frames) == [(0.0, None), (0.5, None), (1.0, None)]
    assert (frames.end, frames.read, frames.duration) == (1.5, 3, 1.5)


def test_work_in_the_background_ends_with_its_consumer():
    """The decoder would go on after an error, and use a video that is closed."""
    before = threading.active_count()
    items = in_background(iter(range(10**9)), ahead=2)
    assert [next(items), next(items)] == [0, 1]
    items.close()
    assert threading.active_count() == before

    def failing():
        yield 1
        raise VideoError("a reason")

    found = in_background(failing(), ahead=2)
    assert next(found) == 1
    with pytest.raises(VideoError, match="a reason"):
        next(found)


LENGTHS = [((0.5, 1.5), 1.0), ((0.5, None), None), ((None, None), None), ((1e-6, 1e-6), None)]


@pytest.mark.parametrize(("seconds", "expected"), LENGTHS)
def test_clip_seconds_of_an_ensemble(seconds, expected):
    """The windows of several models would have the length of one of them, one that is unknown, or no length at all."""
    predictors = [colour_predictor(clip_seconds=each) for each in seconds]
    both = replace(predictors[0], members=tuple(predictor.members[0] for predictor in predictors))
    assert both.clip_seconds == expected
