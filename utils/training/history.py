"""The history of a training: one row an epoch, as .npy, .csv and a picture of the curves."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from utils.runtime.files import beside_history, write_bytes, write_text

TIMING_FIELDS = ("seconds", "clips_per_second", "wait_share")  # what differs when a training is repeated


def history_array(epochs: Sequence[Mapping[str, float]]) -> np.ndarray:
    """A structured array, one row an epoch and one field a metric; `epoch` is int64, the others float64."""
    names = list(epochs[0])
    dtype = [(name, np.int64 if name == "epoch" else np.float64) for name in names]
    return np.array([tuple(epoch[name] for name in names) for epoch in epochs], dtype=dtype)


def history_paths(log_path: Path) -> tuple[Path, Path, Path]:
    """The .npy, .csv and .png at `--log_path`."""
    return tuple(beside_history(log_path, suffix) for suffix in (".npy", ".csv", ".png"))


def save_history(history: np.ndarray, log_path: Path, *, title: str) -> Path:
    """Writes a history's three files and returns the path of the .npy, which needs no pickle to load."""
    from utils.runtime.drawing import save_figure
    from utils.training.history import TrainingCurves

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


@dataclass(frozen=True)
class TrainingCurves:
    """Loss and accuracy by epoch, training and validation, the kept epoch marked; `history` as in history.py."""

    history: np.ndarray
    title: str

    def plot(self):
        figure = Figure(figsize=(10, 4))
        loss_axes, accuracy_axes = figure.subplots(1, 2)
        names, epochs = self.history.dtype.names, self.history["epoch"]
        style = {"marker": "o", "markersize": 3} if len(epochs) <= 30 else {}
        for name, label in (
            ("loss", "training"),
            ("val_loss", "validation"),
            ("val_hard_loss", "validation, hard term"),
            ("val_soft_loss", "validation, soft term"),
        ):
            if name in names:
                loss_axes.plot(epochs, self.history[name], label=label, **style)
        for name, label in (
            ("accuracy", "training"),
            ("val_accuracy", "validation"),
            ("val_agreement", "agrees with the teacher (validation)"),
        ):
            if name in names:
                accuracy_axes.plot(epochs, 100 * self.history[name], label=label, **style)
        if "val_accuracy" in names:
            best = best_epoch(self.history)
            label = f"kept: epoch {epochs[best]}"
            accuracy_axes.axvline(epochs[best], color="0.7", linestyle=":", zorder=0, label=label)
        loss_axes.set(xlabel="epoch", ylabel="loss")
        accuracy_axes.set(xlabel="epoch", ylabel="clips (%)", ylim=(0, 102))
        for axes in (loss_axes, accuracy_axes):
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
            axes.legend(fontsize=8)
        figure.suptitle(self.title)
        return figure


def best_epoch(history: np.ndarray) -> int:
    """Row of the epoch that is kept: the highest validation accuracy; of equals the lowest validation loss, the first.

    An epoch whose validation loss is not finite is kept only if there is no other.
    """
    loss = history["val_hard_loss"] if "val_hard_loss" in history.dtype.names else history["val_loss"]
    accuracy = np.where(np.isfinite(loss), history["val_accuracy"], -1.0)
    return int(np.lexsort((np.arange(len(history)), loss, -accuracy))[0])
