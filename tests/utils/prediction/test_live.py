"""Cameras and streams: the newest window is answered, lost frames are bridged, and all ends with the block."""

import http.server
import io
import json
import threading
from contextlib import redirect_stderr

import numpy as np
import pytest

from tests.utils.prediction.conftest import colour_predictor, coloured
from tests.utils.video.numbered import numbers_in, write_numbered
from utils.base.errors import UserError
from utils.base.prediction_options import TimelineOptions
from utils.prediction import live
from utils.prediction.answers import NO_ACTION, Answer
from utils.prediction.live import Camera, LatestWindow, LiveAnswer, Rate, live_answers, open_live
from utils.prediction.timelines import Timing
from utils.prediction.watch import LiveView, line_of, watch
from utils.prediction.windows import Window

TIMING = Timing(window=1.0, stride=0.5, smoothing=0.0, min_segment=0.5)


class FakeCamera:
    """A capture of red, then blue frames; a read fails where `lost` says. Its clock advances 0.1 s with each read."""

    def __init__(self, frames=40, lost=()):
        self.frames, self.lost, self.reads, self.released = frames, lost, 0, False

    def clock(self):
        return self.reads / 10

    def read(self):
        self.reads += 1
        if self.reads > self.frames or self.reads in self.lost:
            return False, None
        return True, coloured((0 if self.reads <= self.frames // 2 else 2, 1))[0, ..., ::-1]

    def get(self, _):
        return 10.0

    def release(self):
        self.released = True


def answers(capture, **settings):
    """Return the answers for a fake camera with a model that is faster than it."""
    predictor = colour_predictor(threshold=0.5)
    camera = Camera(capture, predictor, TIMING, clock=capture.clock, **settings)
    camera.windows = Unbounded()
    with camera:
        return [found for found in live_answers(predictor, camera, TIMING, clock=capture.clock) if found is not None]


class Unbounded(LatestWindow):
    """Keeps all windows, as if the model took no time."""

    def __init__(self):
        super().__init__()
        self._slot.maxsize = 0

    def put(self, window):
        self._slot.put(window)


def test_answers_of_a_camera():
    """Answers would come late, or be those of other moments."""
    capture = FakeCamera()
    found = answers(capture)
    assert [each.seconds for each in found] == [1.0, 1.5, 2.0, 2.5, 3.0, 3.5]
    assert [each.answer.label for each in found] == ["red"] * 3 + ["blue"] * 3
    assert found[-1].frame_rate == pytest.approx(10.0)
    assert capture.released


def test_lost_frames_and_streams_that_are_opened_again(monkeypatch):
    """A stream would end at its first lost frame, or answer for a time without frames."""
    monkeypatch.setattr(live, "SECONDS_BETWEEN_REOPENING", 0.0)
    assert len(answers(FakeCamera(lost=(5, 6, 12)))) == 6
    first, second = FakeCamera(frames=22), FakeCamera(frames=30)
    second.reads = 0
    opened = []

    def reopen():
        opened.append(None)
        if len(opened) > 1:
            return second
        second.clock = lambda: 10 + second.reads / 10
        return second

    capture = first
    predictor = colour_predictor()
    camera = Camera(capture, predictor, TIMING, reopen=reopen, clock=lambda: first.clock() + second.reads / 10)
    camera.windows = Unbounded()
    with camera:
        found = [each for each in live_answers(predictor, camera, TIMING) if each is not None]
    assert len(opened) == 1 + live.REOPENED
    starts = [each.seconds - 1.0 for each in found]
    assert starts == sorted(set(starts))
    assert not any(1.2 < start < 2.4 for start in starts)  # no window spans the break at 2.2 s


def test_a_window_that_is_not_taken_is_dropped():
    """A slow model would fall further and further behind the camera."""
    waiting = LatestWindow()
    for start in (0.0, 0.5, 1.0):
        waiting.put(Window(start))
    assert waiting.get(0).start == 1.0
    assert waiting.dropped == 2


def test_rates_are_those_of_the_last_seconds():
    """The printed frame rate would be an average since the start."""
    rate = Rate()
    assert rate.per_second() == 0.0
    for time in [*np.arange(0, 20, 1.0), *np.arange(20, 40, 0.1)]:
        rate.add(time)
    assert rate.per_second() == pytest.approx(10.0)


def test_lines():
    """A line would lack what the page promises."""
    answer = Answer("", ("walk", "run"), np.array([0.75, 0.25]), threshold=0.8)
    found = LiveAnswer(2.5, answer, 24.9, 1.98, 3)
    text = line_of(found, "table", 2)
    assert text[8:] == "  no action  (walk 75 %  run 25 %)  24.9 fps, 2.0 windows/s, 3 dropped"
    content = json.loads(line_of(found, "json", 1))
    assert (content["class"], content["top"]) == (None, [{"class": "walk", "probability": 0.75}])
    assert (content["seconds"], content["frames_per_second"], content["dropped_windows"]) == (2.5, 24.9, 3)


def test_the_live_strip_keeps_its_colours():
    """A class would change its colour while one looks on."""
    view = LiveView(TIMING)
    frame = np.zeros((240, 320, 3), np.uint8)
    assert view.draw(frame, 0.0).shape[1] == 320
    names = ("a", "b")
    for number in range(100):
        probabilities = np.array([0.9, 0.1]) if number > 50 else np.array([0.1, 0.9])
        view.add(LiveAnswer(1 + number / 2, Answer("", names, probabilities), 25.0, 2.0, 0))
    view.draw(frame, 50.0)
    assert view._band.colour("b") == "#E69F00"
    assert view._band.colour("a") == "#56B4E9"
    assert view._band.colour(NO_ACTION) == "#808080"
    assert view._band.end - view._band.start == 30
    assert len(view._band.segments) <= 62


def test_watching_to_the_end(tmp_path, capsys, monkeypatch):
    """The annotated video would be incomplete, or the missing window go unmentioned."""
    av = pytest.importorskip("av", reason="PyAV writes annotated videos")
    monkeypatch.setattr("utils.prediction.watch.open_live", lambda source: FakeCamera(frames=30))
    with redirect_stderr(io.StringIO()) as notes:
        options = TimelineOptions(window=0.001)
        watch(0, colour_predictor(), options, form="json", top=1, output=tmp_path / "o.mp4")
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert json.loads(lines[0])["top"][0]["class"] in ("red", "blue")
    assert "wrote" in notes.getvalue()
    with av.open(str(tmp_path / "o.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    left_out = 30 - len(frames)
    assert len(frames) >= 8
    assert (f"{left_out} frames were left out" in notes.getvalue()) == (left_out > 0)


def test_a_camera_that_is_missing():
    """A missing camera would end in a traceback."""
    with pytest.raises(UserError, match=r"^--input: camera 99 cannot be opened"):
        open_live(99)


@pytest.fixture
def served(tmp_path):
    """A server on this machine: (URL, handler class whose `content` is sent, after which it waits if `stalls`)."""
    ended = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        content, stalls = b"", False

        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.content)
            if self.stalls:
                self.wfile.flush()
                ended.wait(20)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/video", Handler
    ended.set()
    server.shutdown()
    server.server_close()


def test_a_recording_at_a_url(served, tmp_path):
    """Interlaced recordings and streams would be answered by uninitialised memory, or their times be wrong."""
    url, handler = served
    path = write_numbered(tmp_path / "a.ts", 20, options={"x264-params": "tff=1"})
    handler.content = path.read_bytes()
    stream = open_live(url)
    found = [(seconds, retrieve()[..., ::-1]) for seconds, retrieve in stream]
    assert numbers_in(np.stack([frame for _, frame in found])) == list(range(20))
    assert [seconds for seconds, _ in found] == pytest.approx([k / 25 for k in range(20)])
    assert stream.read() == (False, None)
    stream.release()


def test_a_stream_that_stalls(served, tmp_path, monkeypatch, capsys):
    """`--max_seconds 8` would end after a minute."""
    monkeypatch.setattr(live, "SECONDS_TO_READ", 0.3)
    monkeypatch.setattr(live, "SECONDS_TO_OPEN", 5.0)
    monkeypatch.setattr("utils.prediction.watch.SECONDS_BETWEEN_LINES", 0.0)
    url, handler = served
    handler.content = write_numbered(tmp_path / "a.ts", 100, options={"g": "5"}).read_bytes()
    handler.stalls = True
    stream = open_live(url)
    numbers = 0
    while stream.read()[0]:
        numbers += 1
    assert 50 < numbers <= 100
    stream.release()
    watch(url, colour_predictor(), TimelineOptions(window=100.0), form="json", top=1, max_seconds=0.5)
    assert capsys.readouterr().out == ""
