"""Videos of a complete data set that ran out of time are tried again, alone, and their clips inserted."""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from utils.base.in_order import Lost
from utils.base.interruption import between_steps
from utils.base.machine import memory_of_tree
from utils.base.text import counted
from utils.video.extraction_state import FRAMES, LOG, ExtractionState, VideoOutcome, read_log
from utils.video.extraction_worker import ReadVideo
from utils.video.rows import Rows

LATE = ".extraction.late"


def outcome_of(path: str, result: ReadVideo | Lost, seconds: float, memory: float) -> VideoOutcome:
    """Return the outcome of a video."""
    if isinstance(result, Lost):
        return VideoOutcome(path, result.reason, seconds, memory, out_of_time=result.out_of_time)
    about = asdict(result.info) if result.info else {}
    return VideoOutcome(path, result.reason, seconds, memory, digest=result.digest, **about)


@dataclass(frozen=True)
class LateVideos:
    """A complete data set, and videos that ran out of time before: their outcomes and rows of `late` by path."""

    outcomes: list[VideoOutcome]
    stored: Rows
    late: Rows
    found: dict[str, tuple[VideoOutcome, int]]

    @classmethod
    def of(
        cls,
        files: dict[str, str],
        output_path: Path,
        clip_shape: tuple[int, ...],
        read: Callable[..., Iterator[object]],
    ) -> "LateVideos | None":
        """Read the videos that ran out of time with `read`, one by one; return None if there is no clip of any.

        `files` are the files of the videos by their paths in the data set.
        """
        outcomes = read_log(output_path / LOG)
        paths = [outcome.path for outcome in outcomes if outcome.out_of_time]
        if not paths:
            return None
        print(f"trying again {counted(len(paths), 'video')} that ran out of time")
        folder, found, last = output_path / LATE, {}, time.monotonic()
        shutil.rmtree(folder, ignore_errors=True)  # of a killed run
        folder.mkdir()
        late = Rows(folder / FRAMES, clip_shape)
        with (
            between_steps() as check,
            contextlib.closing(read(late, [files[path] for path in paths], check=check)) as results,
        ):
            for row, (path, result) in enumerate(zip(paths, results)):
                outcome = outcome_of(path, result, time.monotonic() - last, memory_of_tree())
                last = time.monotonic()
                if outcome.reason is None:
                    found[path] = (outcome, row)
        videos = cls(outcomes, Rows(output_path / FRAMES, clip_shape), late, found)
        if not found:
            videos.close()
        return videos if found else None

    def merge(self, state: ExtractionState) -> None:
        """Add the outcomes and clips of all videos to a new run."""
        row = 0
        for outcome in self.outcomes:
            if outcome.path in self.found:
                outcome, late_row = self.found[outcome.path]
                state.write(state.rows, self.late.read(late_row))
            elif outcome.reason is None:
                state.write(state.rows, self.stored.read(row))
                row += 1
            state.add(outcome, state.rows)
        self.close()

    def close(self) -> None:
        self.stored.close()
        self.late.close()
        shutil.rmtree(self.late.frames_path.parent)
