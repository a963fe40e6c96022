"""The timeline of a long video: windows, smoothed probabilities, segments."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from utils.base.prediction_options import TimelineOptions
from utils.base.progress import progress
from utils.data.batches import batch_loop
from utils.prediction.answers import (
    Timeline,
    Unreadable,
    label_windows,
    moving_average,
    segments_of,
    window_edges,
)
from utils.prediction.ensemble import Ensemble
from utils.prediction.frames import Frames, frames_of, in_background, print_note
from utils.prediction.windows import WindowSampler, windows_of
from utils.video.video import VideoError

WINDOW_SECONDS = 2.0  # if neither an argument nor the record states the length
WINDOWS_AHEAD = 8  # sampled windows that wait for the model


@dataclass(frozen=True)
class Timing:
    """Windows and segments in seconds: `TimelineOptions` without unknown values."""

    window: float
    stride: float
    smoothing: float
    min_segment: float

    @classmethod
    def of(cls, options: TimelineOptions, clip_seconds: float | None, *, duration: float = 0.0) -> "Timing":
        """Fill in what `options` leave open. `clip_seconds` is the length of the training clips, None if unknown.

        A window is not longer than a video of `duration` seconds, if that is known.
        """
        window = options.window or clip_seconds or WINDOW_SECONDS
        smoothing = window if options.smoothing is None else options.smoothing
        min_segment = window / 2 if options.min_segment is None else options.min_segment
        stride = options.stride or window / 4
        return cls(min(window, duration) if duration > 0 else window, stride, smoothing, min_segment)

    @property
    def averaged(self) -> int:
        """Number of windows over which probabilities are averaged, odd."""
        return 2 * round(self.smoothing / self.stride / 2) + 1


def predict_timelines(
    predictor: Ensemble, paths: Sequence[str | os.PathLike], options: TimelineOptions
) -> Iterator[Timeline | Unreadable]:
    """Yield the timeline of each video, in order; for a video that cannot be read, the reason."""
    for path in paths:
        try:
            yield timeline_of(predictor, path, options, show_progress=True)
        except VideoError as error:
            yield Unreadable(str(path), str(error))


def timeline_of(
    predictor: Ensemble,
    path: str | os.PathLike,
    options: TimelineOptions,
    *,
    show_progress: bool = False,
) -> Timeline:
    """Return the timeline of a video file.

    The video is decoded once, in a thread, while the model runs on windows that are complete. Memory does not depend on
    the length, apart from the probabilities. Raises VideoError if no frame can be decoded.
    """
    with frames_of(path) as frames:
        return timeline_of_frames(predictor, str(path), frames, options, show_progress=show_progress)


def timeline_of_frames(
    predictor: Ensemble, video: str, frames: Frames, options: TimelineOptions, *, show_progress: bool = False
) -> Timeline:
    """Return the timeline of opened frames, see `timeline_of`."""
    with _progress(frames, show_progress) as advance:
        timing = Timing.of(options, predictor.clip_seconds, duration=frames.duration)
        times = dict.fromkeys(("decode", "resize", "model"), 0.0)
        sampler = sampler_for(predictor, timing, times)
        starts, probabilities = window_probabilities(predictor, frames, sampler, advance, times)
        if sampler.skipped:
            print_note(video, f"{sampler.skipped} windows are left out, in which there is no frame")
        return replace(assemble(video, predictor, starts, probabilities, timing, frames.end), milliseconds=times)


def _progress(frames: Frames, shown: bool):
    return progress(frames.count or None, unit="frames") if shown else contextlib.nullcontext(lambda count: None)


def window_probabilities(
    predictor: Ensemble,
    frames: Frames,
    sampler: WindowSampler,
    advance: Callable[[int], None],
    times: dict[str, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the start of each window in seconds, float64 `(W,)`, and its probabilities, float64 `(W, C)`.

    `advance` is called with numbers of frames read. The milliseconds of decoding and of the model are added to `times`,
    which `sampler` has for resizing.
    """
    windows = in_background(timed_items(windows_of(frames, sampler), times), ahead=WINDOWS_AHEAD)
    starts, found, waiting, read = [], [], [], 0
    with contextlib.closing(windows), batch_loop() as check:  # ends the thread before the video is closed
        for window in windows:
            starts.append(window.start)
            waiting.append(window.clips())
            if len(waiting) == predictor.options.batch_size:
                with timed(times, "model"):
                    found.append(batch_probabilities(predictor, waiting))
                waiting = []
            now = frames.read
            advance(now - read)
            read = now
            check()
        if waiting:
            with timed(times, "model"):
                found.append(batch_probabilities(predictor, waiting))
    advance(frames.read - read)
    times["decode"] -= times["resize"]
    if not found:
        raise VideoError("no frame can be decoded")
    return np.array(starts), np.concatenate(found)


@contextlib.contextmanager
def timed(times: dict[str, float], part: str) -> Iterator[None]:
    """Add the milliseconds that the block takes to those of a part."""
    start = time.perf_counter()
    yield
    times[part] += 1000 * (time.perf_counter() - start)


def timed_items(items: Iterator, times: dict[str, float]) -> Iterator:
    """Yield the items of a generator, and add the time that they take to `times["decode"]`."""
    with contextlib.closing(items):
        while True:
            with timed(times, "decode"):
                item = next(items, None)
            if item is None:
                return
            yield item


def sampler_for(predictor: Ensemble, timing: Timing, times: dict[str, float] | None = None) -> WindowSampler:
    """Return the sampler of windows for the models of a predictor; it adds to `times["resize"]`."""
    times = {"resize": 0.0} if times is None else times

    def render(picture: np.ndarray) -> list[np.ndarray]:
        with timed(times, "resize"):
            return [member.frame_of(picture) for member in predictor.members]

    moments = [member.moments for member in predictor.members]
    return WindowSampler(window=timing.window, stride=timing.stride, moments=moments, render=render)


def batch_probabilities(predictor: Ensemble, windows: Sequence[list[np.ndarray]]) -> np.ndarray:
    """Return the probabilities of windows given as one clip per model: float64 `(B, C)`."""
    return predictor.probabilities([np.stack(clips)[:, None] for clips in zip(*windows)])


def assemble(
    video: str, predictor: Ensemble, starts: np.ndarray, probabilities: np.ndarray, timing: Timing, duration: float
) -> Timeline:
    """Return the timeline of a video from the starts and probabilities of its windows."""
    smoothed = moving_average(probabilities, starts, timing.averaged * timing.stride)
    seen = timing.window * float(np.mean([member.moments.mean() for member in predictor.members]))
    edges = window_edges(starts + seen, duration=duration)
    labels = label_windows(smoothed, edges, threshold=predictor.threshold, min_segment=timing.min_segment)
    segments = segments_of(smoothed, edges, labels, predictor.class_names)
    return Timeline(video, predictor.class_names, edges, smoothed, segments)
