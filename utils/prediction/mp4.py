"""MP4 files that browsers and phones play: H.264 by PyAV, audio copied or converted to AAC."""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from utils.base.files import remove_partial, written_beside

TIME_BASE = Fraction(1, 90000)  # seconds; variable frame rates keep their times
COPIED_AUDIO = ("aac", "mp3")  # codecs that players expect in MP4
QUALITY = {"preset": "veryfast", "crf": "20", "rc-lookahead": "10"}  # few pictures wait in memory
BT709, LIMITED_RANGE = 1, 1  # values of ITU-T H.273 and FFmpeg


class Mp4Writer:
    """Writes pictures with their times to an open container."""

    def __init__(self, container, *, height: int, width: int, rate: float):
        self.container = container
        self.stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001), options=QUALITY)
        self.stream.height, self.stream.width, self.stream.pix_fmt = height, width, "yuv420p"
        self.stream.time_base = TIME_BASE
        context = self.stream.codec_context
        context.time_base = TIME_BASE
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED_RANGE
        self._last = -1

    def write(self, picture: np.ndarray, seconds: float) -> None:
        """Write a picture, uint8 `(height, width, 3)`, RGB. A time not after that of the last one is moved after it."""
        import av

        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        self._last = max(round(seconds / TIME_BASE), self._last + 1)
        frame.pts, frame.time_base = self._last, TIME_BASE
        self.container.mux(self.stream.encode(frame))

    def finish(self) -> None:
        """Write the frames that the encoder holds back."""
        self.container.mux(self.stream.encode(None))


class CopiedAudio:
    """Copies the packets of an audio stream to another container, `offset` seconds earlier."""

    def __init__(self, container, source, offset: float):
        self.container, self.stream = container, container.add_stream_from_template(source)
        self.offset = round(offset / source.time_base)

    def add(self, packet) -> None:
        """Write a packet of the source. Packets before the first picture are left out."""
        if packet.pts is None or packet.dts is None or packet.dts < self.offset:
            return
        packet.pts -= self.offset
        packet.dts -= self.offset
        packet.stream = self.stream
        self.container.mux(packet)

    def finish(self) -> None:
        """Do nothing: no packet is held back."""


class ConvertedAudio:
    """Converts an audio stream to AAC, `offset` seconds earlier."""

    def __init__(self, container, source, offset: float):
        import av

        layout = "mono" if source.codec_context.layout.nb_channels == 1 else "stereo"
        self.container, self.stream = container, container.add_stream("aac", rate=48000, layout=layout)
        self.resampler = av.AudioResampler(format="fltp", layout=layout, rate=48000)
        self.offset = offset

    def add(self, packet) -> None:
        """Convert a packet of the source. A damaged packet is left out."""
        import av

        with contextlib.suppress(av.FFmpegError):
            for frame in packet.decode():
                if frame.pts is None or frame.time < self.offset:
                    continue
                frame.pts -= round(self.offset / frame.time_base)
                for part in self.resampler.resample(frame):
                    self.container.mux(self.stream.encode(part))

    def finish(self) -> None:
        """Write what the resampler and the encoder hold back."""
        for part in self.resampler.resample(None):
            self.container.mux(self.stream.encode(part))
        self.container.mux(self.stream.encode(None))


def audio_writer(container, source, offset: float) -> CopiedAudio | ConvertedAudio | None:
    """Return a writer for an audio stream: copied if MP4 players know its codec; None if it cannot be decoded."""
    context = source.codec_context
    if context is None:
        return None
    kind = CopiedAudio if context.codec.canonical_name in COPIED_AUDIO else ConvertedAudio
    return kind(container, source, offset)


@contextlib.contextmanager
def new_mp4(path: Path) -> Iterator:
    """Create an MP4 file with its index at the start; yields the container. The file is complete or not there.

    What a killed run left of the same file is deleted.
    """
    import av

    remove_partial(path)
    with (
        written_beside(path) as temporary,
        av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container,
    ):
        yield container
