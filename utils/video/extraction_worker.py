"""The worker processes of an extraction: read a video and write its clip to frames.npy."""

import contextlib
import fcntl
import os
import resource
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from utils.base.content_hash import row_digest
from utils.base.errors import UserError
from utils.base.files import write_at
from utils.base.isolation import silence
from utils.video.video import VideoError, VideoInfo, use_one_thread

DECODER_MEMORY = 2 * 1024**3  # bytes; a damaged header can state any frame size


@dataclass(frozen=True)
class ReadVideo:
    """A video that a worker has read: properties and the digest of its clip, or the reason why it has none."""

    reason: str | None
    info: VideoInfo | None = None
    digest: str = ""


def prepare_reader(clip_shape: tuple, reader: Callable) -> None:
    """Initialise a worker: silence output, limit memory."""
    global _clip_shape, _reader
    use_one_thread()  # imports OpenCV while its errors can still be printed
    silence()
    _clip_shape, _reader = clip_shape, reader
    _limit_memory()


def prepare_writer(frames_path: Path, clip_shape: tuple, reader: Callable) -> None:
    """Initialise a worker that opens frames.npy as well, and holds a shared lock on it."""
    global _frames
    prepare_reader(clip_shape, reader)
    # Open the frames last: if the caller has closed stdout or stderr, the file would take its descriptor.
    _frames = os.open(frames_path, os.O_WRONLY)
    fcntl.flock(_frames, fcntl.LOCK_SH)


def read(path: str) -> tuple[ReadVideo, np.ndarray | None]:
    """Read a video; return its clip as well, if it has one."""
    try:
        clip, info = _reader(path, _clip_shape)
    except VideoError as error:
        return ReadVideo(str(error)), None
    except Exception as error:  # a damaged file may raise anything; skip only that file
        return ReadVideo(f"{type(error).__name__}: {' '.join(str(error).split())}"), None
    return ReadVideo(None, info, row_digest(clip)), clip


def read_and_write(path: str, offset: int) -> ReadVideo:
    """Read a video and write its clip at `offset`."""
    video, clip = read(path)
    if clip is not None:
        write_at(_frames, clip, offset)
    return video


def read_found(path: str, size: int | None) -> tuple[ReadVideo, np.ndarray | None]:
    """Return `read`, on another machine. Raises UserError if the file has not the `size` that it has on the first.

    Otherwise a file that is missing on one machine would count as unreadable.
    """
    found = size_of(path)
    if found != size:
        raise UserError(
            f"--scheduler: {socket.gethostname()} must find the same file in {path} as the machine of this command, "
            f"which has {size} bytes, found {'none' if found is None else f'{found} bytes'}"
        )
    return read(path)


def size_of(path: str) -> int | None:
    """Return the size of a file in bytes, or the number of entries of a folder; None if it cannot be found."""
    try:
        return len(os.listdir(path)) if os.path.isdir(path) else os.stat(path).st_size
    except OSError:
        return None


def _limit_memory() -> None:
    """Limit this process to DECODER_MEMORY more than it uses now, so that the decoder fails instead of swapping."""
    used = getattr(psutil.Process().memory_info(), "data", 0)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (used + DECODER_MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
