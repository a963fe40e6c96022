"""The frames of a video with their times, decoded once, in a thread of their own."""

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from utils.video.video import opened_video

LONGEST_STEP = 3600.0  # seconds; a greater step between two frames is a fault of the timestamps


class Clock:
    """Converts the timestamps of successive frames, in seconds, to times that start at 0 and increase.

    A step that is not positive, or of more than LONGEST_STEP, as at a fault of a stream, counts as one frame.
    """

    def __init__(self, rate: float):
        self._interval = 1 / rate
        self._stamp: float | None = None
        self._seconds = 0.0

    def time_of(self, stamp: float) -> float:
        """Return the time of the next frame in seconds."""
        if self._stamp is not None:
            step = stamp - self._stamp
            self._seconds += step if 0 < step <= LONGEST_STEP else self._interval
        self._stamp = stamp
        return self._seconds


@dataclass
class Frames:
    """An iterator over (seconds, retrieve) of a capture of OpenCV, with the times of a Clock.

    `retrieve` returns the frame, BGR and upright, or None if it is damaged. count: number of frames in the header, 0 if
    unknown. rate: frames per second of the header. end: after the last frame, the end of the video in seconds. read:
    number of frames so far.
    """

    capture: object
    count: int
    rate: float
    end: float = 0.0
    read: int = 0

    @classmethod
    def of(cls, capture) -> "Frames":
        """Return the frames of an opened capture, with what its header states."""
        import cv2

        count, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
        plausible = np.isfinite(rate) and 0.1 <= rate <= 1000
        return cls(capture, int(count) if 0 < count < 2**31 else 0, float(rate) if plausible else 25.0)

    @property
    def duration(self) -> float:
        """Duration in seconds as the header states it; 0 if unknown."""
        return self.count / self.rate

    def __iter__(self) -> Iterator[tuple[float, Callable[[], np.ndarray | None]]]:
        import cv2

        clock = Clock(self.rate)
        while self.capture.grab():
            seconds = clock.time_of(self.capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
            self.read += 1
            self.end = seconds + 1 / self.rate
            yield seconds, self._retrieve

    def _retrieve(self) -> np.ndarray | None:
        retrieved, frame = self.capture.retrieve()
        return frame if retrieved else None


@contextlib.contextmanager
def frames_of(path: str | os.PathLike) -> Iterator[Frames]:
    """Open a video file; yields its Frames. Raises VideoError if it cannot be opened."""
    with opened_video(path) as capture:
        yield Frames.of(capture)


def in_background(items: Iterable, *, ahead: int) -> Iterator:
    """Yield `items`, which a thread computes, at most `ahead` of them in advance; its exceptions are raised here."""
    waiting: queue.Queue = queue.Queue(ahead)
    stopped = threading.Event()

    def put(entry) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(entry, timeout=0.1)
                return

    def work() -> None:
        try:
            for item in items:
                put((item, None))
                if stopped.is_set():
                    return
            put((None, StopIteration()))
        except BaseException as error:  # raised in the thread that consumes the items
            put((None, error))

    thread = threading.Thread(target=work, name="decoder", daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        stopped.set()
        thread.join()
