"""The worker processes of an extraction: read a video and write its clip to frames.npy."""

import contextlib
import fcntl
import os
import resource
from collections.abc import Callable
from pathlib import Path

import psutil

from utils.extraction.video import VideoError, VideoInfo, use_one_thread
from utils.runtime.files import write_at

DECODER_MEMORY = 2 * 1024**3  # bytes; a damaged header can state any frame size


def prepare_worker(frames_path: Path, clip_shape: tuple, reader: Callable) -> None:
    """Initialise a worker: open frames.npy and hold a shared lock on it, silence output, limit memory."""
    global _frames, _clip_shape, _reader
    use_one_thread()  # imports OpenCV while its errors can still be printed
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    # Open the frames last: if the caller has closed stdout or stderr, the file would take its descriptor.
    _frames, _clip_shape, _reader = os.open(frames_path, os.O_WRONLY), clip_shape, reader
    fcntl.flock(_frames, fcntl.LOCK_SH)
    _limit_memory()


def read_one(path: str, offset: int) -> tuple[str | None, VideoInfo | None]:
    """Read a video and write its clip at `offset`. Return (None, properties), or (reason, None) if it is skipped."""
    try:
        clip, info = _reader(path, _clip_shape)
    except VideoError as error:
        return str(error), None
    except Exception as error:  # a damaged file may raise anything; skip only that file
        return f"{type(error).__name__}: {' '.join(str(error).split())}", None
    write_at(_frames, clip, offset)
    return None, info


def _limit_memory() -> None:
    """Limit this process to DECODER_MEMORY more than it uses now, so that the decoder fails instead of swapping."""
    used = getattr(psutil.Process().memory_info(), "data", 0)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (used + DECODER_MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
