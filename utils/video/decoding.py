"""Open and decode the video stream of a file or URL with PyAV: upright frames with the pixels that OpenCV would give.

PyAV is imported when the first video is opened, to keep the scripts' `--help` fast.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from utils.video.containers import VideoError

LONGEST_STEP = 3600.0  # seconds; a greater step between two frames is a fault of the timestamps


class Clock:
    """Converts the timestamps of successive frames, in seconds, to times that start at 0 and increase.

    A step that is not positive, or of more than LONGEST_STEP, as at a fault of a stream, counts as one frame, and so
    does a missing timestamp.
    """

    def __init__(self, rate: float):
        self._interval = 1 / rate
        self._stamp: float | None = None
        self._seconds: float | None = None

    def time_of(self, stamp: float | None) -> float:
        """Return the time of the next frame in seconds."""
        step = self._interval if stamp is None or self._stamp is None else stamp - self._stamp
        step = step if 0 < step <= LONGEST_STEP else self._interval
        self._seconds = 0.0 if self._seconds is None else self._seconds + step
        self._stamp = self._stamp + step if stamp is None and self._stamp is not None else stamp
        return self._seconds


class Source:
    """The video stream of an opened file or URL; `opening` holds further arguments of av.open."""

    def __init__(self, path: str, **opening):
        self._path, self._opening = path, opening
        self._is_broken = self._is_damaged = False
        self._empty = 0  # packets without data
        self.open()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def open(self) -> None:
        """Open the file, from its start. Raises VideoError if it holds no video that can be decoded."""
        import av

        av.logging.set_level(None)  # damaged files would fill stderr
        try:
            self._container = av.open(self._path, **self._opening)
        except av.FFmpegError:
            raise VideoError("cannot be opened as a video") from None
        streams = self._container.streams
        self._stream = streams.best("video") or next(iter(streams.video), None)
        if self._stream is None or self._stream.codec_context is None:
            self._container.close()
            raise VideoError("has no video stream" if self._stream is None else "is of a codec that is not known")
        for stream in streams:
            if stream is not self._stream:
                stream.discard = av.stream.Discard.all
        self._context = self._stream.codec_context
        self._context.thread_count = 1  # damaged streams then decode the same on every machine
        self._time_base = self._stream.time_base
        self._reformatter = av.video.reformatter.VideoReformatter()

    def packets(self) -> Iterator:
        """Yield the packets of the video stream that hold data, up to the end or an error of the file."""
        import av

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError:
                self._is_broken = True
                return
            if packet.size:  # an empty one would end the decoder; AVI files have them for repeated frames
                yield packet
            else:
                self._empty += packet.dts is not None

    def decoded(self, packet) -> list:
        """Return the frames that the decoder completes by a packet, or by None at the end; none if it is damaged."""
        import av

        try:
            return self._context.decode(packet)
        except av.FFmpegError:
            self._is_damaged = True
            return []

    def frames(self, packets: Iterable) -> Iterator:
        """Yield the frames of all packets, in the order in which they are shown."""
        for packet in packets:
            yield from self.decoded(packet)
        yield from self.decoded(None)

    def picture(self, frame) -> np.ndarray:
        """Return a frame upright, uint8 `(height, width, 3)`, BGR, converted as OpenCV does."""
        from av.video.reformatter import Interpolation

        self._is_damaged |= frame.is_corrupt
        converted = self._reformatter.reformat(frame, format="bgr24", interpolation=Interpolation.BICUBIC, threads=1)
        return turned_upright(converted.to_ndarray(), frame)


def turned_upright(picture: np.ndarray, frame) -> np.ndarray:
    """Turn and mirror a picture as the display matrix of its frame states, to the nearest quarter turn."""
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return picture
    matrix = np.frombuffer(side_data, np.int32)  # row after row of 3 x 3
    across, down_by_x, across_by_y, down = matrix[[0, 1, 3, 4]].astype(np.int64)
    if abs(across) + abs(down) < abs(down_by_x) + abs(across_by_y):
        picture, across, down = picture.swapaxes(0, 1), across_by_y, down_by_x
    return np.ascontiguousarray(picture[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])
