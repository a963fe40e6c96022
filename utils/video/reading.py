"""Read videos in worker processes, of this machine or of a cluster, into the rows of an unfinished frames.npy."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from utils.base.cluster import Cluster, run_on_cluster
from utils.base.cluster_worker import Job
from utils.base.isolation import run_isolated
from utils.base.machine import cores
from utils.video.extraction_worker import (
    ReadVideo,
    prepare_reader,
    prepare_writer,
    read_and_write,
    read_found,
    size_of,
)
from utils.video.rows import Rows

PACKAGES = ("numpy", "cv2", "av")  # whose versions must be the same on all machines of a cluster
VIDEOS_PER_CALL = 8  # of a worker of a cluster


def read_here(
    state: Rows,
    paths: Sequence[str],
    *,
    reader: Callable,
    workers: int | None,
    seconds_allowed: float,
    check: Callable[[], None],
) -> Iterator[object]:
    """Yield a ReadVideo for each path, or `Lost`, in order; worker processes write the clips.

    The clips get consecutive rows from `state.rows` on. `workers` None stands for one per core. See `run_isolated`.
    """
    return run_isolated(
        read_and_write,
        ((path, state.offset(row)) for row, path in enumerate(paths, start=state.rows)),
        workers=min(workers or cores(), len(paths)),
        seconds_allowed=seconds_allowed,
        initializer=prepare_writer,
        arguments=(state.frames_path, state.clip_shape, reader),
        check=check,
    )


def read_on_cluster(
    scheduler: str,
    folder: Path,
    state: Rows,
    paths: Sequence[str],
    *,
    reader: Callable,
    workers: int | None,
    seconds_allowed: float,
    check: Callable[[], None],
) -> Iterator[object]:
    """Yield what `read_here` yields, from the workers of a cluster; this process writes the clips.

    All paths are below `folder`. `workers` is for a local cluster. See `run_on_cluster`.
    """
    first, paths = state.rows, [os.path.abspath(path) for path in paths]

    def receive(index: int, result: tuple[ReadVideo, np.ndarray | None]) -> ReadVideo:
        video, clip = result
        if clip is not None:
            state.write(first + index, clip)
        return video

    return run_on_cluster(
        Cluster(scheduler, (read_found.__module__,), PACKAGES, (os.path.abspath(folder),), workers),
        Job(read_found, prepare_reader, (state.clip_shape, reader), seconds_allowed),
        ((path, size_of(path)) for path in paths),
        count=len(paths),
        receive=receive,
        batch=VIDEOS_PER_CALL,
        check=check,
    )
