"""The table of an export, and its figure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from utils.base.drawing import Display, label
from utils.base.files import plain
from utils.evaluation.figures import add_legend, draw_with_intervals, styles
from utils.evaluation.tables import markdown_table, percent_with_interval
from utils.export.measuring import Measurement, measured
from utils.export.verification import Verification
from utils.networks.formats.format import files_of
from utils.networks.formats.opening import format_of


def row_of(
    path: Path,
    kind: str,
    precision: str,
    verification: Verification,
    threads: int | None,
) -> dict:
    """Return a row of the table as plain values for JSON; it is measured on up to `threads` threads unless None.

    in_float: which operators of a quantised file compute in float32. Values that were not measured are None.
    """
    measurement = None
    if threads is not None:
        print(f"measuring {path.name} in {precision}")
        measurement = measured(path, threads, "bfloat16" if precision == "bfloat16" else "float32")
    unknown = dict.fromkeys(Measurement.__dataclass_fields__)
    return plain(
        {
            "file": path.name,
            "format": kind,
            "precision": precision,
            "megabytes": sum(file.stat().st_size for file in files_of(path)) / 1e6,
            **(unknown if measurement is None else asdict(measurement)),
            "agreement": verification.agreement,
            "largest_difference": verification.largest_difference,
            "accuracy": None if verification.accuracy is None else asdict(verification.accuracy),
            "in_float": in_float(path, kind) if precision == "int8" else {},
        }
    )


def in_float(path: Path, kind: str) -> dict[str, str]:
    """Return which operators of a quantised file compute in float32, as "2 of 8" by kind of operator.

    Only convolutions and matrix products are considered, which take nearly all of the time.
    """
    operators = format_of(kind).operators(path)
    total, floating = Counter(name for name, _ in operators), Counter(name for name, is_int in operators if not is_int)
    return {name: f"{count} of {total[name]}" for name, count in sorted(floating.items())}


def table(rows: Sequence[dict], threads: int) -> str:
    """Format the rows as a Markdown table. `threads` is the number of threads of the second latency."""
    several = "1 thread" if threads == 1 else f"{threads} threads"
    header = ["file", "precision", "MB", "ms per clip, 1 thread"]
    header += [] if threads == 1 else [f"ms per clip, {several}"]
    header += ["peak MB", "agreement", "largest difference", "accuracy (95 % interval)"]
    lines = []
    for row in rows:
        times = [row["milliseconds_one_thread"], row["milliseconds"]][: 1 if threads == 1 else 2]
        lines.append(
            [
                row["file"],
                row["precision"],
                f"{row['megabytes']:.1f}",
                *(number(value, ".1f") for value in times),
                number(row["peak_megabytes"], ".0f"),
                f"{100 * row['agreement']:.1f} %",
                f"{row['largest_difference']:.1g}",
                "-" if row["accuracy"] is None else percent_with_interval(row["accuracy"]),
            ]
        )
    return markdown_table(header, lines)


def number(value: float | None, form: str) -> str:
    """Format a number, or "-" for None."""
    return "-" if value is None else format(value, form)


def notes_of(rows: Sequence[dict]) -> list[str]:
    """Return sentences on what stays in float32, on intervals, and on files that could not be measured."""
    notes = []
    for row in rows:
        if row["in_float"]:
            parts = ", ".join(f"{count} {kind}" for kind, count in row["in_float"].items())
            notes.append(f"{row['file']}: float32 in {parts}; all other convolutions and matrix products in int8.")
        elif row["precision"] == "int8":
            notes.append(f"{row['file']}: all convolutions and matrix products in int8.")
    intervals = [row["accuracy"] for row in rows if row["accuracy"] is not None]
    notes += [f"interval: {each['method']}, {each['n']} clips. {each['caution']}".rstrip() for each in intervals]
    return list(dict.fromkeys(notes))


@dataclass(eq=False)
class AccuracyByLatency(Display):
    """Accuracy on test clips, or agreement with Keras without any, against ms per clip, one point per row."""

    rows: list[dict]
    threads: int

    def size(self) -> tuple[float, float]:
        return 7, 4.2

    def draw(self, ax) -> None:
        has_accuracy = all(row["accuracy"] is not None for row in self.rows)
        for row, (colour, marker) in zip(self.rows, styles("tab10")):
            known = {"estimate": row["agreement"], "low": None, "high": None}
            value = row["accuracy"] if has_accuracy else known
            name = label(f"{row['file']}, {row['precision']}", 80)
            draw_with_intervals(ax, np.array([row["milliseconds"]]), [value], colour, marker, name)
        what = "test accuracy (%), 95 % interval" if has_accuracy else "agreement with Keras (% of clips)"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        ax.set(xlabel=f"ms per clip, one clip at a time, {threads}", ylabel=what, ylim=(0, 102))
        ax.set_xlim(left=0)
        ax.grid(alpha=0.3)
        add_legend(ax)
