"""What the recognisers of an experiment have seen of the clips on which they are tested and validated."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.base.argument_types import SCORES_SUFFIX
from utils.base.errors import UserError
from utils.base.files import file_fingerprint, read_json
from utils.data.clips import ClipDataset
from utils.data.protocols import Split
from utils.evaluation.seen import SEEN_SETS, Seen, seen_clips, united, warnings
from utils.experiments.cells import Cell
from utils.networks.recognizer import read_record
from utils.runs.records import record_path


class CellSeen(NamedTuple):
    """What a cell has seen of its test clips, and which of its validation clips are its training clips."""

    test: Seen
    validation: Seen


def seen_by(cell: Cell, dataset: ClipDataset, split: Split) -> CellSeen:
    """Return what a cell has seen, by the records of its model or of the parts of a given teacher, which are united.

    A cell that is not trained yet will have seen no test clip: it is trained on `split`.
    """
    about = []
    for part in cell.parts or (cell,):
        if not isinstance(part, Cell):
            about.append((part, record_of_source(part)))
        elif part.is_trained:
            path = record_path(part.model_path)
            about.append((part.model_path, read_json(path) if path.is_file() else None))

    def seen(rows: np.ndarray, sets: tuple[str, ...]) -> Seen:
        nothing = Seen(rows, np.zeros(0, np.int64))
        return united([nothing, *(seen_clips(record, dataset, rows, path=path, sets=sets) for path, record in about)])

    return CellSeen(seen(split.test, SEEN_SETS), seen(split.validation, SEEN_SETS[:1]))


def record_of_source(path: Path) -> dict | None:
    """Return the record of a given teacher; for scores, the arrays and the split of the views.json next to them.

    None if there is none. Raises UserError if it belongs to another model, or is no views.json.
    """
    if path.suffix != SCORES_SUFFIX:
        return read_record(path, file_fingerprint, argument="--sources")
    about_path = record_path(path)
    if not about_path.is_file():
        return None
    about = read_json(about_path)
    if not isinstance(about, dict) or not isinstance(about.get("key"), dict):
        raise UserError(f"--sources: {about_path} must be a copy of the views.json that --write_views wrote")
    return {"arrays": about["key"]} | ({"split": about["split"]} if "split" in about else {})


def check_given_teachers(
    cells: tuple[Cell, ...], dataset: ClipDataset, splits: dict[str, Split], *, fail_on_leak: bool
) -> None:
    """Print what given teachers have seen of the test clips, by fold.

    With `fail_on_leak`, raises UserError if a teacher has seen test clips, or if it is unknown which it has seen.
    """
    printed = set()
    for cell in cells:
        found = warnings(cell.row.name, seen_by(cell, dataset, splits[cell.fold]).test.as_dict()) if cell.parts else []
        if found and fail_on_leak:
            names = ",".join(map(str, cell.teaching_files))
            raise UserError(
                f"--fail_on_leak: --sources {cell.row.teacher}={names} must be new to the test clips of {cell.fold}, "
                f"but {found[0].removeprefix('warning: ')}"
            )
        for line in found:
            if (line := f"{cell.fold}: {line}") not in printed:
                print(line)
                printed.add(line)
