"""What the record of a recogniser and the files next to it say about its training."""

import csv
import io
import re
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.base.files import beside_history, escaped, read_limited
from utils.networks.recognizer import Recognizer
from utils.runs.history import TrainingCurves, history_array

MOST_BYTES = 32 * 2**20  # of a history or a log
COMMAND = re.compile(r"^\S+ \S+  === (.*)$", re.MULTILINE)  # see `header` in utils/base/run_log.py
TOLERANCE = 1e-4  # between the kept epoch in the history and in the record


def training_curves(recognizer: Recognizer, title: str) -> TrainingCurves:
    """Return the curves of a recogniser's training from its history as CSV.

    The history is looked for where the record says, then next to the model. Raises UserError with the reason if there
    is none, or if its kept epoch is not the one in the record.
    """
    path, record = _found(recognizer, ".csv"), recognizer.record
    history = _read_history(path)
    rows = np.flatnonzero(history["epoch"] == record.kept_epoch)
    recorded = record.validation.get("val_accuracy")
    if not len(rows) or "val_accuracy" not in history.dtype.names:
        raise UserError(f"{path} does not hold the kept epoch, {record.kept_epoch}")
    if recorded is not None and abs(history["val_accuracy"][rows[0]] - recorded) > TOLERANCE:
        raise UserError(f"{path} is the history of another training")
    return TrainingCurves(history, title, int(rows[0]), stacked=True)


def training_command(recognizer: Recognizer) -> str | None:
    """Return the last command in the log of the training, None if there is no log."""
    try:
        log = read_limited(_found(recognizer, ".log"), what="the log", limit=MOST_BYTES).decode(errors="replace")
    except (UserError, OSError):
        return None
    commands = COMMAND.findall(log)
    return commands[-1] if commands else None


def _found(recognizer: Recognizer, suffix: str) -> Path:
    """Return the path of the history with another suffix. Raises UserError if there is no such file."""
    if recognizer.record is None:
        raise UserError("there is no record, so the history of the training is unknown")
    path = beside_history(Path(recognizer.record.history), suffix)
    for folder in (path.parent, recognizer.path.parent):
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
