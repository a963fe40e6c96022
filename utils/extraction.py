"""A folder of class folders of videos -> frames.npy, labels.npy and what belongs to them."""

import csv
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from utils.discovery import FoundVideo, find_videos
from utils.errors import UserError
from utils.files import written_beside
from utils.progress import progress
from utils.video import VideoError, read_clip


@dataclass(frozen=True)
class ExtractionSummary:
    """What an extraction came to; seconds are of the wall clock, memory is the largest seen, in MB."""

    output_path: Path
    classes: tuple[str, ...]
    clips: int
    skipped: int
    seconds: float
    peak_memory: float

    def __str__(self) -> str:
        rate = self.clips / self.seconds if self.seconds else 0.0
        return "\n".join(
            (
                f"Videos read: {self.clips} in {len(self.classes)} classes",
                f"Videos skipped: {self.skipped}"
                + (f" (reasons in {self.output_path / 'skipped_videos.csv'})" if self.skipped else ""),
                f"Time: {self.seconds:.1f} s, {rate:.1f} clips/s",
                f"Peak memory: {self.peak_memory:.0f} MB",
            )
        )


def extract(
    input_path: str | os.PathLike,
    output_path: str | os.PathLike,
    *,
    sequence_length: int,
    frame_height: int,
    frame_width: int,
) -> ExtractionSummary:
    """Reads every video below `input_path` and writes the arrays of a data set into `output_path`.

    frames.npy is uint8 (N, sequence_length, frame_height, frame_width, 3), RGB; labels.npy int64 (N,), numbering the
    sorted class folders that have a row; video_file_paths.npy unicode (N,), below `input_path`, in sorted order.
    A video that gives no clip is a line of skipped_videos.csv. Raises UserError if no video could be read.
    """
    input_path, output_path = Path(input_path), Path(output_path)
    videos = find_videos(input_path)
    if not videos:
        raise UserError(f"--input_path: {input_path} must hold class folders of videos, found no video below it")
    output_path.mkdir(parents=True, exist_ok=True)
    start = last = time.monotonic()
    paths, skipped, steps, memories = [], [], {}, []
    with written_beside(output_path / "frames.npy") as temporary, open(temporary, "wb") as file:
        clip_shape = (sequence_length, frame_height, frame_width, 3)
        _write_header(file, 0, clip_shape)
        with progress(len(videos), unit="videos") as advance:
            for video, clip in _read_all(input_path, videos, clip_shape):
                if isinstance(clip, VideoError):
                    skipped.append((video.path, str(clip)))
                else:
                    file.write(clip.data)
                    paths.append(video.path)
                advance()
                memories.append(_memory())
                now = time.monotonic()
                if "/" in video.path:
                    name = video.path.split("/")[0]
                    seconds, memory = steps.get(name, (0.0, 0.0))
                    steps[name] = (seconds + now - last, max(memory, memories[-1]))
                last = now
        _write_table(output_path / "skipped_videos.csv", ("path", "reason"), skipped)
        if not paths:
            path, reason = skipped[0]
            raise UserError(
                f"--input_path: none of the {len(videos)} videos below {input_path} could be read, "
                f"{path}: {reason} (all reasons in {output_path / 'skipped_videos.csv'})"
            )
        _write_header(file, len(paths), clip_shape)
    classes, labels = np.unique([path.split("/")[0] for path in paths], return_inverse=True)
    _write_array(output_path / "labels.npy", labels.astype(np.int64))
    _write_array(output_path / "video_file_paths.npy", np.array(paths))
    steps["Save"] = (time.monotonic() - last, _memory())
    steps["Runtime"] = (time.monotonic() - start, max(memories))
    rows = [(step, f"{seconds:.3f}", f"{memory:.1f}") for step, (seconds, memory) in steps.items()]
    _write_table(output_path / "Format_Time.csv", ("Step", "Time", "Memory"), rows)
    summary = ExtractionSummary(
        output_path=output_path,
        classes=tuple(classes.tolist()),
        clips=len(paths),
        skipped=len(skipped),
        seconds=steps["Runtime"][0],
        peak_memory=max(memories),
    )
    with written_beside(output_path / "Format_Time_Summary.txt") as temporary:
        temporary.write_text(f"{summary}\n", encoding="utf-8")
    return summary


def _read_all(input_path: Path, videos: list[FoundVideo], clip_shape) -> Iterator[tuple[FoundVideo, object]]:
    """Each video with its clip, or with the VideoError that says why there is none, in the order given."""
    sequence_length, frame_height, frame_width, _ = clip_shape
    for video in videos:
        try:
            if video.problem:
                raise VideoError(video.problem)
            yield (
                video,
                read_clip(
                    input_path / video.path,
                    sequence_length=sequence_length,
                    frame_height=frame_height,
                    frame_width=frame_width,
                ),
            )
        except VideoError as error:
            yield video, error


def _write_header(file, rows: int, clip_shape: tuple[int, ...]) -> None:
    """The .npy header; NumPy pads it for a growing first axis, so that its length does not depend on `rows`."""
    file.seek(0)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (rows, *clip_shape)})


def _write_array(path: Path, array: np.ndarray) -> None:
    with written_beside(path) as temporary:
        np.save(temporary, array, allow_pickle=False)


def _write_table(path: Path, header: tuple[str, ...], rows) -> None:
    with (
        written_beside(path) as temporary,
        # a name that is not valid UTF-8 must not end the run
        open(temporary, "w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def _memory() -> float:
    """Resident memory of this process in MB."""
    return psutil.Process().memory_info().rss / 1e6
