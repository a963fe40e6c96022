"""Pictures, as Display objects: what is shown is kept apart from how it is drawn."""

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib import ticker

from utils.files import written_beside


def save_figure(display, path: str | Path) -> None:
    """Draws a Display and writes it as PNG, complete or not at all."""
    figure = display.plot()
    try:
        with written_beside(Path(path)) as temporary:
            figure.savefig(temporary, dpi=120, bbox_inches="tight")
    finally:
        plt.close(figure)


@dataclass(frozen=True)
class TrainingCurves:
    """Loss and accuracy by epoch, training and validation, the kept epoch marked; `history` as in utils/history.py."""

    history: np.ndarray
    title: str

    def plot(self):
        figure, (loss_axes, accuracy_axes) = plt.subplots(1, 2, figsize=(10, 4))
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


@dataclass(frozen=True)
class ConfusionMatrix:
    """Counts `(C, C)` of true (rows) and predicted (columns) classes, coloured by the share of the true class."""

    counts: np.ndarray
    class_names: tuple[str, ...]
    title: str

    def plot(self):
        classes = len(self.class_names)
        side = min(24, 2.8 + 0.42 * classes)
        figure, axes = plt.subplots(figsize=(side + 0.6, side))
        shares = self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        font = 9 if classes <= 30 else 5
        axes.set_xticks(range(classes), self.class_names, rotation=90, fontsize=font)
        axes.set_yticks(range(classes), self.class_names, fontsize=font)
        if classes <= 30:
            for row, column in zip(*np.nonzero(self.counts)):
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, self.counts[row, column], ha="center", va="center", color=colour, fontsize=8)
        axes.set(xlabel="predicted class", ylabel="true class", title=self.title)
        figure.colorbar(image, ax=axes, label="share of the true class", fraction=0.046, pad=0.03)
        return figure


@dataclass(frozen=True)
class AccuracyBars:
    """Accuracies (0..1) with their intervals, one bar a recogniser; `intervals` hold estimate, low and high."""

    names: list[str]
    intervals: list[dict]

    def plot(self):
        figure, axes = plt.subplots(figsize=(7, 0.8 + 0.6 * len(self.names)))
        estimates = 100 * np.array([interval["estimate"] for interval in self.intervals])
        positions = np.arange(len(self.names))[::-1]
        axes.barh(positions, estimates, color=plt.get_cmap("tab10").colors[: len(self.names)], height=0.6, alpha=0.8)
        for position, estimate, interval in zip(positions, estimates, self.intervals):
            end = estimate
            if interval["low"] is not None:
                low, high = 100 * interval["low"], 100 * interval["high"]
                axes.plot([low, high], [position, position], color="black", linewidth=1.5, marker="|", markersize=10)
                end = max(estimate, high)
            axes.text(end + 1.5, position, f"{estimate:.1f} %", va="center")
        axes.set_yticks(positions, self.names)
        axes.set(xlabel="accuracy on test clips (%), with 95 % interval", xlim=(0, 112))
        axes.set_xticks(range(0, 101, 20))
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        return figure


@dataclass(frozen=True)
class AccuracyByTemperature:
    """Test accuracy of distilled students by temperature, a line a teacher and alpha, beside teacher and student alone.

    `rows` are those of an experiment's results.json.
    """

    rows: list[dict]

    def plot(self):
        figure, axes = plt.subplots(figsize=(7, 4.2))
        colours = iter(plt.get_cmap("tab10").colors)
        distilled = [row for row in self.rows if row["role"] == "distilled"]
        for row in self.rows:
            if row["role"] in ("alone", "teacher"):
                axes.axhline(100 * row["interval"]["estimate"], color=next(colours), linestyle="--", label=row["name"])
        temperatures = sorted({row["temperature"] for row in distilled})
        position = {temperature: place for place, temperature in enumerate(temperatures)}
        lines = list(dict.fromkeys((row["teacher"], row["alpha"]) for row in distilled))
        for number, (teacher, alpha) in enumerate(lines):
            line = sorted(
                (row for row in distilled if (row["teacher"], row["alpha"]) == (teacher, alpha)),
                key=lambda row: row["temperature"],
            )
            places = np.array([position[row["temperature"]] for row in line])
            shift, colour = 0.08 * (number - (len(lines) - 1) / 2), next(colours)
            label = line[0]["name"].partition(", T ")[0] + f", alpha {alpha:g}"
            draw_with_intervals(axes, places + shift, [row["interval"] for row in line], colour, label)
            validation = [100 * row["validation_accuracy"] for row in line]
            axes.plot(places + shift, validation, color=colour, linestyle=":", marker="x", label=f"{label}, validation")
        axes.set_xticks(range(len(temperatures)), [f"{temperature:g}" for temperature in temperatures])
        axes.set(xlabel="temperature", ylabel="accuracy (%), test with 95 % interval", ylim=(0, 102))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1))
        return figure


def draw_with_intervals(axes, places: np.ndarray, intervals: list[dict], colour, label: str, **style) -> None:
    """Estimates (0..1) as points in %, each with a bar from low to high where there is an interval."""
    axes.plot(places, [100 * interval["estimate"] for interval in intervals], "o-", color=colour, label=label, **style)
    for place, interval in zip(places, intervals):
        if interval["low"] is not None:
            axes.plot([place, place], [100 * interval["low"], 100 * interval["high"]], color=colour, linewidth=1)


@dataclass(frozen=True)
class AccuracyByCost:
    """Test accuracy against multiply-accumulates a clip (logarithmic), one point a line of an experiment's table."""

    rows: list[dict]

    def plot(self):
        figure, axes = plt.subplots(figsize=(7, 4.2))
        colours = [*plt.get_cmap("tab20").colors]
        costs = [row["multiply_accumulates"] / 1e9 for row in self.rows]
        for number, (row, cost) in enumerate(zip(self.rows, costs)):
            same = [other for other, value in enumerate(costs) if value == cost]
            place = cost * 1.06 ** (same.index(number) - (len(same) - 1) / 2)  # beside each other, not on each other
            draw_with_intervals(axes, np.array([place]), [row["interval"]], colours[number % 20], row["name"])
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(ticker.NullFormatter())
        axes.set(xlabel="billion multiply-accumulates a clip", ylabel="test accuracy (%), 95 % interval", ylim=(0, 102))
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1))
        return figure
