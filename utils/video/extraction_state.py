"""The files of an extraction, which can be killed at any moment and resumed.

All files are written to a hidden folder inside the output folder. frames.npy grows row by row. A log gets one line per
video, with the hash of its row, after the row. When all files are complete and flushed to disk, the folder is
renamed; this completes the data set. Its files are then moved to the output folder. If that is interrupted, the next
run finishes it.
"""

import fcntl
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pydantic

from utils.base.content_hash import digest_of_rows, remember, row_digest
from utils.base.errors import UserError
from utils.base.files import write_at, write_json
from utils.base.schemas import Count, NonNegative, Schema, checked, read_checked, schema_of
from utils.video.rows import Rows, header_bytes

WORK = ".extraction"
COMPLETE = ".extraction.complete"
RECORD = "extraction.json"
LOG = "extraction_log.jsonl"
FRAMES = "frames.npy"
SHORT = "short_videos.csv"
NOTES = "video_notes.csv"
ARRAYS = (FRAMES, "labels.npy", "video_file_paths.npy")
SECONDS_FOR_OLD_WORKERS = 60


@dataclass(frozen=True)
class VideoOutcome:
    """The result for one video: it has a row in frames.npy unless `reason` says why not.

    `seconds` is the wall-clock time since the previous outcome, `memory` that of the process tree in MB, `digest` that
    of the row. The properties of the video are 0 if unknown. `note` says what is wrong with a video that was used.
    """

    path: str
    reason: str | None
    seconds: float
    memory: float
    frame_count: int = 0
    height: int = 0
    width: int = 0
    frame_rate: float = 0.0
    note: str | None = None
    digest: str = ""
    out_of_time: bool = False


OutcomeSchema = schema_of(VideoOutcome)


class SummarySchema(Schema):
    """An ExtractionSummary as plain values."""

    output_path: str
    classes: list[str]
    clips: Count
    skipped: Count
    seconds: NonNegative
    peak_memory: NonNegative
    continued: Count = 0
    short: Count = 0
    noted: Count = 0
    lost: list[str] = pydantic.Field(default_factory=list)


class RecordSchema(Schema):
    """The content of extraction.json; an unfinished run has no summary."""

    settings: dict[str, bool | int | str]
    summary: SummarySchema | None = None


def finish_publishing(output_path: Path) -> None:
    """Move the files of a complete data set to the output folder, or finish moving them after a killed run.

    Old arrays are deleted first, so that new frames are never next to old labels.
    """
    source = output_path / COMPLETE
    if not source.is_dir():
        return
    if (source / FRAMES).exists():
        for name in (RECORD, *ARRAYS, SHORT, NOTES):
            (output_path / name).unlink(missing_ok=True)
    for path in sorted(source.iterdir(), key=lambda path: (path.name == RECORD, path.name)):  # the record last
        os.replace(path, output_path / path.name)
    source.rmdir()


def published_summary(output_path: Path, settings: dict) -> dict | None:
    """Return the summary of the complete data set in `output_path`, or None if there is no data set.

    Raises UserError if the data set has other settings, if its record is damaged, or if there are arrays without one.
    """
    found = [name for name in ARRAYS if (output_path / name).exists()]
    if (output_path / RECORD).exists() and len(found) == len(ARRAYS):
        record = read_record(output_path, output_path)
        if record.summary is None:
            raise UserError(f"--output_path: {output_path / RECORD}: summary is missing; {_remedy(output_path)}")
        _require_equal_settings(output_path, record.settings, settings)
        return record.summary.model_dump()
    if found:
        raise UserError(
            f"--output_path: {output_path} must hold no arrays, or those of an earlier run, "
            f"found {', '.join(found)} of unknown origin; --overwrite replaces them"
        )
    return None


def read_record(folder: Path, delete: Path) -> RecordSchema:
    """Read extraction.json in `folder`. Raises UserError, with the folder to `delete` as remedy, if it is damaged."""
    path = folder / RECORD
    return read_checked(path, RecordSchema, what=f"--output_path: {path}", remedy=_remedy(delete))


def read_log(path: Path) -> list[VideoOutcome]:
    """Read the log of a complete extraction. Raises UserError that names the first damaged line."""
    with open(path, "rb") as file:
        return [parse_outcome(line, what=f"--output_path: {path} line {n}") for n, line in enumerate(file, start=1)]


def parse_outcome(line: bytes, *, what: str) -> VideoOutcome:
    """Parse a line of the log. Raises UserError that starts with `what` if it is damaged."""
    return VideoOutcome(**checked(line, OutcomeSchema, what=what).model_dump())


def _remedy(folder: Path) -> str:
    return f"use --overwrite to start over, or delete {folder}"


def has_unfinished(output_path: Path) -> bool:
    """Return whether `output_path` holds an interrupted run."""
    return (output_path / WORK / RECORD).exists()


def unfinished_bytes(output_path: Path) -> int:
    """Return the disk space that the frames of an interrupted run use already."""
    frames = output_path / WORK / FRAMES
    return frames.stat().st_blocks * 512 if frames.exists() else 0  # st_size would include holes


def discard_unfinished(output_path: Path) -> None:
    """Delete the files of an unfinished run."""
    shutil.rmtree(output_path / WORK, ignore_errors=True)


class ExtractionState(Rows):
    """The rows and outcomes of a run so far, on disk. Resumes an unfinished run with the same settings.

    Raises UserError if the unfinished run has other settings, or if their file is damaged.
    """

    def __init__(self, output_path: Path, settings: dict, clip_shape: tuple[int, ...]):
        self.output_path, self.settings, self.folder = output_path, settings, output_path / WORK
        self.outcomes: list[VideoOutcome] = []
        if has_unfinished(output_path):
            _require_equal_settings(output_path, read_record(self.folder, self.folder).settings, settings)
        else:
            discard_unfinished(output_path)  # a run that was killed before it wrote its settings
            self.folder.mkdir(parents=True)
            write_json(self.folder / RECORD, {"settings": settings})
        for leftover in self.folder.glob(".*.partial.*"):  # of a run that was killed while it published
            leftover.unlink()
        super().__init__(self.folder / FRAMES, clip_shape)
        self.log = open(self.folder / LOG, "ab+", buffering=0)  # noqa: SIM115, closed by close()
        self._await_old_workers()
        self._read_log()

    def add(self, outcome: VideoOutcome, row: int) -> None:
        """Add the next outcome; move its clip from `row` to the next free row if videos before it yielded no clip."""
        if outcome.reason is None:
            if row != self.rows:
                self.write(self.rows, self.read(row))
            self.rows += 1
        self.log.write(json.dumps(asdict(outcome)).encode() + b"\n")
        self.outcomes.append(outcome)

    def publish(self, record: dict, write_rest) -> None:
        """Complete the data set: call `write_rest(folder)` to write the small files, then publish all files."""
        write_at(self.frames.fileno(), header_bytes(self.rows, self.clip_shape), 0)
        self.frames.truncate(self.offset(self.rows))
        digest = digest_of_rows(outcome.digest for outcome in self.outcomes if outcome.reason is None)
        remember(self.frames, self.frames_path, digest, start=self.header_size, row_bytes=self.row_size)
        write_rest(self.folder)
        write_json(self.folder / RECORD, {"settings": self.settings, **record})
        self.close()
        for path in [*self.folder.iterdir(), self.folder]:
            _sync(path)
        os.rename(self.folder, self.output_path / COMPLETE)
        finish_publishing(self.output_path)
        _sync(self.output_path)

    def require_order(self, paths: list[str]) -> None:
        """Raise UserError unless the outcomes so far are those of the first of `paths`; rows would get other labels."""
        found = [outcome.path for outcome in self.outcomes]
        if found != paths[: len(found)]:
            raise UserError(
                f"--output_path: {self.folder / LOG} must list the videos in their order, but lists others; "
                f"{_remedy(self.folder)}"
            )

    def close(self) -> None:
        super().close()
        self.log.close()

    def _await_old_workers(self) -> None:
        """Wait until the workers of a killed run have exited. Each holds a shared lock on the frames."""
        deadline = time.monotonic() + SECONDS_FOR_OLD_WORKERS
        while True:
            try:
                fcntl.flock(self.frames, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UserError(f"--output_path: {self.frames_path} is in use by a killed run's process") from None
                time.sleep(0.02)
        fcntl.flock(self.frames, fcntl.LOCK_UN)

    def _read_log(self) -> None:
        """Restore the outcomes whose lines and rows are as they were written, and truncate both files after them."""
        self.log.seek(0)
        kept = 0
        for line in self.log.readlines():
            try:
                outcome = parse_outcome(line, what="the log")
            except UserError:
                break
            is_kept = outcome.reason is not None or row_digest(self.read(self.rows)) == outcome.digest
            if not line.endswith(b"\n") or not is_kept:
                break
            self.rows += outcome.reason is None
            self.outcomes.append(outcome)
            kept += len(line)
        self.log.truncate(kept)
        self.frames.truncate(self.offset(self.rows))
        write_at(self.frames.fileno(), header_bytes(0, self.clip_shape), 0)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _require_equal_settings(output_path: Path, found: dict, asked: dict) -> None:
    differences = [
        f"{name} {found.get(name)}, asked for {asked[name]}"
        for name in asked
        if name not in ("videos", "digest") and found.get(name) != asked[name]
    ]
    if found.get("videos") != asked["videos"]:
        differences.append(f"{found.get('videos')} videos, --input_path holds {asked['videos']}")
    elif found.get("digest") != asked["digest"]:
        differences.append("videos whose names, sizes or dates are not those below --input_path")
    if differences:
        raise UserError(
            f"--output_path: {output_path} holds an extraction with {'; '.join(differences)}; "
            "choose another folder, or start over with --overwrite"
        )
