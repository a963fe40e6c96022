"""The results of an extraction apart from the arrays: summary, skipped videos, and time and memory per class."""

from dataclasses import dataclass
from pathlib import Path

from utils.base.files import write_csv
from utils.base.machine import memory_of_tree
from utils.base.text import counted
from utils.data.clips import class_of
from utils.video.discovery import UNSORTED
from utils.video.extraction_state import NOTES, SHORT, VideoOutcome


@dataclass(frozen=True)
class ExtractionSummary:
    """Summary of an extraction: wall-clock time in seconds, peak memory in MB.

    `continued` is the number of videos that an earlier, interrupted run has processed, `short` that of clips with
    repeated frames, `noted` that of clips from videos that are damaged or break off. `lost` names the classes without
    clips.
    """

    output_path: Path
    classes: tuple[str, ...]
    clips: int
    skipped: int
    seconds: float
    peak_memory: float
    continued: int = 0
    short: int = 0
    noted: int = 0
    lost: tuple[str, ...] = ()

    def __str__(self) -> str:
        rate = self.clips / self.seconds if self.seconds else 0.0
        reasons = f" (reasons in {self.output_path / 'skipped_videos.csv'})" if self.skipped else ""
        short = f" ({self.short} with repeated frames, see {self.output_path / SHORT})" if self.short else ""
        noted = f"Videos used although damaged: {self.noted} (see {self.output_path / NOTES})\n" if self.noted else ""
        lost = f"Classes without clips: {', '.join(self.lost)}\n" if self.lost else ""
        continued = f" ({counted(self.continued, 'video')} by an earlier run)" if self.continued else ""
        return (
            f"Videos read: {self.clips} in {len(self.classes)} class{'es' * (len(self.classes) != 1)}{short}\n"
            f"Videos skipped: {self.skipped}{reasons}\n{lost}{noted}"
            f"Time: {self.seconds:.1f} s, {rate:.1f} clips/s{continued}\n"
            f"Peak memory: {self.peak_memory:.0f} MB"
        )


def write_skipped(folder: Path, outcomes: list[VideoOutcome]) -> None:
    """Write skipped_videos.csv: path and reason of each skipped video."""
    skipped = [(outcome.path, outcome.reason) for outcome in outcomes if outcome.reason is not None]
    write_csv(folder / "skipped_videos.csv", ("path", "reason"), skipped)


def filled_up(outcomes: list[VideoOutcome], sequence_length: int) -> list[VideoOutcome]:
    """Return the outcomes of the videos that have a clip although they have fewer than `sequence_length` frames."""
    return [outcome for outcome in outcomes if outcome.reason is None and outcome.frame_count < sequence_length]


def write_short(folder: Path, outcomes: list[VideoOutcome], short_videos: str) -> None:
    """Write short_videos.csv: path and number of frames of each video that was filled up, and how."""
    rows = [(outcome.path, outcome.frame_count, short_videos) for outcome in outcomes]
    write_csv(folder / SHORT, ("path", "frames", "filled_by"), rows)


def lost_classes(outcomes: list[VideoOutcome]) -> tuple[str, ...]:
    """Return the sorted names of the classes that have no clip."""
    found = {outcome.path.split("/")[0] for outcome in outcomes if outcome.reason != UNSORTED}
    return tuple(sorted(found - {outcome.path.split("/")[0] for outcome in outcomes if outcome.reason is None}))


def noted(outcomes: list[VideoOutcome]) -> list[VideoOutcome]:
    """Return the outcomes of the videos that have a clip and a note."""
    return [outcome for outcome in outcomes if outcome.reason is None and outcome.note is not None]


def write_notes(folder: Path, outcomes: list[VideoOutcome]) -> None:
    """Write video_notes.csv, path and note of each video that was used although damaged, if there is one."""
    if rows := [(outcome.path, outcome.note) for outcome in outcomes]:
        write_csv(folder / NOTES, ("path", "note"), rows)


def write_times(folder: Path, outcomes: list[VideoOutcome], seconds_to_save: float) -> None:
    """Write Format_Time.csv: time in seconds and peak memory in MB, per class, for saving and for the whole run."""
    times, memories = {}, {}
    for outcome in outcomes:
        if "/" in outcome.path:
            name = class_of(outcome.path)
            times[name] = times.get(name, 0.0) + outcome.seconds
            memories[name] = max(memories.get(name, 0.0), outcome.memory)
    peak = max(outcome.memory for outcome in outcomes)
    runtime = sum(outcome.seconds for outcome in outcomes) + seconds_to_save
    rows = [(name, times[name], memories[name]) for name in times]
    rows += [("Save", seconds_to_save, memory_of_tree()), ("Runtime", runtime, peak)]
    rows = [(name, f"{seconds:.3f}", f"{memory:.1f}") for name, seconds, memory in rows]
    write_csv(folder / "Format_Time.csv", ("Step", "Time", "Memory"), rows)
