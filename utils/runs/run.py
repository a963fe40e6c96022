"""A finished run: its model file, its record, and what the files next to them hold."""

import csv
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.base.files import beside_history, escaped, read_limited
from utils.runs.commands import training_command
from utils.runs.history import TrainingCurves, history_array
from utils.runs.record import Record

MOST_BYTES = 32 * 2**20  # of a history
TOLERANCE = 1e-4  # between the kept epoch in the history and in the record


@dataclass(frozen=True)
class Run:
    """A finished training and its last test.

    The record holds the calibration and the result of the test. `history` and `kept` raise UserError with the reason if
    there is no history, or if its kept epoch is not the one in the record.
    """

    model: Path
    record: Record

    @cached_property
    def history(self) -> np.ndarray:
        """The history with a row per epoch, from where the record says, or from next to the model."""
        return _read_history(self._history_table)

    @cached_property
    def kept(self) -> int:
        """The row of the epoch whose weights are kept."""
        path, history = self._history_table, self.history
        rows = np.flatnonzero(history["epoch"] == self.record.kept_epoch)
        if not len(rows) or "val_accuracy" not in history.dtype.names:
            raise UserError(f"{path} does not hold the kept epoch, {self.record.kept_epoch}")
        recorded = self.record.validation.get("val_accuracy")
        if recorded is not None and abs(history["val_accuracy"][rows[0]] - recorded) > TOLERANCE:
            raise UserError(f"{path} is the history of another training")
        return int(rows[0])

    @property
    def command(self) -> str:
        """The command that repeats the training."""
        return training_command(self.record, str(self.model))

    def curves(self, title: str) -> TrainingCurves:
        """Return the training curves for a page; raises UserError as `kept` does."""
        return TrainingCurves(self.history, title, self.kept, stacked=True)

    @property
    def _history_table(self) -> Path:
        path = beside_history(Path(self.record.history), ".csv")
        for folder in (path.parent, self.model.parent):
            if (found := _with_name(folder, path.name)) is not None:
                return found
        raise UserError(f"there is no {path}")


def _with_name(folder: Path, name: str) -> Path | None:
    """Return the file in `folder` that a record calls `name`, which is escaped if it is no Unicode; None without."""
    if (folder / name).is_file():
        return folder / name
    if "\\" not in name or not folder.is_dir():
        return None
    return next((path for path in folder.iterdir() if escaped(path.name) == name and path.is_file()), None)


def _read_history(path: Path) -> np.ndarray:
    text = read_limited(path, what=str(path), limit=MOST_BYTES).decode(errors="replace")
    try:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(io.StringIO(text))]
        return history_array([row | {"epoch": int(row["epoch"])} for row in rows])
    except (KeyError, IndexError, TypeError, ValueError):
        raise UserError(f"{path} is not the history of a training") from None
