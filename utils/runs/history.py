"""The history of a training: one row per epoch, as .npy, as .csv and as curves in a .png."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from utils.base.drawing import Display, label, save_figure
from utils.base.files import write_bytes, write_csv
from utils.runs.paths import RunFiles

TIMING_FIELDS = ("seconds", "clips_per_second")  # differ when a training is repeated


def history_array(epochs: Sequence[Mapping[str, float]]) -> np.ndarray:
    """Return a structured array with a row per epoch and a field per metric; `epoch` is int64, the others float64."""
    names = list(epochs[0])
    dtype = [(name, np.int64 if name == "epoch" else np.float64) for name in names]
    return np.array([tuple(epoch[name] for name in names) for epoch in epochs], dtype=dtype)


def save_history(history: np.ndarray, files: RunFiles) -> None:
    """Write a history as .npy without pickle and as .csv."""
    array = io.BytesIO()
    np.save(array, history, allow_pickle=False)
    write_bytes(files.history, array.getvalue())
    write_csv(files.history_table, history.dtype.names, history.tolist())


def draw_history(history: np.ndarray, files: RunFiles, *, title: str, kept: int) -> None:
    """Draw the curves of a history as .png; call it after the model is saved."""
    save_figure(TrainingCurves(history, title, kept), files.curves)


@dataclass(eq=False)
class TrainingCurves(Display):
    """Loss and accuracy of training and validation by epoch in two panels, with the kept epoch marked.

    The terms of a distillation loss are in the CSV alone: a hard term of weight 0.1 would set the scale of the panel.

    kept: row of the epoch whose weights are kept. stacked: one panel above the other, for narrow pages.
    """

    history: np.ndarray
    title: str
    kept: int
    stacked: bool = False

    def new_axes(self) -> np.ndarray:
        from matplotlib.figure import Figure

        if self.stacked:
            return Figure(figsize=(5.2, 6)).subplots(2, 1, gridspec_kw={"hspace": 0.35})
        return Figure(figsize=(10, 4)).subplots(1, 2)

    def draw(self, ax) -> None:
        loss_axes, accuracy_axes = ax
        names, epochs = self.history.dtype.names, self.history["epoch"]
        style = {"marker": "o", "markersize": 3} if len(epochs) <= 30 else {}
        for axes, factor, name, text in (
            (loss_axes, 1, "loss", "training"),
            (loss_axes, 1, "val_loss", "validation"),
            (accuracy_axes, 100, "accuracy", "training"),
            (accuracy_axes, 100, "val_accuracy", "validation"),
            (accuracy_axes, 100, "val_agreement", "agreement with the teacher (validation)"),
        ):
            if name in names:
                axes.plot(epochs, factor * self.history[name], label=text, **style)
        if "val_accuracy" in names and self.kept < len(epochs):
            number = epochs[self.kept]
            accuracy_axes.axvline(number, color="0.7", linestyle=":", zorder=0, label=f"kept epoch: {number}")
        loss_axes.set(xlabel="epoch", ylabel="loss")
        accuracy_axes.set(xlabel="epoch", ylabel="clips (%)", ylim=(0, 102))
        for axes in (loss_axes, accuracy_axes):
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(fontsize=10)
        if self.is_new_figure_:
            self.figure_.suptitle(label(self.title, 100))


def kept_epoch(history: np.ndarray, *, keep: str, epochs: int) -> int:
    """Return the row of the epoch whose weights are kept: the best one, or with `keep` "last" the last of `epochs`.

    With "last", a training that ended early, or whose last validation loss is not finite, keeps its best epoch. The
    learning rate of an earlier epoch has not decayed yet, and few validation clips rank the epochs by chance.
    """
    is_complete = len(history) >= epochs and has_finite_losses(history)[-1]
    return len(history) - 1 if keep == "last" and is_complete else best_epoch(history)


def best_epoch(history: np.ndarray) -> int:
    """Return the row of the best epoch: the highest validation accuracy, then the lowest validation loss.

    Of equal epochs it is the first. For a Distiller, the loss is the hard loss. An epoch with a validation loss that is
    not finite is chosen only if there is no other.
    """
    loss = history["val_hard_loss"] if "val_hard_loss" in history.dtype.names else history["val_loss"]
    accuracy = np.where(has_finite_losses(history), history["val_accuracy"], -1.0)
    return int(np.lexsort((np.arange(len(history)), loss, -accuracy))[0])


def has_finite_losses(history: np.ndarray) -> np.ndarray:
    """Return whether all validation losses of an epoch are finite: bool, one per epoch."""
    names = [name for name in history.dtype.names if name.startswith("val_") and name.endswith("loss")]
    return np.all([np.isfinite(history[name]) for name in names], axis=0)
