"""Predefined splits: the official lists of UCF101 and HMDB51, and CSV files of the user."""

import csv
import os
from pathlib import Path, PurePosixPath

import numpy as np

from utils.runtime.errors import UserError

SETS = ("train", "validation", "test")
HMDB51_SETS = {"0": "unused", "1": "train", "2": "test"}


def sets_by_official_lists(
    paths: np.ndarray, split_dir: str | os.PathLike, number: int
) -> tuple[np.ndarray, list[str]]:
    """Assign clips to sets with the official lists, matching file names without folder and extension.

    paths: unicode (N,). split_dir: a folder with UCF101's trainlist0K.txt and testlist0K.txt, or with HMDB51's
    CLASS_test_splitK.txt, as distributed. number: the K of the split.
    Returns "train", "test", "unused" or "" (not listed) for each clip, unicode (N,), and notes for the user.
    Raises UserError if the folder has no such lists, if they are contradictory or if they list none of the clips.
    """
    folder = Path(split_dir)
    table: dict[str, str] = {}
    ucf_files = [(folder / f"{name}list{number:02d}.txt", name) for name in ("train", "test")]
    hmdb51_files = sorted(folder.glob(f"*_test_split{number}.txt"))
    if all(file.is_file() for file, _ in ucf_files):
        for file, name in ucf_files:
            for line in _lines(file):
                _add(table, PurePosixPath(line.split()[0]).stem, name, file)
    elif hmdb51_files:
        for file in hmdb51_files:
            for line in _lines(file):
                clip, _, flag = line.rpartition(" ")
                if not clip or flag not in HMDB51_SETS:
                    raise UserError(f"{file} must contain lines with a clip name and 0, 1 or 2, got {line!r}")
                _add(table, PurePosixPath(clip.strip()).stem, HMDB51_SETS[flag], file)
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
    Raises UserError if the file is malformed or contradictory, or if it lists none of the clips.
    """
    file = Path(file)
    if not file.is_file():
        raise UserError(f"--split list:FILE must name an existing file, got {file}")
    table: dict[str, str] = {}
    for number, row in enumerate(csv.reader(_lines(file)), start=1):
        cells = [cell.strip() for cell in row]
        if number == 1 and cells[0].casefold() == "path":
            continue
        if len(cells) != 2 or cells[1] not in SETS:
            line = ",".join(row)
            raise UserError(f"{file} must contain lines with a path and train, validation or test, got {line!r}")
        _add(table, cells[0].replace("\\", "/").removeprefix("./"), cells[1], file)
    return _assigned(paths.tolist(), table, paths, str(file))


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{file} cannot be read as UTF-8 text: {error}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _add(table: dict[str, str], clip: str, set_name: str, file: Path) -> None:
    if table.setdefault(clip, set_name) != set_name:
        raise UserError(f"{file} assigns {clip} to {set_name}, but it is already in {table[clip]}")


def _assigned(names: list[str], table: dict[str, str], paths: np.ndarray, source: str) -> tuple[np.ndarray, list[str]]:
    sets = np.array([table.get(name, "") for name in names])
    if not sets.any():
        raise UserError(f"{source} must list clips of --paths, but lists none of them; the first is {paths[0]}")
    notes = []
    present = set(names)
    absent = [name for name in table if name not in present]
    if absent:
        notes.append(f"{len(absent)} of {len(table)} clips in {source} are not in the arrays, for example {absent[0]}.")
    unlisted = paths[sets == ""]
    if len(unlisted):
        notes.append(f"{len(unlisted)} of {len(paths)} clips are unused (not in {source}), for example {unlisted[0]}.")
    unused = np.count_nonzero(sets == "unused")
    if unused:
        notes.append(f"{unused} of {len(paths)} clips are marked as unused in {source}.")
    return sets, notes
