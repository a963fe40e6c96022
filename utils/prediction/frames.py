"""The frames of a video with their times, decoded once, in a thread of their own."""

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from utils.prediction.tables import printable
from utils.video.exact import opened_video


@dataclass
class Frames:
    """An iterator over (seconds, retrieve) of a video, where `retrieve` returns the frame, BGR and upright.

    count: number of frames, 0 if unknown. rate: frames per second. end: after the last frame, the end of the video in
    seconds. read: number of frames so far.
    """

    frames: Iterable[tuple[float, Callable[[], np.ndarray]]]
    count: int
    rate: float
    end: float = 0.0
    read: int = 0

    @property
    def duration(self) -> float:
        """Duration in seconds as the frames are counted; 0 if unknown."""
        return self.count / self.rate

    def __iter__(self) -> Iterator[tuple[float, Callable[[], np.ndarray]]]:
        for seconds, retrieve in self.frames:
            self.read += 1
            self.end = seconds + 1 / self.rate
            yield seconds, retrieve


@contextlib.contextmanager
def frames_of(path: str | os.PathLike) -> Iterator[Frames]:
    """Open a video file; yields its Frames. Raises VideoError if it cannot be opened."""
    with opened_video(path) as video:
        yield Frames(video, video.count, video.rate or 25.0)
        print_note(path, video.note)


def print_note(path: str | os.PathLike, note: str | None) -> None:
    """Print what is wrong with a video that was used nevertheless to stderr."""
    if note is not None:
        print(f"note: {printable(str(path))}: {note}", file=sys.stderr)


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
