"""One video file -> a fixed number of its frames, in one forward pass.

OpenCV is imported when the first video is read, so that a script's `--help` does not wait for it.
"""

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np


class VideoError(Exception):
    """A video that gives no clip; the message is the reason, one line for a person."""


def sampled_indices(frame_count: int, sequence_length: int) -> np.ndarray:
    """Frame numbers that represent a whole video, evenly spaced from its first frame.

    Frame k is number k * (frame_count // sequence_length). Returns int64 (sequence_length,), ascending, each below
    `frame_count`. Raises ValueError if the video has fewer frames than `sequence_length`.
    """
    if frame_count < sequence_length:
        raise ValueError(f"frame_count must be at least sequence_length {sequence_length}, got {frame_count}")
    return np.arange(sequence_length, dtype=np.int64) * (frame_count // sequence_length)


@dataclass(frozen=True)
class VideoInfo:
    """What a video is: its frames (as believed for sampling), their size in pixels, and how many a second."""

    frame_count: int
    height: int
    width: int
    frame_rate: float


def read_clip(path: str | os.PathLike, *, sequence_length: int, frame_height: int, frame_width: int) -> np.ndarray:
    """The evenly spaced frames of one video, resized as they are (the aspect is squashed).

    Returns uint8 (sequence_length, frame_height, frame_width, 3), RGB. The header's frame count is believed unless a
    wanted frame turns out to be missing, or it states fewer frames than wanted: then the frames are counted.
    Raises VideoError with the reason if the file cannot be opened, decodes to nothing or has too few frames.
    """
    shape = (sequence_length, frame_height, frame_width, 3)
    return read_clip_and_info(path, shape)[0]


def read_clip_and_info(path: str | os.PathLike, shape: tuple[int, int, int, int]) -> tuple[np.ndarray, VideoInfo]:
    """`read_clip` for a clip of `shape` (frames, height, width, 3), and what the video is."""
    cv2 = _opencv()
    path = _checked_file(path)
    sequence_length = shape[0]
    try:
        with _opened(cv2, path) as capture:
            stated = capture.get(cv2.CAP_PROP_FRAME_COUNT)
            trusted = sequence_length <= stated < 2**31  # False for NaN too
            frame_count = int(stated) if trusted else 0
            wanted = sampled_indices(frame_count, sequence_length) if trusted else ()
            clip, seen = _decode(cv2, capture, wanted, shape)
            info = _info(cv2, capture, frame_count if clip is not None else seen)
        if clip is None:
            _require_frames(seen, sequence_length)
            with _opened(cv2, path) as capture:
                clip, _ = _decode(cv2, capture, sampled_indices(seen, sequence_length), shape)
    except cv2.error as error:
        raise VideoError(f"OpenCV cannot decode it: {' '.join(str(error).split())}") from None
    except MemoryError:
        raise VideoError("its frames do not fit into memory") from None
    if clip is None:
        raise VideoError("decodes to fewer frames the second time")
    return clip, info


def use_one_thread() -> None:
    """Keeps OpenCV from starting a thread a core in this process; for workers, of which there is one a core."""
    _opencv().setNumThreads(1)


def _opencv():
    """The cv2 module, silent: what FFmpeg says about a damaged file is told by our own reason instead."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    import cv2

    return cv2


def _checked_file(path: str | os.PathLike) -> str:
    """The absolute path, which no protocol prefix of FFmpeg can match; refuses what is not a plain file.

    Opening a FIFO would wait forever.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        raise VideoError(f"cannot be reached: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise VideoError("is not a regular file")
    if status.st_size == 0:
        raise VideoError("is empty")
    if not os.access(path, os.R_OK):
        raise VideoError("cannot be read: permission denied")
    text = os.path.abspath(path)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise VideoError("has a name that is not valid UTF-8") from None
    return text


@contextlib.contextmanager
def _opened(cv2, path: str):
    # One thread a video: the parallelism is over videos, and damaged streams then decode alike on any machine.
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    try:
        if not capture.isOpened():
            raise VideoError("cannot be opened as a video")
        yield capture
    finally:
        capture.release()


def _info(cv2, capture, frame_count: int) -> VideoInfo:
    height, width = capture.get(cv2.CAP_PROP_FRAME_HEIGHT), capture.get(cv2.CAP_PROP_FRAME_WIDTH)
    rate = capture.get(cv2.CAP_PROP_FPS)
    return VideoInfo(frame_count, int(height), int(width), float(rate) if np.isfinite(rate) else 0.0)


def _decode(cv2, capture, wanted, shape: tuple[int, int, int, int]) -> tuple[np.ndarray | None, int]:
    """One pass that ends with the last wanted frame: the clip, and the frames seen.

    The clip is None if a wanted frame is missing or none is wanted; the frames seen are then the video's.
    """
    clip = np.empty(shape, np.uint8)
    size = (shape[2], shape[1])  # OpenCV's order: width, height
    position, filled = 0, 0
    while capture.grab():
        if filled < len(wanted) and position == wanted[filled]:
            retrieved, frame = capture.retrieve()
            if not retrieved:
                raise VideoError(f"frame {position} cannot be decoded")
            cv2.cvtColor(cv2.resize(frame, size), cv2.COLOR_BGR2RGB, dst=clip[filled])
            filled += 1
            if filled == len(wanted):
                return clip, position + 1
        position += 1
    return None, position


def _require_frames(frame_count: int, sequence_length: int) -> None:
    if frame_count == 0:
        raise VideoError("no frame can be decoded")
    if frame_count < sequence_length:
        frames = "1 frame" if frame_count == 1 else f"{frame_count} frames"
        raise VideoError(f"has {frames}, fewer than the {sequence_length} wanted")
