"""What runs in an extraction's worker processes: one video -> its row in the growing frames.npy."""

import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from utils.extraction.state import write_row
from utils.extraction.video import VideoError, VideoInfo, use_one_thread

DECODER_MEMORY = 2 * 1024**3  # bytes; a damaged header can ask for a frame of any size


def prepare_worker(frames_path: Path, clip_shape: tuple, reader: Callable) -> None:
    """What a worker keeps: the open file, locked as in use, the clips' shape, and the reader."""
    global _frames, _clip_shape, _reader
    use_one_thread()  # what is wrong with OpenCV is still heard
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    # after that, so that the frames never get one of these numbers where a caller has closed its output
    _frames, _clip_shape, _reader = os.open(frames_path, os.O_WRONLY), clip_shape, reader
    fcntl.flock(_frames, fcntl.LOCK_SH)
    _limit_memory()


def read_one(path: str, offset: int) -> tuple[str | None, VideoInfo | None]:
    """In a worker: writes the clip of one video at `offset`, or tells the reason for none."""
    try:
        clip, info = _reader(path, _clip_shape)
    except VideoError as error:
        return str(error), None
    except Exception as error:  # whatever a damaged file provokes, it costs that file alone
        return f"{type(error).__name__}: {' '.join(str(error).split())}", None
    write_row(_frames, clip, offset)
    return None, info


def _limit_memory() -> None:
    """Lets the decoder fail by a bounded amount of memory instead of driving the machine into swap."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        import psutil

        now = getattr(psutil.Process().memory_info(), "data", 0)
        resource.setrlimit(resource.RLIMIT_DATA, (now + DECODER_MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
