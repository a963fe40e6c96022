"""Predefined splits: the official lists of UCF101 and HMDB51, CSV files of the user, and folders of the sets."""

import contextlib
import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from utils.base.errors import UserError
from utils.base.files import read_limited
from utils.base.schemas import shown
from utils.data.clips import class_of

SETS = ("train", "validation", "test")
SET_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}  # by the name of a folder, in lower case
LIST_BYTES = 64 * 2**20  # the lists of Kinetics-700 have about 30 MB
LONGEST_LINE = 5000  # characters; paths have at most 4096
HMDB51_SETS = {"0": "unused", "1": "train", "2": "test"}


def sets_by_official_lists(
    paths: np.ndarray, split_dir: str | os.PathLike, number: int
) -> tuple[np.ndarray, list[str]]:
    """Assign clips to sets with the official lists, matching file names without folder and extension.

    paths: unicode (N,). split_dir: a folder with UCF101's trainlist0K.txt and testlist0K.txt, or with HMDB51's
    CLASS_test_splitK.txt, as distributed. number: the K of the split.
    Returns "train", "test", "unused" or "" (not listed) for each clip, unicode (N,), and notes for the user.
    Raises UserError if the folder has no such lists, if a line is malformed, repeated or contradicts another, or if
    they list none of the clips.
    """
    folder = Path(split_dir)
    table: dict[str, Entry] = {}
    ucf_files = [(folder / f"{name}list{number:02d}.txt", name) for name in ("train", "test")]
    hmdb51_files = sorted(folder.glob(f"*_test_split{number}.txt"))
    if all(file.is_file() for file, _ in ucf_files):
        for file, name in ucf_files:
            for line, place in _lines(file):
                clip, *label = line.split()
                if len(label) > 1 or not all(re.fullmatch(r"[1-9]\d{0,5}", text, re.ASCII) for text in label):
                    raise UserError(f"{place} must be a path and a class number of at least 1, found {shown(line)}")
                _add(table, clip, PurePosixPath(clip).stem, name, place)
    elif hmdb51_files:
        for file in hmdb51_files:
            for line, place in _lines(file):
                clip, _, flag = line.rpartition(" ")
                if not clip or flag not in HMDB51_SETS:
                    raise UserError(f"{place} must be a clip name and 0, 1 or 2, found {shown(line)}")
                _add(table, clip, PurePosixPath(clip.strip()).stem, HMDB51_SETS[flag], place)
    else:
        raise UserError(
            f"--split official:{number} needs trainlist{number:02d}.txt and testlist{number:02d}.txt, or "
            f"CLASS_test_split{number}.txt files, in --split_dir; {folder} contains neither"
        )
    names = [PurePosixPath(path).stem for path in paths.tolist()]
    return _assigned(names, table, paths, f"the official lists in {folder}")


def sets_by_list(paths: np.ndarray, file: str | os.PathLike) -> tuple[np.ndarray, list[str]]:
    """Assign clips to sets with a CSV file whose lines hold a path and train, validation or test.

    paths: unicode (N,), "class/.../name.avi", as they occur in the file. A first line that starts with "path" is a
    header. Returns "train", "validation", "test" or "" (not listed) for each clip, unicode (N,), and notes.
    Raises UserError that names the line if it is malformed, repeated or contradicts another, and if the file lists none
    of the clips.
    """
    file = Path(file)
    if not file.is_file():
        raise UserError(f"--split list:FILE must name an existing file, got {file}")
    table: dict[str, Entry] = {}
    for number, (line, place) in enumerate(_lines(file)):
        cells = _cells(line, place)
        if number == 0 and cells[0].casefold() == "path":
            continue
        if len(cells) != 2 or cells[1] not in SETS:
            other = " with a semicolon" if ";" in line else " with a tab" if "\t" in line else ""
            raise UserError(f"{place} must be a path and train, validation or test, found {shown(line)}{other}")
        path = cells[0].replace("\\", "/").removeprefix("./")
        _add(table, path, path, cells[1], place)
    sets, notes = _assigned(paths.tolist(), table, paths, str(file))
    unknown = set(map(class_of, table)) - set(map(class_of, paths.tolist()))
    if unknown:
        notes.append(f"Classes in {file} that are not in the arrays: {', '.join(sorted(unknown)[:5])}.")
    return sets, notes


def sets_by_folders(paths: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Assign clips to the sets of their folders, the second part of paths such as "run/train/1.avi".

    Validation clips are tested if there is no test folder. Returns "train", "validation" or "test" for each clip,
    unicode (N,), and notes. Raises UserError if a path has no set.
    """
    parts = [str(path).split("/") for path in paths]
    names = [SET_FOLDERS.get(part[1].casefold(), "") if len(part) > 2 else "" for part in parts]
    if "" in names:
        raise UserError(
            "--split folders needs paths whose second part is a folder such as train, val or test, "
            f"found {shown(paths[names.index('')])}"
        )
    sets = np.array(names)
    if "test" in names:
        return sets, []
    return np.where(sets == "validation", "test", sets), [
        "There is no test folder, so the validation clips are tested."
    ]


def are_in_set_folders(paths: Sequence[str] | None) -> bool:
    """Return whether `sets_by_folders` finds clips for training and test."""
    if paths is None:
        return False
    with contextlib.suppress(UserError):
        return {"train", "test"} <= set(sets_by_folders(paths)[0].tolist())
    return False


@dataclass(frozen=True)
class Entry:
    """The set of a clip, and the file and line that assign it."""

    set_name: str
    place: str


def _lines(file: Path) -> list[tuple[str, str]]:
    """Return the lines that are not blank, each with its place, "--split: FILE line N". Raises UserError if unreadable.

    Refuses binary content, which is never part of a name: control characters and lines of more than LONGEST_LINE.
    """
    what = f"--split: {file}"
    content = read_limited(file, what=what, limit=LIST_BYTES)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{what} line {number} must be UTF-8 text, found the byte {content[error.start]:#04x}"
        ) from None
    found = []
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        line, place = line.strip(), f"{what} line {number}"
        if len(line) > LONGEST_LINE:
            raise UserError(f"{place} must have at most {LONGEST_LINE} characters, found {len(line)}")
        if match := re.search(r"[\x00-\x08\x0b-\x1f\x7f]", line):
            raise UserError(f"{place} must be text, found the control character {match[0]!r}")
        if line:
            found.append((line, place))
    return found


def _cells(line: str, place: str) -> list[str]:
    """Parse a line of a CSV file; quotes must not span lines."""
    try:
        return [cell.strip() for cell in next(csv.reader([line], strict=True))]
    except csv.Error as error:
        raise UserError(f"{place} must be a line of a CSV file ({error}), found {shown(line)}") from None


def _add(table: dict[str, Entry], path: str, clip: str, set_name: str, place: str) -> None:
    """Assign a clip to a set. Raises UserError if its path is not relative, or if another line assigns it."""
    if not clip or path.startswith("/") or re.match("[A-Za-z]:/", path) or ".." in path.split("/"):
        raise UserError(f"{place} must hold a path as in --paths, relative to the class folders, found {shown(path)}")
    known = table.setdefault(clip, Entry(set_name, place))
    if known.set_name != set_name:
        raise UserError(f"{place} assigns {clip} to {set_name}, but {_short(known)} assigns it to {known.set_name}")
    if known.place != place:
        raise UserError(f"{place} repeats {clip} of {_short(known)}")


def _short(entry: Entry) -> str:
    return entry.place.removeprefix("--split: ")


def _assigned(
    names: list[str], table: dict[str, Entry], paths: np.ndarray, source: str
) -> tuple[np.ndarray, list[str]]:
    sets = np.array([table[name].set_name if name in table else "" for name in names])
    if not sets.any():
        raise UserError(f"{source} must list clips of --paths, but lists none of them; the first is {paths[0]}")
    notes = []
    present = set(names)
    absent = [name for name in table if name not in present]
    if absent:
        where = _short(table[absent[0]])
        notes.append(
            f"{len(absent)} of {len(table)} clips in {source} are not in the arrays, for example {absent[0]} ({where})."
        )
    unlisted = paths[sets == ""]
    if len(unlisted):
        notes.append(f"{len(unlisted)} of {len(paths)} clips are unused (not in {source}), for example {unlisted[0]}.")
    unused = np.count_nonzero(sets == "unused")
    if unused:
        notes.append(f"{unused} of {len(paths)} clips are marked as unused in {source}.")
    return sets, notes
