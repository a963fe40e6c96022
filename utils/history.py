"""The history of a training: one row an epoch, as .npy, .csv and a picture of the curves."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from utils.files import write_bytes, write_text

TIMING_FIELDS = ("seconds", "clips_per_second", "wait_share")  # what differs when a training is repeated


def history_array(epochs: Sequence[Mapping[str, float]]) -> np.ndarray:
    """A structured array, one row an epoch and one field a metric; `epoch` is int64, the others float64."""
    names = list(epochs[0])
    dtype = [(name, np.int64 if name == "epoch" else np.float64) for name in names]
    return np.array([tuple(epoch[name] for name in names) for epoch in epochs], dtype=dtype)


def beside_history(log_path: Path, suffix: str) -> Path:
    """The file with this suffix at `--log_path`, which may or may not end in .npy."""
    stem = log_path.with_suffix("") if log_path.suffix == ".npy" else log_path
    return stem.with_name(stem.name + suffix)


def history_paths(log_path: Path) -> tuple[Path, Path, Path]:
    """The .npy, .csv and .png at `--log_path`."""
    return tuple(beside_history(log_path, suffix) for suffix in (".npy", ".csv", ".png"))


def save_history(history: np.ndarray, log_path: Path, *, title: str) -> Path:
    """Writes a history's three files and returns the path of the .npy, which needs no pickle to load."""
    from utils.figures import TrainingCurves, save_figure

    array_path, table_path, picture_path = history_paths(log_path)
    array = io.BytesIO()
    np.save(array, history, allow_pickle=False)
    write_bytes(array_path, array.getvalue())
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(history.dtype.names)
    writer.writerows(history.tolist())
    write_text(table_path, table.getvalue())
    save_figure(TrainingCurves(history, title), picture_path)
    return array_path
