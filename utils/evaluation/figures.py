"""Figures of the accuracies of several recognisers."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps, ticker

from utils.base.drawing import Display, label
from utils.evaluation.tables import names_of
from utils.runs.seen import mark

LEGEND_ROWS = 28  # entries in a column of a legend
HIGHEST = 400  # inches; matplotlib refuses images of 2^16 pixels or more
MARKERS = "os^DvPX*<>"


@dataclass(eq=False)
class AccuracyBars(Display):
    """Accuracies with their intervals, one bar per recogniser; `intervals` are dicts of `Interval`s, values 0..1."""

    names: list[str]
    intervals: list[dict]

    @classmethod
    def from_results(cls, results: Sequence[dict]) -> "AccuracyBars":
        """Return the bars of the results of eval.py, or of the rows of reproduce.py."""
        names = [name + mark(result["seen"]) for name, result in zip(names_of(results), results)]
        return cls(names, [result["interval"] for result in results])

    def size(self) -> tuple[float, float]:
        count = max(len(self.names), 1)
        height = min(0.6 if count <= 20 else 0.3, HIGHEST / count)  # of a bar
        return 5.2, 0.8 + height * count

    def draw(self, ax) -> None:
        estimates = 100 * np.array([interval["estimate"] for interval in self.intervals])
        positions = np.arange(len(self.names))[::-1]
        colours = [colour for colour, _ in itertools.islice(styles("tab10"), len(self.names))]
        ax.barh(positions, np.clip(estimates, 0, 100), color=colours, height=0.6, alpha=0.8)
        for position, estimate, interval in zip(positions, estimates, self.intervals):
            ends = [estimate]
            if interval["low"] is not None:
                bounds = np.clip([100 * interval["low"], 100 * interval["high"]], 0, 100)
                ax.plot(bounds, [position, position], color="black", linewidth=1.5, marker="|", markersize=10)
                ends.append(bounds[1])
            end = np.nan_to_num(np.clip(max(ends), 0, 100))
            ax.text(end + 1.5, position, f"{estimate:.1f} %", va="center")
        ax.set_yticks(positions, [label(name, 40) for name in self.names])
        ax.set(xlabel="accuracy on test clips (%), with 95 % interval")
        ax.set(xlim=(0, 118), ylim=(-0.6, max(len(self.names), 1) - 0.4))
        ax.set_xticks(range(0, 101, 20))
        ax.grid(axis="x", alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)


@dataclass(eq=False)
class AccuracyByTemperature(Display):
    """Test accuracy of distilled students against temperature, one line per teacher and alpha.

    Dashed lines show the teachers and the student alone. `rows` are those of results.json of reproduce.py.
    """

    rows: list[dict]

    @classmethod
    def from_results(cls, rows: Sequence[dict]) -> "AccuracyByTemperature":
        """Return the display of the rows in results.json of reproduce.py."""
        return cls(list(rows))

    def draw(self, ax) -> None:
        style = styles("tab10")
        distilled = [row for row in self.rows if row["role"] == "distilled"]
        for row in self.rows:
            if row["role"] in ("alone", "teacher"):
                colour, _ = next(style)
                name = label(row["name"] + mark(row["seen"]), 80)
                ax.axhline(100 * row["interval"]["estimate"], color=colour, linestyle="--", label=name)
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
            draw_with_intervals(ax, places, [row["interval"] for row in line], colour, marker, name)
            validation = [100 * row["validation_accuracy"] for row in line]
            ax.plot(places, validation, color=colour, linestyle=":", marker="x", label=f"{name}, validation")
        ax.set_xticks(range(len(temperatures)), [f"{temperature:g}" for temperature in temperatures])
        ax.set(xlabel="temperature", ylabel="accuracy (%), test with 95 % interval", ylim=(0, 102))
        ax.grid(alpha=0.3)
        add_legend(ax)


@dataclass(eq=False)
class AccuracyByCost(Display):
    """Test accuracy against multiply-accumulates per clip (logarithmic), one point per recogniser."""

    rows: list[dict]

    @classmethod
    def from_results(cls, results: Sequence[dict]) -> "AccuracyByCost":
        """Return the display of the results of eval.py, or of the rows of reproduce.py, whose cost is known."""
        named = [{"name": name, **result} for name, result in zip(names_of(results), results)]
        return cls([row for row in named if row["multiply_accumulates"]])

    def draw(self, ax) -> None:
        for number, (row, (colour, _)) in enumerate(zip(self.rows, styles("tab10"))):
            same = [other["multiply_accumulates"] == row["multiply_accumulates"] for other in self.rows[number:]]
            name, place = label(row["name"] + mark(row["seen"]), 80), np.array([row["multiply_accumulates"] / 1e9])
            # bars of equal cost lie over each other, the later ones narrower
            draw_with_intervals(ax, place, [row["interval"]], colour, MARKERS[number % len(MARKERS)], name, sum(same))
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(ticker.NullFormatter())
        ax.set(xlabel="10⁹ multiply-accumulates per clip", ylabel="test accuracy (%), 95 % interval", ylim=(0, 102))
        ax.grid(alpha=0.3, which="both")
        add_legend(ax)


def styles(palette: str) -> Iterator[tuple]:
    """Yield colours of a matplotlib palette with markers, without end; the marker changes when colours repeat."""
    for marker in itertools.cycle(MARKERS):
        for colour in colormaps[palette].colors:
            yield colour, marker


def add_legend(ax) -> None:
    """Add a legend below the axes, in columns of LEGEND_ROWS entries; none without entries."""
    handles, names = ax.get_legend_handles_labels()
    if handles:
        columns = -(-len(handles) // LEGEND_ROWS)
        below = -0.5 / (ax.get_position().height * ax.figure.get_figheight())  # half an inch
        place = {"loc": "upper left", "bbox_to_anchor": (0, below), "borderaxespad": 0}
        ax.legend(handles, names, fontsize=10, frameon=False, ncols=columns, **place)


def draw_with_intervals(
    ax, places: np.ndarray, intervals: list[dict], colour, marker: str, name: str, width: float = 1
) -> None:
    """Draw estimates (0..1) as points in %, each with its interval as a vertical bar of `width` if there is one."""
    estimates = [100 * interval["estimate"] for interval in intervals]
    ax.plot(places, estimates, f"{marker}-", color=colour, label=name, markersize=5 + width, zorder=3)
    for place, interval in zip(places, intervals):
        if interval["low"] is not None:
            bounds = [100 * interval["low"], 100 * interval["high"]]
            ax.plot([place, place], bounds, color=colour, linewidth=2 * width - 1, alpha=0.8, solid_capstyle="butt")
