"""What a recogniser has seen of the clips on which it is tested: the rule behind the rows of every table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.base.array_files import open_array
from utils.base.errors import UserError
from utils.base.files import digest, escaped
from utils.base.options import PATHS_FILE
from utils.data.clips import ClipDataset
from utils.data.protocols import Split
from utils.data.split_checks import split_differences
from utils.data.split_lists import SETS
from utils.runs.clips import Inherited, clip_ids
from utils.runs.paths import record_path
from utils.runs.record import Record, load_record
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

    def refuse(self, what: str) -> None:
        """Raise UserError that starts with `what` if any clip has been seen, or may have been."""
        if found := warnings("it", self.as_dict()):
            raise UserError(f"{what}, but {found[0].removeprefix('warning: ')}")

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
    """Return which of `rows` a network or the teacher behind a file of scores has seen, with its own teachers.

    about: what the .json next to the model or the scores at `path` states; None if there is none. sets: the sets of its
    split that count as seen. Clips of other arrays are recognised by their paths, but may occur under other names, so
    that it is unknown what else the model has seen.
    """
    ids, unknown = seen_ids(about, dataset, path, sets=sets)
    if about is not None and about.split is not None and not about.arrays.has_clips_of(dataset):
        unknown = (f"{path.name} was trained on other arrays", *unknown)
    known = [row for row, each in zip(rows.tolist(), ids_of_rows(dataset, rows)) if each in ids]
    return Seen(rows, np.array(sorted(known), np.int64), tuple(dict.fromkeys(unknown)))


def seen_ids(
    about: Record | ScoresFile | None,
    dataset: ClipDataset,
    path: Path,
    *,
    role: str = "",
    sets: Sequence[str] = SEEN_SETS,
) -> tuple[set[str], tuple[str, ...]]:
    """Return the `clip_ids` that a model and its teachers have seen, and reasons why they may have seen more.

    `role` follows the name of the model in reasons. Clips of other arrays than `dataset` are known by their paths, if
    these are still there and the arrays have a clip in common.
    """
    name = f"{path.name}{role}"
    if about is None:
        return set(), (f"{name} has no record ({path.stem}.json)",)
    if about.split is None:
        return set(), (f"{path.stem}.json does not list the training clips of {name}",)
    inherited = about.inherited if isinstance(about, Record) else Inherited()
    unknown, rows = tuple(inherited.unknown), np.concatenate([getattr(about.split.rows, each) for each in sets])
    if about.arrays.has_clips_of(dataset):
        return {*ids_of_rows(dataset, rows), *inherited.clips}, unknown
    try:
        own = set(clip_ids(names_of_rows(about, rows)))
    except UserError:
        own = set()
    if own.isdisjoint(ids_of_rows(dataset, np.arange(len(dataset)))):
        unknown = (f"{name} was trained on other arrays", *unknown)
    return {*own, *inherited.clips}, unknown


def ids_of_rows(dataset: ClipDataset, rows: np.ndarray) -> list[str]:
    return clip_ids(dataset.clip_names(rows))


def names_of_rows(about: Record | ScoresFile, rows: np.ndarray) -> list[str]:
    """Return the names of clips of the arrays that a record describes.

    Raises UserError if the paths have moved or changed.
    """
    if not about.arrays.paths:
        return [f"{about.arrays.content} {row}" for row in rows]
    return training_paths(about)[rows].tolist()


def training_paths(about: Record | ScoresFile) -> np.ndarray:
    """Return the paths of the arrays that a record describes, unicode `(N,)`.

    Raises UserError if they have moved or changed.
    """
    arguments = about.arguments if isinstance(about, Record) else None
    if arguments is None or not (arguments.paths or arguments.data):
        raise UserError("its paths must be known, but the record does not name them")
    file = Path(arguments.paths or Path(arguments.data).with_name(PATHS_FILE))
    paths = np.array([escaped(path) for path in open_array(file, "its paths").tolist()])
    if digest("\n".join(paths).encode()) != about.arrays.paths:
        raise UserError(f"its paths must still be in {file}, which holds others")
    return paths


@dataclass(frozen=True)
class Parent:
    """A model from which a training learns: its file, what the .json next to it states, and its argument.

    role: what it is to the trained model, for reasons.
    """

    path: Path
    about: Record | ScoresFile | None
    argument: str
    role: str


def inherited_from(parents: Sequence[Parent], dataset: ClipDataset, split: Split) -> Inherited:
    """Return what teachers and initial weights have seen, for the record of a training, and print what is unknown.

    The training and validation clips of `split`, which the model sees itself, are left out. Raises UserError if a
    parent, or a teacher of it, has seen test clips.
    """
    if not parents:
        return Inherited()
    own = set(ids_of_rows(dataset, np.concatenate([split.train, split.validation])))
    tested, clips, unknown = set(ids_of_rows(dataset, split.test)), set(), []
    for parent in parents:
        found, reasons = seen_ids(parent.about, dataset, parent.path, role=parent.role)
        if seen := found & tested:
            raise UserError(
                f"{parent.argument}: {parent.path} has seen {len(seen)} of the {len(tested)} test clips of this split, "
                f"which must be new to it{remedy_for(parent, dataset, split)}"
            )
        clips |= found
        unknown += reasons
    unknown = list(dict.fromkeys(unknown))
    if unknown:
        print(f"note: it is unknown which test clips the model has seen: {'; '.join(unknown)}.")
    return Inherited(clips=sorted(clips - own), unknown=unknown)


def remedy_for(parent: Parent, dataset: ClipDataset, split: Split) -> str:
    """Return how the split of a parent differs, and how to use it, as the end of a message."""
    if not isinstance(parent.about, Record):
        return ""
    differences = split_differences(parent.about.split.as_split(), split)
    listed = f" ({'; '.join(differences)})" if parent.about.arrays.has_clips_of(dataset) and differences else ""
    return f"{listed}; use --split like:{parent.path}"


def sets_of_model(model: Path, *, argument: str) -> dict[str, str]:
    """Return the set of each clip in the split of a trained model, by the clip's path.

    Raises UserError that starts with `argument` if there is no record, or if the paths have moved or changed.
    """
    file = record_path(model)
    if not file.is_file():
        raise UserError(f"{argument}: {model} must have a record, but {file} does not exist")
    record = load_record(model, argument=argument)
    try:
        paths = training_paths(record)
    except UserError as error:
        raise UserError(f"{argument}: {model} was trained on clips of which {error}") from None
    return {paths[row]: name for name in SETS for row in getattr(record.split.rows, name)}


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
