"""Convert class folders of videos to frames.npy, labels.npy, video_file_paths.npy and tables."""

import contextlib
import hashlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.base.files import require_free_space, write_text
from utils.base.interruption import between_steps
from utils.base.locks import exclusive_lock
from utils.base.machine import memory_of_tree
from utils.base.progress import progress
from utils.base.text import counted
from utils.data.clips import class_of
from utils.data.split_lists import are_in_set_folders
from utils.video.discovery import FoundVideo, find_videos
from utils.video.extraction_state import (
    ExtractionState,
    VideoOutcome,
    discard_unfinished,
    finish_publishing,
    has_unfinished,
    published_summary,
    unfinished_bytes,
)
from utils.video.extraction_tables import (
    ExtractionSummary,
    filled_up,
    lost_classes,
    noted,
    write_notes,
    write_short,
    write_skipped,
    write_times,
)
from utils.video.extraction_worker import ReadVideo
from utils.video.late_videos import LateVideos, outcome_of
from utils.video.reading import read_here, read_on_cluster
from utils.video.video import SHRINKING, VideoInfo, read_clip_and_info

SECONDS_BETWEEN_MEMORY_SAMPLES = 1.0
SHOWN_PROBLEMS = 10


def extract(
    input_path: str | os.PathLike,
    output_path: str | os.PathLike,
    *,
    sequence_length: int,
    frame_height: int,
    frame_width: int,
    workers: int | None = None,
    video_timeout: float = 60.0,
    scheduler: str | None = None,
    overwrite: bool = False,
    follow_links: bool = False,
    short_videos: str = "skip",
    reader: Callable[[str, tuple], tuple[np.ndarray, VideoInfo]] = read_clip_and_info,
) -> ExtractionSummary:
    """Read every video below `input_path` and write the arrays of the data set to `output_path`.

    frames.npy is uint8 (N, sequence_length, frame_height, frame_width, 3), RGB. labels.npy is int64 (N,): indices into
    the sorted names of the class folders that have clips. video_file_paths.npy is a unicode array (N,) of paths
    relative to `input_path`, sorted. skipped_videos.csv lists the videos that yield no clip, crash their process, or
    take longer than `video_timeout` seconds of processor time or ten times as long by the clock. Links out of
    `input_path` are read only if `follow_links` is true.
    `short_videos` is for videos of fewer than `sequence_length` frames, see `video.frame_numbers`.

    The same call resumes an interrupted run, and tries videos of a complete data set again that ran out of time. Apart
    from that, a complete data set is left unchanged unless `overwrite` is true.
    `workers` is the number of processes, by default one per core. With `scheduler`, the address of a Dask scheduler or
    "local", the videos are read on its workers; this process writes the arrays. `reader` is replaced in tests.
    Raises UserError if no video can be read, if the disk is full, if `output_path` is in use by another run, if it
    holds an extraction with other settings and `overwrite` is false, or if the cluster fails (see `run_on_cluster`).
    """
    input_path, output_path = Path(input_path), Path(output_path)
    clip_shape = (sequence_length, frame_height, frame_width, 3)
    videos = find_videos(input_path, follow_links=follow_links)
    if not videos:
        raise UserError(f"--input_path: {input_path} must hold class folders of videos, found no video below it")
    settings = {
        "--sequence_length": sequence_length,
        "--frame_height": frame_height,
        "--frame_width": frame_width,
        "--follow_links": follow_links,
        "--short_videos": short_videos,
        "shrinking": SHRINKING,
        "videos": len(videos),
        "digest": _digest(input_path, videos),
    }
    for problem in [f"{video.path} {video.problem}" for video in videos if video.problem][:SHOWN_PROBLEMS]:
        print(f"note: {problem}", file=sys.stderr)
    if are_in_set_folders([video.path for video in videos if not video.problem]):
        print(
            "note: the classes are the folders below the sets; --split folders, the default, keeps the sets",
            file=sys.stderr,
        )
    with (
        _as_user_error(output_path),
        exclusive_lock(output_path / ".extraction.lock", what=f"--output_path: {output_path}"),
    ):
        finish_publishing(output_path)
        if overwrite:
            discard_unfinished(output_path)
        if short_videos != "skip":
            reader = partial(reader, short_videos=short_videos)
        read = partial(read_on_cluster, scheduler, input_path) if scheduler else read_here
        read = partial(read, reader=reader, seconds_allowed=video_timeout)
        late = None
        is_new = overwrite or has_unfinished(output_path)
        if not is_new and (summary := published_summary(output_path, settings)) is not None:
            files = {video.path: str(input_path / video.below) for video in videos}
            late = LateVideos.of(files, output_path, clip_shape, partial(read, workers=1))
            if late is None:
                print(f"{output_path} is complete already; use --overwrite to extract it again", file=sys.stderr)
                names = {name: tuple(summary[name]) for name in ("classes", "lost")}
                return ExtractionSummary(**summary | names | {"output_path": output_path})
        clips = sum(video.problem is None for video in videos)
        needed = clips * math.prod(clip_shape) - unfinished_bytes(output_path)
        require_free_space(output_path, needed, what=f"--output_path: {output_path} for {clips} clips")
        with contextlib.closing(ExtractionState(output_path, settings, clip_shape)) as state, _progress_kept(state):
            state.require_order([video.path for video in videos])
            continued = len(state.outcomes)
            if late is not None:
                late.merge(state)
            _read_all(input_path, videos, state, partial(read, state, workers=workers))
            _require_rows(input_path, output_path, state.outcomes)
            return _save(output_path, state, continued, short_videos)


@contextlib.contextmanager
def _progress_kept(state: ExtractionState) -> Iterator[None]:
    """Print to stderr what is kept if the run is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"{counted(len(state.outcomes), 'video')} kept; rerun the same command to resume", file=sys.stderr)
        raise


def _read_all(
    input_path: Path, videos: list[FoundVideo], state: ExtractionState, read: Callable[..., Iterator[object]]
) -> None:
    """Read the videos that have no outcome yet with `read`, and add their outcomes to `state` in order.

    A clip is written to the row that it will have if every video before it yields a clip. `state` moves it if one does
    not.
    """
    remaining = videos[len(state.outcomes) :]
    wanted = [str(input_path / video.below) for video in remaining if video.problem is None]
    last = sampled = time.monotonic()
    memory, row = memory_of_tree(), state.rows
    with (
        between_steps() as check,
        contextlib.closing(read(wanted, check=check)) as results,
        progress(len(videos), done=len(state.outcomes), unit="videos") as advance,
    ):
        for video in remaining:
            result = ReadVideo(video.problem) if video.problem else next(results)
            now = time.monotonic()
            if now - sampled >= SECONDS_BETWEEN_MEMORY_SAMPLES or video is remaining[-1]:
                sampled, memory = now, memory_of_tree()
            state.add(outcome_of(video.path, result, now - last, memory), row)
            row += video.problem is None
            last = now
            advance()


def _require_rows(input_path: Path, output_path: Path, outcomes: list[VideoOutcome]) -> None:
    if any(outcome.reason is None for outcome in outcomes):
        return
    write_skipped(output_path, outcomes)
    discard_unfinished(output_path)
    raise UserError(
        f"--input_path: none of the {len(outcomes)} videos below {input_path} could be read, "
        f"e.g. {outcomes[0].path}: {outcomes[0].reason} (all reasons in {output_path / 'skipped_videos.csv'})"
    )


def _save(output_path: Path, state: ExtractionState, continued: int, short_videos: str) -> ExtractionSummary:
    """Write the files that accompany frames.npy, and complete the data set."""
    start = time.monotonic()
    paths = np.array([outcome.path for outcome in state.outcomes if outcome.reason is None])
    classes, labels = np.unique([class_of(path) for path in paths], return_inverse=True)
    reading = sum(outcome.seconds for outcome in state.outcomes)
    peak = max(outcome.memory for outcome in state.outcomes)
    damaged = noted(state.outcomes)
    short = filled_up(state.outcomes, state.clip_shape[0])
    os.fsync(state.frames.fileno())  # included in the time for saving
    seconds = time.monotonic() - start
    summary = ExtractionSummary(
        output_path=output_path,
        classes=tuple(classes.tolist()),
        clips=len(paths),
        skipped=len(state.outcomes) - len(paths),
        seconds=reading + seconds,
        peak_memory=peak,
        continued=continued,
        short=len(short),
        noted=len(damaged),
        lost=lost_classes(state.outcomes),
    )

    def write_rest(folder: Path) -> None:
        np.save(folder / "labels.npy", labels.astype(np.int64), allow_pickle=False)
        np.save(folder / "video_file_paths.npy", paths, allow_pickle=False)
        write_skipped(folder, state.outcomes)
        write_notes(folder, damaged)
        if short_videos != "skip":
            write_short(folder, short, short_videos)
        write_times(folder, state.outcomes, seconds)
        write_text(folder / "Format_Time_Summary.txt", f"{summary}\n")

    state.publish({"summary": {**asdict(summary), "output_path": str(output_path)}}, write_rest)
    return summary


def _digest(input_path: Path, videos: list[FoundVideo]) -> str:
    """Return a digest of the videos' names, sizes and dates, which identifies the videos of a run."""
    digest = hashlib.sha256()
    for video in videos:
        size = date = None
        with contextlib.suppress(OSError):
            status = (input_path / video.below).stat()
            size, date = status.st_size, status.st_mtime_ns
        digest.update(repr((video, size, date)).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _as_user_error(output_path: Path) -> Iterator[None]:
    """Turn an OSError, such as a full disk or a read-only folder, into a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"--output_path: {error.filename or output_path} cannot be written: {error.strerror or error}; "
            "once this is fixed, rerun the same command to resume"
        ) from None
