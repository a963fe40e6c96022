"""Answers: the class probabilities of a video, and the segments of a long one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NO_ACTION = "no action"  # the answer if the highest probability is below the threshold


@dataclass(frozen=True)
class Answer:
    """Class probabilities of a whole video, float64 `(C,)`, in the order of `class_names`.

    The video shows none of the classes as far as the model can tell if all probabilities are below `threshold`.
    milliseconds: the time of decoding, resizing and the models, the latter a share of their batch; None if unknown.
    """

    video: str
    class_names: tuple[str, ...]
    probabilities: np.ndarray
    threshold: float = 0.0
    milliseconds: dict[str, float] | None = None

    @property
    def confidence(self) -> float:
        """The highest probability."""
        return float(self.probabilities.max())

    @property
    def label(self) -> str:
        """The most probable class, or NO_ACTION."""
        return NO_ACTION if self.rejected else self.class_names[int(self.probabilities.argmax())]

    @property
    def rejected(self) -> bool:
        """Whether the highest probability is below the threshold."""
        return self.confidence < self.threshold

    def top(self, number: int) -> list[tuple[str, float]]:
        """Return the most probable classes with their probabilities, in descending order."""
        order = np.argsort(-self.probabilities, kind="stable")[:number]
        return [(self.class_names[label], float(self.probabilities[label])) for label in order]


@dataclass(frozen=True)
class Unreadable:
    """A video without an answer, and the reason in one line."""

    video: str
    reason: str


@dataclass(frozen=True)
class Segment:
    """A part of a video from `start` to `end`, in seconds, with its class or NO_ACTION.

    confidence: mean of the class's smoothed probability over the windows of the segment; None for NO_ACTION.
    """

    start: float
    end: float
    label: str
    confidence: float | None


@dataclass(frozen=True)
class Timeline:
    """The segments of a video, which cover it from 0 to `duration` seconds.

    probabilities: float64 `(W, C)`, smoothed, by window. edges: float64 `(W + 1,)`, seconds; the answer of window w
    stands for the time from `edges[w]` to `edges[w + 1]`. milliseconds: as in `Answer`, for the whole video.
    """

    video: str
    class_names: tuple[str, ...]
    edges: np.ndarray
    probabilities: np.ndarray
    segments: tuple[Segment, ...]
    milliseconds: dict[str, float] | None = None

    @property
    def duration(self) -> float:
        """Length of the video in seconds."""
        return float(self.edges[-1])

    def segment_at(self, seconds: float) -> Segment:
        """Return the segment at a time; the first or last one outside the video."""
        ends = [segment.end for segment in self.segments]
        return self.segments[min(int(np.searchsorted(ends, seconds, side="right")), len(ends) - 1)]

    def confidence_at(self, seconds: float) -> float:
        """Return the smoothed probability of the segment's class at a time; for NO_ACTION the highest probability."""
        window = int(np.searchsorted(self.edges[1:-1], seconds, side="right"))
        label = self.segment_at(seconds).label
        row = self.probabilities[window]
        return float(row.max() if label == NO_ACTION else row[self.class_names.index(label)])


def moving_average(probabilities: np.ndarray, times: np.ndarray, seconds: float) -> np.ndarray:
    """Return the mean of the rows whose times lie within `seconds`, centred on that of each row: float64 `(W, C)`.

    `times` ascend: float64 `(W,)`, seconds.
    """
    sums = np.concatenate([np.zeros((1, probabilities.shape[1])), np.cumsum(probabilities, axis=0, dtype=np.float64)])
    first, last = np.searchsorted(times, times - seconds / 2), np.searchsorted(times, times + seconds / 2)
    return (sums[last] - sums[first]) / (last - first)[:, None]


def window_edges(times: np.ndarray, *, duration: float) -> np.ndarray:
    """Return the times between which the answers of windows stand: float64 `(W + 1,)`, seconds.

    The answer of a window belongs to the mean time of the frames that its models see, `times`. Edges lie halfway
    between neighbouring ones; the first is 0 and the last `duration`.
    """
    inner = (times[1:] + times[:-1]) / 2
    return np.concatenate([[0.0], np.minimum(inner, duration), [duration]])


def label_windows(probabilities: np.ndarray, edges: np.ndarray, *, threshold: float, min_segment: float) -> np.ndarray:
    """Return the class of each window, int64 `(W,)`, with -1 for "no action".

    A window has its most probable class if the probability reaches `threshold`. Then the shortest run of equal classes
    takes the class of its longer neighbour (the earlier one if both are equally long) until no run is shorter than
    `min_segment` seconds.
    """
    best = probabilities.argmax(axis=1)
    runs = runs_of(np.where(probabilities.max(axis=1) >= threshold, best, -1))
    while len(runs) > 1:
        seconds = [edges[last] - edges[first] for first, last, _ in runs]
        shortest = int(np.argmin(seconds))
        if seconds[shortest] >= min_segment:
            break
        sides = [side for side in (shortest - 1, shortest + 1) if 0 <= side < len(runs)]
        chosen = max(sides, key=lambda side: seconds[side])
        runs[shortest] = (*runs[shortest][:2], runs[chosen][2])
        merged = runs[:1]
        for first, last, label in runs[1:]:
            if merged[-1][2] == label:
                merged[-1] = (merged[-1][0], last, label)
            else:
                merged.append((first, last, label))
        runs = merged
    return np.concatenate([np.full(last - first, label) for first, last, label in runs])


def runs_of(labels: np.ndarray) -> list[tuple[int, int, int]]:
    """Return the runs of equal values as (first, exclusive last, value)."""
    starts = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist()]
    return [(first, last, int(labels[first])) for first, last in zip(starts, [*starts[1:], len(labels)])]


def segments_of(
    probabilities: np.ndarray, edges: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> tuple[Segment, ...]:
    """Return the runs of equal classes as segments."""
    found = []
    for first, last, label in runs_of(labels):
        times = float(edges[first]), float(edges[last])
        if label < 0:
            found.append(Segment(*times, NO_ACTION, None))
        else:
            found.append(Segment(*times, class_names[label], float(probabilities[first:last, label].mean())))
    return tuple(found)
