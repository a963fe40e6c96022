"""The annotated copy of a video: upright pictures with class, confidence and timeline below them, and the audio."""

import contextlib
import os
import sys
from pathlib import Path

import numpy as np

from utils.base.interruption import between_steps
from utils.base.progress import progress
from utils.prediction.answers import Timeline
from utils.prediction.mp4 import Mp4Writer, audio_writer, new_mp4
from utils.prediction.overlay import Moment, annotated, band_of, output_size
from utils.video.containers import OPENING, VideoError
from utils.video.decoding import Clock, turned_upright

ASPECTS = (0.25, 4.0)  # of pixels; others in headers are faults


def annotate(path: str | os.PathLike, timeline: Timeline, output: Path) -> None:
    """Write `output`, an MP4 of the video at `path` with its timeline; progress is written to stderr.

    The video is decoded a second time, because the strip shows the whole timeline from the first picture on. Pictures
    keep their size, except that pixels become square, sides even, the width at least 320 pixels, and no side longer
    than 3,840 pixels.
    Raises VideoError if PyAV cannot decode the video.
    """
    import av

    av.logging.set_level(None)  # damaged files would fill stderr
    path = os.path.abspath(path)
    try:
        size, rate = _size_and_rate(path)
        with av.open(path, **OPENING) as source, new_mp4(output) as container:
            band = band_of(size[1], timeline.segments, 0.0, timeline.duration)
            writer = Mp4Writer(container, height=size[0] + band.height, width=size[1], rate=rate)
            video = source.streams.video[0]
            video.thread_type = "AUTO"
            offset = float((video.start_time or 0) * video.time_base)
            sound = _sound(source, container, offset)
            clock = Clock(rate)
            streams = [video] if sound is None else [video, source.streams.audio[0]]
            with between_steps() as check, progress(video.frames or None, unit="frames") as advance:
                for packet in source.demux(*streams):
                    if packet.stream.type == "audio":
                        sound.add(packet)
                        continue
                    for frame in _frames(packet):
                        seconds = clock.time_of(frame.time)
                        picture = turned_upright(frame.to_ndarray(format="rgb24"), frame)
                        writer.write(annotated(picture, size, band, moment_of(timeline, seconds)), seconds)
                        advance()
                    check()
            writer.finish()
            if sound is not None:
                sound.finish()
    except av.FFmpegError as error:
        raise VideoError(f"PyAV cannot convert it: {error.strerror}") from None


def moment_of(timeline: Timeline, seconds: float) -> Moment:
    """Return what the band shows at a time of a timeline."""
    return Moment(timeline.segment_at(seconds).label, timeline.confidence_at(seconds), seconds)


def _size_and_rate(path: str) -> tuple[tuple[int, int], float]:
    """Return the (height, width) at which a video is shown, and its frames per second."""
    import av

    with av.open(path, **OPENING) as source:
        if not source.streams.video:
            raise VideoError("has no video stream")
        video = source.streams.video[0]
        for packet in source.demux(video):
            for frame in _frames(packet):
                rate = video.average_rate or video.guessed_rate or 25
                return size_of(frame, float(video.sample_aspect_ratio or 1)), float(rate)
    raise VideoError("no frame can be decoded")


def size_of(frame, aspect: float) -> tuple[int, int]:
    """Return the (height, width) at which a frame is shown whose pixels are `aspect` times as wide as high."""
    if not ASPECTS[0] <= aspect <= ASPECTS[1]:
        print(f"note: pixels {aspect:g} times as wide as high are taken for square ones", file=sys.stderr)
        aspect = 1.0
    is_turned = turned_upright(np.empty((2, 1)), frame).shape == (1, 2)
    return output_size(*((frame.width * aspect, frame.height) if is_turned else (frame.height, frame.width * aspect)))


def _sound(source, container, offset: float):
    """Return the writer of the first audio stream; None, and a note on stderr, if the audio cannot be kept."""
    if not source.streams.audio:
        return None
    sound = audio_writer(container, source.streams.audio[0], offset)
    if sound is None:
        print("note: the audio cannot be decoded and is left out", file=sys.stderr)
    return sound


def _frames(packet) -> list:
    """Return the frames of a packet; none if it is damaged or empty."""
    import av

    with contextlib.suppress(av.FFmpegError):
        return packet.decode() if packet.size or packet.dts is None else []
    return []
