"""Windows of a stream of frames, each sampled to evenly spaced frames by time."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

TOLERANCE = 0.002  # seconds; some containers round timestamps to milliseconds


@dataclass
class Window:
    """A window that starts at `start` seconds; `samples` holds its frames for each model, as far as they have come."""

    start: float
    samples: list[list[np.ndarray]] = field(default_factory=list)

    def clips(self) -> list[np.ndarray]:
        """Return the clip for each model: uint8 `(T, H, W, 3)`."""
        return [np.stack(frames) for frames in self.samples]


class WindowSampler:
    """Samples overlapping windows from frames in the order of their times; holds the frames of open windows only.

    Window w starts at w * stride seconds. `moments` holds float `(T,)` for each model: its frame k is the first one at
    or after start + moments[k] * window. Frames that are missing in a damaged file or a stream are thus replaced by the
    next one. Windows without a frame, as in a gap of the timestamps, are left out; `skipped` counts them. `render`
    converts a decoded frame to the input of each model and is called for sampled frames only.
    """

    def __init__(
        self,
        *,
        window: float,
        stride: float,
        moments: Sequence[np.ndarray],
        render: Callable[[object], list[np.ndarray]],
    ):
        self.window, self.stride, self.moments, self.render = window, stride, moments, render
        self._open: list[Window] = []
        self._started = self.skipped = 0

    def add(self, seconds: float, retrieve: Callable[[], object]) -> list[Window]:
        """Add the frame at a time in seconds; return the windows that it completes.

        `retrieve` returns the decoded frame. It is called only if the frame is sampled.
        """
        first = math.floor((seconds - self.window) / self.stride) + 1  # that still spans this frame
        self.skipped += max(first - self._started, 0)
        self._started = max(first, self._started)
        while self._started * self.stride <= seconds + TOLERANCE:
            self._open.append(Window(self._started * self.stride, [[] for _ in self.moments]))
            self._started += 1
        rendered = None
        for window in self._open:
            for model, (moments, frames) in enumerate(zip(self.moments, window.samples)):
                while (
                    len(frames) < len(moments)
                    and window.start + moments[len(frames)] * self.window <= seconds + TOLERANCE
                ):
                    rendered = self.render(retrieve()) if rendered is None else rendered
                    frames.append(rendered[model])
        complete = [window for window in self._open if self._is_complete(window)]
        self._open = [window for window in self._open if not self._is_complete(window)]
        return complete

    def restart(self, seconds: float) -> None:
        """Drop the open windows; the next one starts at or after a time in seconds."""
        self._open = []
        self._started = math.ceil(seconds / self.stride)

    def rest(self) -> Window | None:
        """Return the first open window, in which the last sampled frame stands for the missing ones; None without."""
        if not self._open or not all(self._open[0].samples):
            return None
        for moments, frames in zip(self.moments, self._open[0].samples):
            frames += [frames[-1]] * (len(moments) - len(frames))
        return self._open[0]

    def _is_complete(self, window: Window) -> bool:
        return all(len(frames) == len(moments) for moments, frames in zip(self.moments, window.samples))


def windows_of(frames: Iterable[tuple[float, Callable[[], object]]], sampler: WindowSampler) -> Iterator[Window]:
    """Yield the windows of a finite stream of (seconds, retrieve), in order; at least one if a frame can be decoded."""
    found = False
    for seconds, retrieve in frames:
        for window in sampler.add(seconds, retrieve):
            found = True
            yield window
    rest = sampler.rest()
    if not found and rest is not None:
        yield rest
