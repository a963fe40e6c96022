"""Figures as display objects, which keep the data apart from the drawing; `plot` returns a matplotlib Figure."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps, ticker
from matplotlib.figure import Figure

from utils.evaluation.seen import mark
from utils.runtime.drawing import label

COUNTED_CLASSES = 30  # with more classes, a confusion matrix has no numbers in its cells
LEGEND_ROWS = 28  # entries in a column of a legend beside the axes
HIGHEST = 400  # inches; matplotlib refuses images of 2^16 pixels or more
MARKERS = "os^DvPX*<>"


@dataclass(frozen=True)
class ConfusionMatrix:
    """Counts int `(C, C)` of true (rows) and predicted (columns) classes, coloured by the share of the true class."""

    counts: np.ndarray
    class_names: tuple[str, ...]
    title: str

    def plot(self) -> Figure:
        classes = len(self.class_names)
        side = min(24, 2.8 + 0.42 * classes)
        figure = Figure(figsize=(side + 0.6, side))
        axes = figure.subplots()
        shares = self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        cell = 72 * (side - 2.8) / max(classes, 1)  # in points
        named = range(0, classes, max(1, int(np.ceil(7 / max(cell, 1e-6)))))  # every class that has room for its name
        names = [label(self.class_names[number], 40) for number in named]
        font = min(9, max(5, 0.6 * cell))
        axes.set_xticks(named, names, rotation=90, fontsize=font)
        axes.set_yticks(named, names, fontsize=font)
        if classes <= COUNTED_CLASSES:
            for row, column in zip(*np.nonzero(self.counts)):
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, self.counts[row, column], ha="center", va="center", color=colour, fontsize=8)
        axes.set(xlabel="predicted class", ylabel="true class", title=label(self.title, 90))
        figure.colorbar(image, ax=axes, label="share of the true class", fraction=0.046, pad=0.03)
        return figure


@dataclass(frozen=True)
class AccuracyBars:
    """Accuracies with their intervals, one bar per recogniser; `intervals` are dicts of `Interval`s, values 0..1."""

    names: list[str]
    intervals: list[dict]

    def plot(self) -> Figure:
        count = len(self.names)
        height = min(
            0.6 if count <= 20 else 0.3, 400 / max(count, 1)
        )  # of a bar in inches; a PNG has at most 2^16 rows
        figure = Figure(figsize=(7, 0.8 + height * max(count, 1)))
        axes = figure.subplots()
        estimates = 100 * np.array([interval["estimate"] for interval in self.intervals])
        positions = np.arange(len(self.names))[::-1]
        colours = [colour for colour, _ in itertools.islice(styles("tab10"), len(self.names))]
        axes.barh(positions, np.clip(estimates, 0, 100), color=colours, height=0.6, alpha=0.8)
        for position, estimate, interval in zip(positions, estimates, self.intervals):
            ends = [estimate]
            if interval["low"] is not None:
                bounds = np.clip([100 * interval["low"], 100 * interval["high"]], 0, 100)
                axes.plot(bounds, [position, position], color="black", linewidth=1.5, marker="|", markersize=10)
                ends.append(bounds[1])
            end = np.nan_to_num(np.clip(max(ends), 0, 100))
            axes.text(end + 1.5, position, f"{estimate:.1f} %", va="center")
        axes.set_yticks(positions, [label(name, 80) for name in self.names])
        axes.set(
            xlabel="accuracy on test clips (%), with 95 % interval", xlim=(0, 112), ylim=(-0.6, max(count, 1) - 0.4)
        )
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

    def plot(self) -> Figure:
        figure = Figure(figsize=(7, 4.2))
        axes = figure.subplots()
        style = styles("tab10")
        distilled = [row for row in self.rows if row["role"] == "distilled"]
        for row in self.rows:
            if row["role"] in ("alone", "teacher"):
                colour, _ = next(style)
                name = label(row["name"] + mark(row["seen"]), 80)
                axes.axhline(100 * row["interval"]["estimate"], color=colour, linestyle="--", label=name)
        temperatures = sorted({row["temperature"] for row in distilled})
        position = {temperature: place for place, temperature in enumerate(temperatures)}
        lines = list(dict.fromkeys((row["teacher"], row["alpha"]) for row in distilled))
        step = min(0.08, 0.6 / max(len(lines), 1))
        for number, (teacher, alpha) in enumerate(lines):
            line = sorted(
                (row for row in distilled if (row["teacher"], row["alpha"]) == (teacher, alpha)),
                key=lambda row: row["temperature"],
            )
            places = np.array([position[row["temperature"]] for row in line])
            places = places + step * (number - (len(lines) - 1) / 2)
            colour, marker = next(style)
            seen = next(filter(None, (mark(row["seen"]) for row in line)), "")
            name = label(f"student of {teacher}, alpha {alpha:g}{seen}", 80)
            draw_with_intervals(axes, places, [row["interval"] for row in line], colour, marker, name)
            validation = [100 * row["validation_accuracy"] for row in line]
            axes.plot(places, validation, color=colour, linestyle=":", marker="x", label=f"{name}, validation")
        axes.set_xticks(range(len(temperatures)), [f"{temperature:g}" for temperature in temperatures])
        axes.set(xlabel="temperature", ylabel="accuracy (%), test with 95 % interval", ylim=(0, 102))
        axes.grid(alpha=0.3)
        add_legend(axes)
        return figure


@dataclass(frozen=True)
class AccuracyByCost:
    """Test accuracy against multiply-accumulates per clip (logarithmic), one point per row of results.json."""

    rows: list[dict]

    def plot(self) -> Figure:
        figure = Figure(figsize=(7, 4.2))
        axes = figure.subplots()
        costs = [row["multiply_accumulates"] / 1e9 for row in self.rows]
        for number, (row, cost, (colour, marker)) in enumerate(zip(self.rows, costs, styles("tab20"))):
            same = [other for other, value in enumerate(costs) if value == cost]
            step = min(0.06, 0.6 / len(same))
            place = cost * np.exp(step * (same.index(number) - (len(same) - 1) / 2))  # equal costs next to each other
            name = label(row["name"] + mark(row["seen"]), 80)
            draw_with_intervals(axes, np.array([place]), [row["interval"]], colour, marker, name)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(ticker.NullFormatter())
        axes.set(xlabel="10⁹ multiply-accumulates per clip", ylabel="test accuracy (%), 95 % interval", ylim=(0, 102))
        axes.grid(alpha=0.3, which="both")
        add_legend(axes)
        return figure


def styles(palette: str) -> Iterator[tuple]:
    """Yield colours of a matplotlib palette with markers, without end; the marker changes when colours repeat."""
    for marker in itertools.cycle(MARKERS):
        for colour in colormaps[palette].colors:
            yield colour, marker


def add_legend(axes) -> None:
    """Add a legend to the right of the axes, in columns that are as high as they are; none without entries."""
    handles, names = axes.get_legend_handles_labels()
    if handles:
        columns = -(-len(handles) // LEGEND_ROWS)
        axes.legend(handles, names, fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1), ncols=columns)


def draw_with_intervals(axes, places: np.ndarray, intervals: list[dict], colour, marker: str, name: str) -> None:
    """Draw estimates (0..1) as points in %, each with its interval as a vertical bar if there is one."""
    estimates = [100 * interval["estimate"] for interval in intervals]
    axes.plot(places, estimates, f"{marker}-", color=colour, label=name)
    for place, interval in zip(places, intervals):
        if interval["low"] is not None:
            axes.plot([place, place], [100 * interval["low"], 100 * interval["high"]], color=colour, linewidth=1)
