"""What the recognisers of an experiment have seen of the clips on which they are tested and validated."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.base.argument_types import SCORES_SUFFIX
from utils.base.errors import UserError
from utils.base.files import file_fingerprint
from utils.data.clips import ClipDataset
from utils.data.protocols import Split
from utils.experiments.cells import Cell, Row
from utils.runs.record import Record, read_record
from utils.runs.scores import ScoresFile, read_scores_file
from utils.runs.seen import SEEN_SETS, Seen, seen_clips, united, warnings


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
            record = read_record(part.model_path, file_fingerprint, argument="--output_path")
            about.append((part.model_path, record))

    def seen(rows: np.ndarray, sets: tuple[str, ...]) -> Seen:
        nothing = Seen(rows, np.zeros(0, np.int64))
        return united([nothing, *(seen_clips(record, dataset, rows, path=path, sets=sets) for path, record in about)])

    return CellSeen(seen(split.test, SEEN_SETS), seen(split.validation, SEEN_SETS[:1]))


def record_of_source(path: Path) -> Record | ScoresFile | None:
    """Return what the .json next to a given teacher states; None if there is none.

    Raises UserError if it is damaged, or belongs to another model.
    """
    if path.suffix == SCORES_SUFFIX:
        return read_scores_file(path, argument="--sources")
    return read_record(path, file_fingerprint, argument="--sources")


def check_given_teachers(
    cells: tuple[Cell, ...], dataset: ClipDataset, splits: dict[str, Split], *, fail_on_leak: bool
) -> tuple[Cell, ...]:
    """Print what given teachers have seen of the test clips, by fold; return the cells that can be trained.

    No student can be trained to imitate a teacher that has seen its test clips. The students of such a teacher are left
    out in all folds, because a row of fewer folds could not be compared. With `fail_on_leak`, raises UserError if a
    teacher has seen test clips, or if it is unknown which it has seen.
    """
    seen = {cell: seen_by(cell, dataset, splits[cell.fold]).test for cell in cells if cell.parts}
    found = [(cell, f"{cell.fold}: {line}") for cell in seen for line in warnings(cell.row.name, seen[cell].as_dict())]
    if found and fail_on_leak:
        cell, line = found[0]
        names = ",".join(map(str, cell.teaching_files))
        raise UserError(
            f"--fail_on_leak: --sources {cell.row.teacher}={names} must be new to the test clips of "
            f"{line.replace(': warning: ', ', but ', 1)}"
        )
    for line in dict.fromkeys(line for _, line in found):
        print(line)
    unfit = {cell.row.teacher for cell in seen if len(seen[cell].seen)}
    kept = tuple(cell for cell in cells if not (cell.row.teacher in unfit and imitates(cell.row)))
    if len(kept) < len(cells):
        names = ", ".join(sorted({cell.row.teacher for cell in cells if cell not in kept}))
        print(f"note: {len(cells) - len(kept)} students of {names} are left out, because it has seen their test clips")
    return kept


def imitates(row: Row) -> bool:
    """Return whether the networks of a row learn from their teacher, not from labels alone."""
    return row.role == "distilled" and row.alpha < 1
