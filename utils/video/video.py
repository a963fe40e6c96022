"""Read a fixed number of evenly spaced frames from a video file, in one forward pass.

OpenCV is imported when the first video is read, to keep the scripts' `--help` fast.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from utils.video.containers import VideoError, is_text, restricted_opencv
from utils.video.pyav import opened_with_pyav


class NoFrameError(VideoError):
    """A video that opens, but of which no frame can be decoded."""


def sampled_indices(frame_count: int, sequence_length: int) -> np.ndarray:
    """Return the numbers of evenly spaced frames, starting with the first frame of a video.

    Element k is k * (frame_count // sequence_length): int64 (sequence_length,), ascending, each below `frame_count`.
    Raises ValueError if `frame_count` is less than `sequence_length`.
    """
    if frame_count < sequence_length:
        raise ValueError(f"frame_count must be at least sequence_length {sequence_length}, got {frame_count}")
    return np.arange(sequence_length, dtype=np.int64) * (frame_count // sequence_length)


def repeated_indices(frame_count: int, sequence_length: int) -> np.ndarray:
    """Return the numbers of the frames of a video that is played again from its start: element k is k % frame_count."""
    return np.arange(sequence_length, dtype=np.int64) % frame_count


def held_indices(frame_count: int, sequence_length: int) -> np.ndarray:
    """Return the numbers of the frames of a video that stops at its last one: element k is min(k, frame_count - 1)."""
    return np.minimum(np.arange(sequence_length, dtype=np.int64), frame_count - 1)


def frame_numbers(frame_count: int, sequence_length: int, short_videos: str = "skip") -> np.ndarray:
    """Return the numbers of the frames of a clip, int64 (sequence_length,), ascending or repeated.

    `sampled_indices` applies if there are `sequence_length` frames. Otherwise `short_videos` decides: "repeat" uses
    `repeated_indices`, "hold" uses `held_indices`, "skip" raises VideoError.
    """
    if frame_count >= sequence_length:
        return sampled_indices(frame_count, sequence_length)
    if short_videos == "skip":
        frames = "1 frame" if frame_count == 1 else f"{frame_count} frames"
        raise VideoError(f"has {frames}, fewer than the {sequence_length} wanted")
    return {"repeat": repeated_indices, "hold": held_indices}[short_videos](frame_count, sequence_length)


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video: number of frames used for sampling, frame size in pixels, frames per second."""

    frame_count: int
    height: int
    width: int
    frame_rate: float


def read_clip(
    path: str | os.PathLike, *, sequence_length: int, frame_height: int, frame_width: int, short_videos: str = "skip"
) -> np.ndarray:
    """Return evenly spaced frames of a video, resized without keeping the aspect ratio.

    Returns uint8 (sequence_length, frame_height, frame_width, 3), RGB. Sampling relies on the frame count of the
    header. If that count is less than `sequence_length`, or a sampled frame is missing, the frames are counted instead.
    A video of fewer frames is filled up as `short_videos` says, see `frame_numbers`. If OpenCV decodes no frame, PyAV
    is used.
    Raises VideoError if the file cannot be opened or decoded, or has too few frames.
    """
    return read_clip_and_info(path, (sequence_length, frame_height, frame_width, 3), short_videos)[0]


def read_clip_and_info(
    path: str | os.PathLike, shape: tuple[int, int, int, int], short_videos: str = "skip"
) -> tuple[np.ndarray, VideoInfo]:
    """Return the clip of `shape` (frames, height, width, 3), as `read_clip` does, and the video's properties."""
    cv2 = opencv()
    path = _checked_file(path)
    try:
        try:
            return _read(cv2, partial(_opened, cv2, path), shape, short_videos)
        except NoFrameError:
            return _read(cv2, partial(opened_with_pyav, path), shape, short_videos)
    except cv2.error as error:
        raise VideoError(f"OpenCV cannot decode it: {' '.join(str(error).split())}") from None
    except MemoryError:
        raise VideoError("its frames do not fit into memory") from None


def _read(
    cv2, opened: Callable[[], AbstractContextManager], shape: tuple[int, int, int, int], short_videos: str
) -> tuple[np.ndarray, VideoInfo]:
    """Return the clip and the properties of a video; `opened` opens it from the start.

    Raises NoFrameError if no frame can be decoded.
    """
    sequence_length = shape[0]
    with opened() as capture:
        frame_count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        plausible = sequence_length <= frame_count < 2**31  # False for NaN too
        wanted = sampled_indices(int(frame_count), sequence_length) if plausible else ()
        clip, decoded = _decode(cv2, capture, wanted, shape)
        info = _info(cv2, capture, decoded if clip is None else int(frame_count))
    if clip is not None:
        return clip, info
    if decoded == 0:
        raise NoFrameError("no frame can be decoded")
    wanted, places = np.unique(frame_numbers(decoded, sequence_length, short_videos), return_inverse=True)
    with opened() as capture:
        frames, _ = _decode(cv2, capture, wanted, (len(wanted), *shape[1:]))
    if frames is None:
        raise VideoError("yields fewer frames when decoded again")
    return frames[places], info


def use_one_thread() -> None:
    """Restrict OpenCV to one thread in this process. Use it in workers: there is one worker per core."""
    opencv().setNumThreads(1)


def opencv():
    """Import cv2 without FFmpeg's messages about damaged files: VideoError reports the reason."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # if cv2 was imported before
    return cv2


def _checked_file(path: str | os.PathLike) -> str:
    """Return the absolute path of a regular, readable file that is not text; otherwise raise VideoError.

    FFmpeg could take a relative path such as `http:a.avi` for a URL. Opening a FIFO would block forever.
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
    if is_text(path):
        raise VideoError("is a text file, such as a playlist, not a video")
    text = os.path.abspath(path)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise VideoError("has a name that is not valid UTF-8") from None
    return text


@contextlib.contextmanager
def _opened(cv2, path: str):
    # With one thread per video, damaged streams decode the same on every machine; videos are read in parallel.
    with restricted_opencv():
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
    """Decode up to the last wanted frame; return the clip and the number of frames decoded.

    If a wanted frame is missing or `wanted` is empty, the clip is None and the number is that of all frames.
    """
    clip = np.empty(shape, np.uint8)
    position, filled = 0, 0
    while capture.grab():
        if filled < len(wanted) and position == wanted[filled]:
            retrieved, frame = capture.retrieve()
            if not retrieved:
                raise VideoError(f"frame {position} cannot be decoded")
            clip[filled] = stored_frame(frame, height=shape[1], width=shape[2])
            filled += 1
            if filled == len(wanted):
                return clip, position + 1
        position += 1
    return None, position


def stored_frame(frame: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """Return a decoded frame, BGR, as a clip stores it: uint8 `(height, width, 3)`, RGB."""
    cv2 = opencv()
    return cv2.cvtColor(cv2.resize(frame, (width, height)), cv2.COLOR_BGR2RGB)


@contextlib.contextmanager
def opened_video(path: str | os.PathLike) -> Iterator:
    """Open a video for one pass over its frames; yields a capture with the interface of cv2.VideoCapture.

    Raises VideoError as `read_clip` does. If OpenCV decodes no frame, PyAV is used.
    """
    cv2, path = opencv(), _checked_file(path)
    with _opened(cv2, path) as capture:
        is_decoded = capture.grab()
    with _opened(cv2, path) if is_decoded else opened_with_pyav(path) as capture:
        yield capture
