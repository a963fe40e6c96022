"""Decode videos with PyAV where OpenCV's build of FFmpeg lacks the decoder, as for AV1."""

import contextlib
from collections.abc import Iterator

import numpy as np

from utils.video.containers import RESTRICTIONS, VideoError


class PyAvCapture:
    """The part of the interface of cv2.VideoCapture that reading a clip needs.

    Frames are BGR and upright, converted as OpenCV does: pixels are equal for videos that both can decode.
    """

    def __init__(self, container):
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        self._container, self._stream = container, stream
        self._frames = _frames(container, stream)
        self._frame = None
        self._size = (0, 0)  # of the last frame, upright: height, width

    def grab(self) -> bool:
        """Decode the next frame; return False after the last one."""
        self._frame = next(self._frames, None)
        if self._frame is None:
            return False
        size = (self._frame.height, self._frame.width)
        self._size = size[::-1] if self._quarter_turns() % 2 else size
        return True

    def retrieve(self) -> tuple[bool, np.ndarray]:
        """Return True and the frame that was decoded last, uint8 (height, width, 3)."""
        from av.video.reformatter import Interpolation

        frame = self._frame.to_ndarray(format="bgr24", interpolation=Interpolation.BICUBIC, threads=1)
        return True, np.ascontiguousarray(np.rot90(frame, self._quarter_turns()))

    def _quarter_turns(self) -> int:
        """Return how often the last frame has to be turned by 90 degrees, counterclockwise, to be upright."""
        return round(self._frame.rotation / 90)

    def get(self, name: int) -> float:
        """Return a property by its number in OpenCV: frame count, frame rate; size and time of the last frame."""
        import cv2

        stream, rate = self._stream, float(self._stream.average_rate or 0)
        if name == cv2.CAP_PROP_FRAME_COUNT:
            duration = stream.duration * stream.time_base if stream.duration else (self._container.duration or 0) / 1e6
            return float(stream.frames or int(float(duration) * rate + 0.5))
        return {
            cv2.CAP_PROP_FPS: rate,
            cv2.CAP_PROP_POS_MSEC: 1000 * (self._frame.time or 0.0) if self._frame is not None else 0.0,
            cv2.CAP_PROP_FRAME_HEIGHT: float(self._size[0]),
            cv2.CAP_PROP_FRAME_WIDTH: float(self._size[1]),
        }[name]


@contextlib.contextmanager
def opened_with_pyav(path: str) -> Iterator[PyAvCapture]:
    """Open a video of which OpenCV cannot decode a frame. Raises VideoError if PyAV is missing or cannot open it."""
    try:
        import av
    except ImportError:
        raise VideoError(
            "no frame can be decoded by OpenCV, and PyAV, which also decodes AV1, is not installed "
            "(pip install -r requirements-video.txt)"
        ) from None
    av.logging.set_level(None)  # damaged files would fill stderr
    try:
        with av.open(path, options=RESTRICTIONS, metadata_errors="replace") as container:
            if not container.streams.video:
                raise VideoError("no frame can be decoded")
            yield PyAvCapture(container)
    except av.FFmpegError:
        raise VideoError("no frame can be decoded") from None


def _frames(container, stream) -> Iterator:
    """Yield the frames of a stream in order; packets that cannot be decoded are skipped."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            frames = next(packets).decode()
        except av.error.InvalidDataError:
            continue
        except (StopIteration, av.FFmpegError):
            return
        yield from frames
