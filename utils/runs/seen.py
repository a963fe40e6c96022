"""What a recogniser has seen of the clips on which it is tested: the rule behind the rows of every table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.data.clips import ClipDataset
from utils.runs.record import Record
from utils.runs.scores import ScoresFile

SEEN_SETS = ("train", "validation")  # validation clips choose the epoch and the settings


@dataclass(frozen=True, eq=False)
class Seen:
    """The clips that a recogniser has seen among those on which it is tested.

    rows: int64 `(n,)`, the clips of the test. seen: int64 `(m,)`, those of them that it is known to have seen. unknown:
    reasons why it may have seen more, empty if `seen` is complete.
    """

    rows: np.ndarray
    seen: np.ndarray
    unknown: tuple[str, ...] = ()

    def as_dict(self) -> dict:
        """Return the counts and the reasons as plain values for JSON."""
        return {"test_clips": len(self.rows), "seen_test_clips": len(self.seen), "unknown": list(self.unknown)}


def seen_clips(
    about: Record | ScoresFile | None,
    dataset: ClipDataset,
    rows: np.ndarray,
    *,
    path: Path,
    sets: Sequence[str] = SEEN_SETS,
) -> Seen:
    """Return which of `rows` a network or the teacher behind a file of scores has seen.

    about: what the .json next to the model or the scores at `path` states; None if there is none. sets: the sets of its
    split that count as seen.
    """
    nothing = np.zeros(0, np.int64)
    if about is None:
        return Seen(rows, nothing, (f"{path.name} has no record ({path.stem}.json)",))
    if about.split is None:
        return Seen(rows, nothing, (f"{path.stem}.json does not list the training clips of {path.name}",))
    if not about.arrays.has_clips_of(dataset):
        return Seen(rows, nothing, (f"{path.name} was trained on other arrays",))
    split = about.split.as_split()
    seen = np.intersect1d(rows, np.concatenate([getattr(split, name) for name in sets]))
    unknown = about.initial_weights_unknown if isinstance(about, Record) else None
    return Seen(rows, seen, (unknown,) if unknown else ())


def united(found: Sequence[Seen]) -> Seen:
    """Return what the members of an average, or several trainings, have seen together of the same test clips."""
    return Seen(found[0].rows, np.unique(np.concatenate([each.seen for each in found])), reasons(found))


def over_folds(found: Sequence[Seen]) -> Seen:
    """Return what the networks of several folds have seen, each of its own test clips."""
    rows, seen = (np.concatenate([getattr(each, name) for each in found]) for name in ("rows", "seen"))
    return Seen(rows, seen, reasons(found))


def reasons(found: Sequence[Seen]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reason for each in found for reason in each.unknown))


def seen_cell(seen: dict) -> str:
    """Format `Seen.as_dict` for the column "seen" of a table: "none", "4 of 6", "at least 4 of 6" or "unknown"."""
    if not seen["seen_test_clips"]:
        return "unknown" if seen["unknown"] else "none"
    return f"{'at least ' if seen['unknown'] else ''}{seen['seen_test_clips']} of {seen['test_clips']}"


def mark(seen: dict) -> str:
    """Return what a recogniser has seen, for the end of its name in figures and comparisons; "" if that is none."""
    cell = seen_cell(seen)
    return "" if cell == "none" else f" (test clips seen: {cell})"


def warnings(name: str, seen: dict) -> list[str]:
    """Return sentences on what a recogniser has seen of its test clips; they accompany its accuracy."""
    found = []
    if seen["seen_test_clips"]:
        found.append(
            f"warning: {name} has seen {seen['seen_test_clips']} of its {seen['test_clips']} test clips in training or "
            "validation, so its accuracy on them is not a test accuracy."
        )
    if seen["unknown"]:
        found.append(f"warning: it is unknown which test clips {name} has seen: {'; '.join(seen['unknown'])}.")
    return found
