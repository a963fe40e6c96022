"""Figures as display objects, which keep the data apart from the drawing; `plot` returns a matplotlib Figure."""

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps, ticker
from matplotlib.figure import Figure


@dataclass(frozen=True)
class ConfusionMatrix:
    """Counts int `(C, C)` of true (rows) and predicted (columns) classes, coloured by the share of the true class."""

    counts: np.ndarray
    class_names: tuple[str, ...]
    title: str

    def plot(self):
        classes = len(self.class_names)
        side = min(24, 2.8 + 0.42 * classes)
        figure = Figure(figsize=(side + 0.6, side))
        axes = figure.subplots()
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
    """Accuracies with their intervals, one bar per recogniser; `intervals` are dicts of `Interval`s, values 0..1."""

    names: list[str]
    intervals: list[dict]

    def plot(self):
        figure = Figure(figsize=(7, 0.8 + 0.6 * len(self.names)))
        axes = figure.subplots()
        estimates = 100 * np.array([interval["estimate"] for interval in self.intervals])
        positions = np.arange(len(self.names))[::-1]
        axes.barh(positions, estimates, color=colormaps["tab10"].colors[: len(self.names)], height=0.6, alpha=0.8)
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
    """Test accuracy of distilled students against temperature, one line per teacher and alpha.

    Dashed lines show the teachers and the student alone. `rows` are those of results.json of reproduce.py.
    """

    rows: list[dict]

    def plot(self):
        figure = Figure(figsize=(7, 4.2))
        axes = figure.subplots()
        colours = iter(colormaps["tab10"].colors)
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


def draw_with_intervals(axes, places: np.ndarray, intervals: list[dict], colour, label: str) -> None:
    """Draw estimates (0..1) as points in %, each with its interval as a vertical bar if there is one."""
    axes.plot(places, [100 * interval["estimate"] for interval in intervals], "o-", color=colour, label=label)
    for place, interval in zip(places, intervals):
        if interval["low"] is not None:
            axes.plot([place, place], [100 * interval["low"], 100 * interval["high"]], color=colour, linewidth=1)


@dataclass(frozen=True)
class AccuracyByCost:
    """Test accuracy against multiply-accumulates per clip (logarithmic), one point per row of results.json."""

    rows: list[dict]

    def plot(self):
        figure = Figure(figsize=(7, 4.2))
        axes = figure.subplots()
        colours = [*colormaps["tab20"].colors]
        costs = [row["multiply_accumulates"] / 1e9 for row in self.rows]
        for number, (row, cost) in enumerate(zip(self.rows, costs)):
            same = [other for other, value in enumerate(costs) if value == cost]
            place = cost * 1.06 ** (same.index(number) - (len(same) - 1) / 2)  # equal costs next to each other
            draw_with_intervals(axes, np.array([place]), [row["interval"]], colours[number % 20], row["name"])
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(ticker.NullFormatter())
        axes.set(xlabel="10⁹ multiply-accumulates per clip", ylabel="test accuracy (%), 95 % interval", ylim=(0, 102))
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1))
        return figure
