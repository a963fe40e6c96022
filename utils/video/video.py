"""Read a fixed number of evenly spaced frames from a video.

OpenCV is imported when the first video is read, to keep the scripts' `--help` fast.
"""

import os
from dataclasses import dataclass

import numpy as np

from utils.video.containers import VideoError
from utils.video.exact import opened_video

SHRINKING = "area"  # how stage 1 shrinks frames, see `stored_frame`


def sampled_indices(frame_count: int, sequence_length: int) -> np.ndarray:
    """Return the numbers of evenly spaced frames, starting with the first frame of a video.

    Element k is k * (frame_count // sequence_length): int64 (sequence_length,), ascending, each below `frame_count`.
    Raises ValueError if `frame_count` is less than `sequence_length`.
    """
    if frame_count < sequence_length:
        raise ValueError(f"frame_count must be at least sequence_length {sequence_length}, got {frame_count}")
    return np.arange(sequence_length, dtype=np.int64) * (frame_count // sequence_length)


def frame_numbers(frame_count: int, sequence_length: int, short_videos: str = "skip") -> np.ndarray:
    """Return the numbers of the frames of a clip, int64 (sequence_length,), ascending or repeated.

    `sampled_indices` applies if there are `sequence_length` frames. Otherwise `short_videos` decides: "repeat" plays
    the video again from its start, "hold" stops at its last frame, "skip" raises VideoError.
    """
    if frame_count >= sequence_length:
        return sampled_indices(frame_count, sequence_length)
    if short_videos == "skip":
        raise VideoError(f"has {frame_count} frame{'s' * (frame_count != 1)}, fewer than the {sequence_length} wanted")
    numbers = np.arange(sequence_length, dtype=np.int64)
    return numbers % frame_count if short_videos == "repeat" else np.minimum(numbers, frame_count - 1)


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video: number of frames, frame size in pixels, mean frames per second (0 if unknown).

    note: what is wrong with the file although it was read, or None.
    """

    frame_count: int
    height: int
    width: int
    frame_rate: float
    note: str | None = None


def read_clip(
    path: str | os.PathLike, *, sequence_length: int, frame_height: int, frame_width: int, short_videos: str = "skip"
) -> np.ndarray:
    """Return evenly spaced frames of a video, resized without keeping the aspect ratio.

    Returns uint8 (sequence_length, frame_height, frame_width, 3), RGB. A video of fewer frames is filled up as
    `short_videos` says, see `frame_numbers`.
    Raises VideoError if the file cannot be opened or decoded, or has too few frames.
    """
    return read_clip_and_info(path, (sequence_length, frame_height, frame_width, 3), short_videos)[0]


def read_clip_and_info(
    path: str | os.PathLike,
    shape: tuple[int, int, int, int],
    short_videos: str = "skip",
    shrinking: str = SHRINKING,
) -> tuple[np.ndarray, VideoInfo]:
    """Return the clip of `shape` (frames, height, width, 3), as `read_clip` does, and the video's properties."""
    size = (0, 0)

    def render(frame: np.ndarray) -> np.ndarray:
        nonlocal size
        size = frame.shape[:2]
        return stored_frame(frame, height=shape[1], width=shape[2], shrinking=shrinking)

    try:
        with opened_video(path) as video:
            frames = video.select(lambda count: frame_numbers(count, shape[0], short_videos).tolist(), render)
            return np.stack(frames), VideoInfo(video.count, *size, video.rate, video.note)
    except MemoryError:
        raise VideoError("its frames do not fit into memory") from None


def use_one_thread() -> None:
    """Restrict OpenCV to one thread in this process. Use it in workers: there is one worker per core."""
    opencv().setNumThreads(1)


def opencv():
    """Import cv2 without its messages: errors report the reason."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # if cv2 was imported before
    return cv2


def stored_frame(frame: np.ndarray, *, height: int, width: int, shrinking: str = SHRINKING) -> np.ndarray:
    """Return a decoded frame, BGR, as a clip stores it: uint8 `(height, width, 3)`, RGB.

    A frame more than twice as high or wide is shrunk by averaging areas, because bilinear interpolation would skip
    pixels. `shrinking` "bilinear" interpolates always, as models need whose training clips were stored so.
    """
    cv2 = opencv()
    rows, columns = frame.shape[:2]
    if shrinking == "area" and (rows > 2 * height or columns > 2 * width):
        frame = cv2.resize(frame, (min(columns, width), min(rows, height)), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(cv2.resize(frame, (width, height)), cv2.COLOR_BGR2RGB)
