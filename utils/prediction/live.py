"""Answers for a camera or a stream: the newest window, whatever time the model takes."""

import contextlib
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from utils.base.errors import UserError
from utils.prediction.answers import Answer
from utils.prediction.ensemble import Ensemble
from utils.prediction.timelines import Timing, batch_probabilities, sampler_for
from utils.prediction.windows import Window
from utils.video.containers import FORMATS, SCHEMES, VideoError
from utils.video.decoding import Clock, Source
from utils.video.video import opencv

OPTIONS = {
    "protocol_whitelist": ",".join((*SCHEMES, "crypto", "tls")),
    "format_whitelist": ",".join((*FORMATS, "hls", "mpjpeg", "rtp", "rtsp", "sdp")),
}
SECONDS_TO_OPEN, SECONDS_TO_READ = 10.0, 5.0

LOST_FRAMES = 3  # failed reads after which a stream is opened again
REOPENED = 5  # times that a stream is opened again before it counts as ended
SECONDS_BETWEEN_REOPENING = 1.0
RATE_SECONDS = 10.0
SECONDS_TO_END = 3.0  # of the thread that reads frames


@dataclass(frozen=True)
class LiveAnswer:
    """The answer at a time in seconds since the start, and rates per second: frames read, windows answered.

    dropped: number of windows so far that the model had no time for.
    """

    seconds: float
    answer: Answer
    frame_rate: float
    window_rate: float
    dropped: int


class Stream(Source):
    """A stream or recording at a URL, with the part of the interface of cv2.VideoCapture that a camera needs.

    count: number of frames that a recording states, 0 for a stream. rate: frames per second, 25 if unknown.
    """

    def __init__(self, url: str):
        super().__init__(url, options=OPTIONS, timeout=(SECONDS_TO_OPEN, SECONDS_TO_READ))
        rate = float(self._stream.average_rate or self._stream.guessed_rate or 0)
        self.rate = rate if 0.1 <= rate <= 1000 else 25.0
        self.count = self._stream.frames or round((self._container.duration or 0) / 1e6 * self.rate)
        self._frames = self.frames(self.packets())

    def __iter__(self) -> Iterator[tuple[float, Callable[[], np.ndarray]]]:
        """Yield the time of each frame in seconds, from 0 on, and a function that returns the frame."""
        clock = Clock(self.rate)
        for frame in self._frames:
            yield clock.time_of(frame.time), lambda frame=frame: self.picture(frame)

    def read(self) -> tuple[bool, np.ndarray | None]:
        """Return True and the next frame, or False and None if there is none."""
        frame = next(self._frames, None)
        return frame is not None, None if frame is None else self.picture(frame)

    def release(self) -> None:
        """Close the connection."""
        self.close()


def open_live(source: int | str):
    """Open a camera by its number or device file, or a stream by its URL. Raises UserError if that fails."""
    if isinstance(source, str) and "://" in source:
        try:
            return Stream(source)
        except VideoError as error:
            raise UserError(f"--input: stream {source} {error}; is it reachable?") from None
    capture = opencv().VideoCapture(source)
    if not capture.isOpened():
        raise UserError(f"--input: camera {source} cannot be opened; is it connected, and not in use?")
    return capture


class Rate:
    """Counts events per second over the last RATE_SECONDS."""

    def __init__(self):
        self._times: deque[float] = deque()

    def add(self, seconds: float) -> None:
        """Add an event at a time in seconds."""
        self._times.append(seconds)
        while self._times[0] < seconds - RATE_SECONDS:
            self._times.popleft()

    def per_second(self) -> float:
        """Return the rate; 0 until there are two events."""
        times = list(self._times)
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 0.0


class LatestWindow:
    """Hands the newest window to the thread that runs the model; a window that was not taken is dropped."""

    def __init__(self):
        self._slot: queue.Queue = queue.Queue(1)
        self._ended = False
        self.dropped = 0

    def put(self, window: Window) -> None:
        """Replace the waiting window."""
        with contextlib.suppress(queue.Empty):
            self._slot.get_nowait()
            self.dropped += 1
        self._slot.put(window)

    def end(self) -> None:
        """Let `get` return None once the waiting window is taken."""
        self._ended = True

    def get(self, seconds: float) -> Window | None:
        """Wait for the next window; return None at the end. Raises queue.Empty after `seconds`."""
        is_last = self._ended
        try:
            return self._slot.get(block=not is_last, timeout=seconds)
        except queue.Empty:
            if not is_last:
                raise
            return None


class Camera:
    """Reads a capture in a thread and samples windows, with the time since the first frame as the clock.

    `on_frame` is called in that thread with each frame, BGR, and its time. A stream, which is given by `reopen`, is
    opened again after lost frames. `clock` is replaced in tests.
    """

    def __init__(
        self,
        capture,
        predictor: Ensemble,
        timing: Timing,
        *,
        reopen: Callable[[], object] | None = None,
        on_frame: Callable[[np.ndarray, float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.windows, self.frames = LatestWindow(), Rate()
        self._capture, self._reopen, self._on_frame, self._clock = capture, reopen, on_frame, clock
        self._sampler = sampler_for(predictor, timing)
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="camera", daemon=True)

    def __enter__(self) -> "Camera":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        self._thread.join(SECONDS_TO_END)
        if not self._thread.is_alive():  # else it waits for a stream that sends nothing; it ends with the process
            self._capture.release()

    def raise_error(self) -> None:
        """Raise what ended the thread, if it was an error."""
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            self._read()
        except BaseException as error:  # raised again in the main thread
            self._error = error
        finally:
            self.windows.end()

    def _read(self) -> None:
        start, failures, opened, is_new = None, 0, 0, False
        while not self._ended.is_set():
            read, frame = self._capture.read()
            if not read:
                failures += 1
                if failures >= LOST_FRAMES:
                    if self._reopen is None or opened == REOPENED:
                        return
                    opened += 1
                    self._ended.wait(SECONDS_BETWEEN_REOPENING)
                    self._capture.release()
                    with contextlib.suppress(UserError):  # it is tried again
                        self._capture, failures, is_new = self._reopen(), 0, True
                continue
            failures = opened = 0
            now = self._clock()
            start = now if start is None else start
            if is_new:  # no window spans the time without frames
                self._sampler.restart(now - start)
                is_new = False
            self.frames.add(now)
            for window in self._sampler.add(now - start, lambda frame=frame: frame):
                self.windows.put(window)
            if self._on_frame is not None:
                self._on_frame(frame, now - start)


def live_answers(
    predictor: Ensemble, camera: Camera, timing: Timing, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[LiveAnswer | None]:
    """Yield an answer for each window that the model takes; None about ten times per second in between.

    Probabilities are averaged over the windows answered within the last `timing.smoothing` seconds.
    """
    recent: deque[tuple[float, np.ndarray]] = deque()
    answered = Rate()
    while True:
        try:
            window = camera.windows.get(0.1)
        except queue.Empty:
            yield None
            continue
        if window is None:
            camera.raise_error()
            return
        (probabilities,) = batch_probabilities(predictor, [window.clips()])
        end = window.start + timing.window
        recent.append((end, probabilities))
        while recent[0][0] <= end - timing.smoothing and len(recent) > 1:
            recent.popleft()
        mean = np.mean([each for _, each in recent], axis=0)
        answered.add(clock())
        answer = Answer("", predictor.class_names, mean, predictor.threshold)
        yield LiveAnswer(end, answer, camera.frames.per_second(), answered.per_second(), camera.windows.dropped)


@contextlib.contextmanager
def pressed_keys() -> Iterator[Callable[[], str]]:
    """Yield a function that returns the keys pressed since its last call; always "" if stdin is not a terminal."""
    if sys.stdin is None or not sys.stdin.isatty():
        yield lambda: ""
        return
    import select
    import termios
    import tty

    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)

    def keys() -> str:
        return os.read(number, 64).decode(errors="replace") if select.select([number], [], [], 0)[0] else ""

    try:
        tty.setcbreak(number)  # keys without Enter; Ctrl-C still works
        yield keys
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
