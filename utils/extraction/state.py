"""What an extraction has on disk, so that it can be killed at any moment and be continued.

Everything is made in a hidden folder inside the output folder: frames.npy, which grows, and a log with a line a video,
written after the video's row. One rename of that folder, once all is in it and on the disk, is the moment at which the
data set is complete; what is left then is to move its files out, which any later run can finish.
"""

import fcntl
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from utils.runtime.errors import UserError
from utils.runtime.files import read_json, write_json

WORK = ".extraction"
COMPLETE = ".extraction.complete"
RECORD = "extraction.json"
LOG = "extraction_log.jsonl"
FRAMES = "frames.npy"
ARRAYS = (FRAMES, "labels.npy", "video_file_paths.npy")
SECONDS_FOR_ORPHANS = 60


@dataclass(frozen=True)
class VideoOutcome:
    """What became of one video: a row, or the reason for none; its properties are 0 where they are not known.

    `seconds` of the wall clock passed since the outcome before it; `memory` is of the process tree, in MB.
    """

    path: str
    reason: str | None
    seconds: float
    memory: float
    frame_count: int = 0
    height: int = 0
    width: int = 0
    frame_rate: float = 0.0


def header_bytes(rows: int, clip_shape: tuple[int, ...]) -> bytes:
    """The .npy header; NumPy pads it for a growing first axis, so that its length does not depend on `rows`."""

    class Sink(list):
        write = list.append

    sink = Sink()
    content = {"descr": "|u1", "fortran_order": False, "shape": (rows, *clip_shape)}
    np.lib.format.write_array_header_1_0(sink, content)
    return b"".join(sink)


def finish_publishing(output_path: Path) -> None:
    """Moves a complete data set's files to their places; continues where a killed run stopped.

    The old arrays go first: a reader may find some missing for a moment, but never new frames beside old labels.
    """
    source = output_path / COMPLETE
    if not source.is_dir():
        return
    if (source / FRAMES).exists():
        for name in (RECORD, *ARRAYS):
            (output_path / name).unlink(missing_ok=True)
    for path in sorted(source.iterdir(), key=lambda path: (path.name == RECORD, path.name)):  # the record goes last
        os.replace(path, output_path / path.name)
    source.rmdir()


def published_record(output_path: Path, settings: dict) -> dict | None:
    """The record of the complete data set in `output_path`, if it is of these settings; None if there is none.

    Raises UserError if there is one of other settings, or arrays that no record tells of.
    """
    there = [name for name in ARRAYS if (output_path / name).exists()]
    if (output_path / RECORD).exists() and len(there) == len(ARRAYS):
        record = read_json(output_path / RECORD)
        _refuse_other_settings(output_path, record["settings"], settings)
        return record
    if there:
        raise UserError(
            f"--output_path: {output_path} must hold no arrays, or those of an earlier run; "
            f"found {', '.join(there)} of unknown origin; --overwrite replaces them"
        )
    return None


def has_unfinished(output_path: Path) -> bool:
    """Whether a run was interrupted here."""
    return (output_path / WORK / RECORD).exists()


def unfinished_bytes(output_path: Path) -> int:
    """What the frames of an interrupted run take on the disk already."""
    frames = output_path / WORK / FRAMES
    return frames.stat().st_blocks * 512 if frames.exists() else 0  # not its size: it may have holes


def discard_unfinished(output_path: Path) -> None:
    """Removes what an unfinished run left."""
    shutil.rmtree(output_path / WORK, ignore_errors=True)


class ExtractionState:
    """The rows and outcomes so far; opening it continues an unfinished run of the same settings, if there is one.

    Raises UserError if the unfinished run has other settings.
    """

    def __init__(self, output_path: Path, settings: dict, clip_shape: tuple[int, ...]):
        self.output_path, self.settings, self.clip_shape = output_path, settings, clip_shape
        self.folder = output_path / WORK
        self.header_size = len(header_bytes(0, clip_shape))
        self.row_size = int(np.prod(clip_shape))
        self.outcomes: list[VideoOutcome] = []
        self.rows = 0
        if has_unfinished(output_path):
            _refuse_other_settings(output_path, read_json(self.folder / RECORD)["settings"], settings)
        else:
            discard_unfinished(output_path)  # it was killed before it wrote its settings
            self.folder.mkdir(parents=True)
            write_json(self.folder / RECORD, {"settings": settings})
        (self.folder / FRAMES).touch()
        self.frames = open(self.folder / FRAMES, "rb+", buffering=0)  # noqa: SIM115, both are closed by close()
        self.log = open(self.folder / LOG, "ab+", buffering=0)  # noqa: SIM115
        self._await_orphans()
        self._read_log()

    @property
    def frames_path(self) -> Path:
        """The growing file, into which workers write."""
        return self.folder / FRAMES

    def offset(self, row: int) -> int:
        """Where a row starts in the growing file, in bytes."""
        return self.header_size + row * self.row_size

    def add(self, outcome: VideoOutcome, row: int | None) -> None:
        """Notes the next outcome; its clip, if it has one, was written as row `row`, at or after its final place."""
        if outcome.reason is None:
            if row != self.rows:  # a video between them gave no clip
                _write_at(
                    self.frames, os.pread(self.frames.fileno(), self.row_size, self.offset(row)), self.offset(self.rows)
                )
            self.rows += 1
        self.log.write(json.dumps(asdict(outcome)).encode() + b"\n")
        self.outcomes.append(outcome)

    def publish(self, record: dict, write_rest) -> None:
        """Completes the data set: `write_rest(folder)` writes the small files, then all take their places."""
        _write_at(self.frames, header_bytes(self.rows, self.clip_shape), 0)
        self.frames.truncate(self.offset(self.rows))
        write_rest(self.folder)
        write_json(self.folder / RECORD, {"settings": self.settings, **record})
        self.close()
        for path in [*self.folder.iterdir(), self.folder]:
            _sync(path)
        os.rename(self.folder, self.output_path / COMPLETE)
        finish_publishing(self.output_path)
        _sync(self.output_path)

    def close(self) -> None:
        self.frames.close()
        self.log.close()

    def _await_orphans(self) -> None:
        """Workers hold a shared lock on the frames; those of a killed run may need a moment to notice and go."""
        give_up = time.monotonic() + SECONDS_FOR_ORPHANS
        while True:
            try:
                fcntl.flock(self.frames, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise UserError(f"--output_path: {self.frames_path} is held by a process of a killed run") from None
                time.sleep(0.02)
        fcntl.flock(self.frames, fcntl.LOCK_UN)

    def _read_log(self) -> None:
        """Takes over the outcomes whose lines and rows are whole, and cuts off what follows them."""
        self.log.seek(0)
        whole_rows = (os.fstat(self.frames.fileno()).st_size - self.header_size) // self.row_size
        kept = 0
        for line in self.log.readlines():
            try:
                outcome = VideoOutcome(**json.loads(line))
            except (ValueError, TypeError):
                break
            if not line.endswith(b"\n") or (outcome.reason is None and self.rows == whole_rows):
                break
            self.rows += outcome.reason is None
            self.outcomes.append(outcome)
            kept += len(line)
        self.log.truncate(kept)
        self.frames.truncate(self.offset(self.rows))
        _write_at(self.frames, header_bytes(0, self.clip_shape), 0)


def write_row(file_number: int, clip: np.ndarray, offset: int) -> None:
    """Writes a clip's bytes at an offset of the growing file. Raises OSError, for example if the disk is full."""
    content = memoryview(clip).cast("B")
    while content:
        written = os.pwrite(file_number, content, offset)
        content, offset = content[written:], offset + written


def _write_at(file, content: bytes, offset: int) -> None:
    write_row(file.fileno(), np.frombuffer(content, np.uint8), offset)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _refuse_other_settings(output_path: Path, found: dict, asked: dict) -> None:
    differences = [
        f"{name} {found.get(name)}, asked for {asked[name]}"
        for name in asked
        if name.startswith("--") and found.get(name) != asked[name]
    ]
    if found.get("videos") != asked["videos"]:
        differences.append(f"{found.get('videos')} videos, --input_path holds {asked['videos']}")
    elif found.get("digest") != asked["digest"]:
        differences.append("videos whose names, sizes or dates are not those below --input_path")
    if differences:
        raise UserError(
            f"--output_path: {output_path} holds an extraction with {'; '.join(differences)}; "
            "name another folder, or start anew with --overwrite"
        )
