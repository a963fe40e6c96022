"""What predict.py does with a camera or a stream: a line per second, an annotated video, a window."""

import contextlib
import json
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np

from utils.base.interruption import between_steps
from utils.base.prediction_options import TimelineOptions
from utils.prediction.answers import NO_ACTION, Answer, Segment
from utils.prediction.ensemble import Ensemble
from utils.prediction.live import Camera, LiveAnswer, Stream, live_answers, open_live, pressed_keys
from utils.prediction.overlay import Band, Moment, annotated, colours_of, output_size
from utils.prediction.timelines import Timing

SECONDS_BETWEEN_LINES = 1.0
STRIP_SECONDS = 30.0  # that the timeline strip shows
WAITING_FRAMES = 8  # for the encoder; more are dropped
TITLE = "predict.py"


def watch(
    source: int | str,
    predictor: Ensemble,
    options: TimelineOptions,
    *,
    form: str,
    top: int,
    output: Path | None = None,
    max_seconds: float | None = None,
) -> None:
    """Print an answer per second for a camera or stream until it ends, `q` or Ctrl-C is pressed or the time is over.

    `form` is "table" for lines of text, or "json". `output` is an annotated video of what was seen. If the installed
    OpenCV has windows and there is a screen, a window shows the picture. Raises UserError if `source` cannot be opened.
    """
    timing = Timing.of(options, predictor.clip_seconds)
    capture = open_live(source)
    reopen = (lambda: open_live(source)) if isinstance(source, str) else None
    with contextlib.ExitStack() as stack:
        check = stack.enter_context(between_steps())
        keys = stack.enter_context(pressed_keys())
        view = LiveView(timing)
        consumers = [] if output is None else [stack.enter_context(recording(output, capture, view)).put]
        window = stack.enter_context(preview(view))
        consumers += [] if window is None else [window.put]

        def on_frame(frame: np.ndarray, seconds: float) -> None:
            for consume in consumers:
                consume(frame, seconds)

        camera = stack.enter_context(Camera(capture, predictor, timing, reopen=reopen, on_frame=on_frame))
        begun = time.monotonic()
        last = begun - SECONDS_BETWEEN_LINES
        for found in live_answers(predictor, camera, timing):
            check()
            is_stopped = "q" in keys() or (window is not None and window.show() == "q")
            if found is not None:
                view.add(found)
                if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
                    last = time.monotonic()
                    print(line_of(found, form, top), flush=True)
            # A camera that sends nothing ends by the clock, with some time for the answer to the last window.
            seconds = found.seconds if found is not None else time.monotonic() - begun - SECONDS_BETWEEN_LINES
            if is_stopped or (max_seconds is not None and seconds >= max_seconds):
                break
    if output is not None:
        print(f"wrote {output}", file=sys.stderr)


def line_of(found: LiveAnswer, form: str, top: int) -> str:
    """Return an answer as a line of text or of JSON."""
    answer = found.answer
    if form == "json":
        content = {
            "time": datetime.now().astimezone().isoformat(timespec="milliseconds"),
            "seconds": round(found.seconds, 3),
            "class": None if answer.rejected else answer.label,
            "confidence": answer.confidence,
            "top": [{"class": name, "probability": share} for name, share in answer.top(top)],
            "frames_per_second": round(found.frame_rate, 2),
            "windows_per_second": round(found.window_rate, 2),
            "dropped_windows": found.dropped,
        }
        return json.dumps(content, ensure_ascii=False)
    shares = "  ".join(f"{name} {100 * share:.0f} %" for name, share in answer.top(top))
    return (
        f"{datetime.now():%H:%M:%S}  {answer.label}  ({shares})  {found.frame_rate:.1f} fps, "
        f"{found.window_rate:.1f} windows/s, {found.dropped} dropped"
    )


class LiveView:
    """The answers of the last STRIP_SECONDS as pictures with a band."""

    def __init__(self, timing: Timing):
        self._stride = timing.stride
        self._parts: deque[Segment] = deque()
        self._answer: Answer | None = None
        self._band: Band | None = None  # drawn anew after each answer, as its parts are kept by the band
        self._lock = threading.Lock()
        self._names: dict[str, None] = {}  # in the order of their first answers, which gives them their colours

    def add(self, found: LiveAnswer) -> None:
        """Add an answer, which stands for the time since the one before it."""
        answer = found.answer
        with self._lock:
            start = self._parts[-1].end if self._parts else max(found.seconds - self._stride, 0.0)
            self._parts.append(Segment(start, found.seconds, answer.label, answer.confidence))
            while self._parts[0].end < found.seconds - STRIP_SECONDS:
                self._parts.popleft()
            self._names[answer.label] = None
            self._answer, self._band = answer, None

    def draw(self, frame: np.ndarray, seconds: float) -> np.ndarray:
        """Return a frame, BGR, with the band for its time: RGB."""
        picture = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        size = output_size(*picture.shape[:2])
        with self._lock:
            if self._band is None or self._band.width != size[1]:
                end = max(self._parts[-1].end if self._parts else 0.0, STRIP_SECONDS)
                colours = colours_of(self._names)
                self._band = Band(size[1], tuple(self._parts), end - STRIP_SECONDS, end, colours)
            band, answer = self._band, self._answer
        label, confidence = (answer.label, answer.confidence) if answer else (NO_ACTION, 0.0)
        return annotated(picture, size, band, Moment(label, confidence, seconds))


class Recording:
    """Encodes annotated frames in a thread; frames that come while it is busy are dropped."""

    def __init__(self, container, view: LiveView, rate: float):
        self._waiting: queue.Queue = queue.Queue(WAITING_FRAMES)
        self._container, self._view, self._rate = container, view, rate
        self.dropped = 0
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="encoder", daemon=True)
        self._thread.start()

    def put(self, frame: np.ndarray, seconds: float) -> None:
        """Add a frame, BGR."""
        try:
            self._waiting.put_nowait((frame, seconds))
        except queue.Full:
            self.dropped += 1

    def finish(self) -> None:
        """Encode the waiting frames and complete the video. Raises what ended the thread, if it was an error."""
        self._waiting.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        from utils.prediction.mp4 import Mp4Writer

        writer = None
        try:
            while (entry := self._waiting.get()) is not None:
                picture = self._view.draw(*entry)
                height, width, _ = picture.shape
                writer = writer or Mp4Writer(self._container, height=height, width=width, rate=self._rate)
                writer.write(picture, entry[1])
            if writer is not None:
                writer.finish()
        except BaseException as error:
            self._error = error
            while self._waiting.get() is not None:  # so that nobody waits for space in the queue
                pass


@contextlib.contextmanager
def recording(output: Path, capture, view: LiveView) -> Iterator[Recording]:
    """Write the annotated video of a camera; it is complete also if the block is interrupted."""
    from utils.prediction.mp4 import new_mp4

    rate = capture.rate if isinstance(capture, Stream) else capture.get(cv2.CAP_PROP_FPS)
    with new_mp4(output) as container:
        video = Recording(container, view, rate if np.isfinite(rate) and 1 <= rate <= 1000 else 25.0)
        interrupted = None
        try:
            yield video
        except KeyboardInterrupt as error:
            interrupted = error
        video.finish()
        if video.dropped:
            print(f"note: {video.dropped} frames were left out of {output}: encoding was too slow", file=sys.stderr)
    if interrupted is not None:
        raise interrupted


class Preview:
    """Shows the newest frame in a window of OpenCV. `show` is called in the main thread."""

    def __init__(self, view: LiveView):
        self._view, self._latest = view, None

    def put(self, frame: np.ndarray, seconds: float) -> None:
        """Replace the frame to show."""
        self._latest = (frame, seconds)

    def show(self) -> str:
        """Show the newest frame and return the key pressed in the window, or ""."""
        if self._latest is not None:
            cv2.imshow(TITLE, cv2.cvtColor(self._view.draw(*self._latest), cv2.COLOR_RGB2BGR))
        key = cv2.waitKey(1)
        return "" if key < 0 else chr(key & 0xFF)


@contextlib.contextmanager
def preview(view: LiveView) -> Iterator[Preview | None]:
    """Open a window; without windows in the installed OpenCV, or without a screen, print one line and yield None."""
    try:
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL)
    except cv2.error:
        print("note: no live window: this OpenCV has none (opencv-python has), or there is no screen", file=sys.stderr)
        yield None
        return
    try:
        yield Preview(view)
    finally:
        cv2.destroyAllWindows()
