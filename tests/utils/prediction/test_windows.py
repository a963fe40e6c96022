"""Windows are sampled by time, whatever the frame rate, and hold few frames."""

import numpy as np
import pytest

from utils.prediction.windows import WindowSampler, windows_of
from utils.video.video import sampled_indices


class Source:
    """Frames whose picture is their number; `retrieved` counts how often each is decoded."""

    def __init__(self, times):
        self.times, self.retrieved = list(times), []

    def __iter__(self):
        for number, time in enumerate(self.times):
            yield time, lambda number=number: self._retrieve(number)

    def _retrieve(self, number):
        self.retrieved.append(number)
        return number


def sampled(source, *, window, stride, lengths=(4,)):
    """Return the start and the frame numbers of each window, for each model."""
    sampler = WindowSampler(
        window=window,
        stride=stride,
        moments=[np.arange(length) / length for length in lengths],
        render=lambda number: [np.array([number + 1000 * model]) for model in range(len(lengths))],
    )
    return [(each.start, *(clip[:, 0].tolist() for clip in each.clips())) for each in windows_of(source, sampler)]


def test_frames_of_windows():
    """Windows would show other moments than their times say. A frame is decoded once, and only if it is sampled."""
    source = Source(np.arange(20) / 10)  # 10 frames per second
    assert sampled(source, window=0.8, stride=0.4) == [
        (0.0, [0, 2, 4, 6]),
        (0.4, [4, 6, 8, 10]),
        (0.8, [8, 10, 12, 14]),
        (pytest.approx(1.2), [12, 14, 16, 18]),
    ]
    assert source.retrieved == list(range(0, 20, 2))


@pytest.mark.parametrize("rate", [10, 15, 24, 25, 30])
def test_a_window_of_the_whole_video_is_sampled_as_stage_1_does(rate):
    """The model would see other frames than in training."""
    for frames in (16, 32, 160):
        times = np.round(np.arange(frames) / rate, 3)  # milliseconds, as in Matroska
        ((_, clip),) = sampled(Source(times), window=frames / rate, stride=frames / rate, lengths=(16,))
        assert clip == sampled_indices(frames, 16).tolist()


def test_variable_frame_rate():
    """Numbers of frames would be taken for times."""
    times = [0, 0.1, 0.2, 0.3, 1.0, 1.1, 1.9, 2.0]
    assert sampled(Source(times), window=2.0, stride=2.0) == [(0.0, [0, 4, 4, 6])]


def test_several_models_share_the_windows():
    """Probabilities of different moments would be averaged."""
    found = sampled(Source(np.arange(12) / 10), window=0.8, stride=0.4, lengths=(4, 2))
    assert found == [(0.0, [0, 2, 4, 6], [1000, 1004]), (0.4, [4, 6, 8, 10], [1004, 1008])]


def test_missing_frames_are_bridged():
    """A stream would end at its first lost frame."""
    times = [0, 0.1, 0.2, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5]  # half a second is lost
    assert sampled(Source(times), window=0.8, stride=0.8) == [(0.0, [0, 2, 3, 3]), (0.8, [3, 4, 6, 8])]


def test_gaps_have_no_windows():
    """An hour between two frames, or a frame every three minutes, would keep the model busy for hours."""
    times = [0, 0.2, 0.4, 0.6, 3600.0, 3600.2, 3600.4, 3600.6, 3600.8]
    found = sampled(Source(times), window=0.75, stride=0.25, lengths=(2,))
    assert found[0] == (0.0, [0, 2])
    assert [start for start, _ in found] == [0.0, 0.25, 0.5, 3599.5, 3599.75, 3600.0, 3600.25]
    sparse = sampled(Source(np.arange(20) * 180.0), window=2.0, stride=0.5)
    assert len(sparse) <= 80
    assert {start // 180 for start, _ in sparse} >= set(range(1, 19))


def test_a_video_shorter_than_a_window():
    """A short video would have no answer."""
    assert sampled(Source([0, 0.1, 0.2]), window=0.8, stride=0.2) == [(0.0, [0, 2, 2, 2])]
    assert sampled(Source([]), window=0.8, stride=0.2) == []


def test_memory_does_not_grow():
    """An hour of video would fill the memory."""
    sampler = WindowSampler(
        window=2.0, stride=0.5, moments=[np.arange(16) / 16], render=lambda number: [np.array([number])]
    )
    held = 0
    for number in range(5000):
        sampler.add(number / 25, lambda number=number: number)
        held = max(held, len({id(frame) for each in sampler._open for frames in each.samples for frame in frames}))
    assert held <= 16
