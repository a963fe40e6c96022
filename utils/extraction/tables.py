"""What an extraction tells of itself: a summary for a person, the skipped videos, time and memory a class."""

import csv
from dataclasses import dataclass
from pathlib import Path

from utils.extraction.state import VideoOutcome
from utils.runtime.devices import memory_of_tree


@dataclass(frozen=True)
class ExtractionSummary:
    """What an extraction came to; seconds are of the wall clock, memory is the largest seen, in MB.

    `continued` counts the videos that an earlier, interrupted run had done.
    """

    output_path: Path
    classes: tuple[str, ...]
    clips: int
    skipped: int
    seconds: float
    peak_memory: float
    continued: int = 0

    def __str__(self) -> str:
        rate = self.clips / self.seconds if self.seconds else 0.0
        reasons = f" (reasons in {self.output_path / 'skipped_videos.csv'})" if self.skipped else ""
        continued = f" ({self.continued} videos by an earlier run)" if self.continued else ""
        return "\n".join(
            (
                f"Videos read: {self.clips} in {len(self.classes)} class{'es' * (len(self.classes) != 1)}",
                f"Videos skipped: {self.skipped}{reasons}",
                f"Time: {self.seconds:.1f} s, {rate:.1f} clips/s{continued}",
                f"Peak memory: {self.peak_memory:.0f} MB",
            )
        )


def write_skipped(folder: Path, outcomes: list[VideoOutcome]) -> None:
    skipped = [(outcome.path, outcome.reason) for outcome in outcomes if outcome.reason is not None]
    _write_table(folder / "skipped_videos.csv", ("path", "reason"), skipped)


def write_times(folder: Path, outcomes: list[VideoOutcome], seconds_to_save: float) -> None:
    """A row a class, then Save and Runtime. Classes are read one after the other, so their times add up."""
    times, memories = {}, {}
    for outcome in outcomes:
        if "/" in outcome.path:
            name = outcome.path.split("/")[0]
            times[name] = times.get(name, 0.0) + outcome.seconds
            memories[name] = max(memories.get(name, 0.0), outcome.memory)
    peak = max(outcome.memory for outcome in outcomes)
    runtime = sum(outcome.seconds for outcome in outcomes) + seconds_to_save
    rows = [(name, times[name], memories[name]) for name in times]
    rows += [("Save", seconds_to_save, memory_of_tree()), ("Runtime", runtime, peak)]
    rows = [(name, f"{seconds:.3f}", f"{memory:.1f}") for name, seconds, memory in rows]
    _write_table(folder / "Format_Time.csv", ("Step", "Time", "Memory"), rows)


def _write_table(path: Path, header: tuple[str, ...], rows: list[tuple]) -> None:
    # a name that is not valid UTF-8 must not end the run
    with open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
