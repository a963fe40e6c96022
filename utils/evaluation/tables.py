"""Results as Markdown tables and lines of text."""

import itertools
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path

from utils.data.leak_report import short_form
from utils.runs.seen import mark, seen_cell, warnings

NAME_WIDTH = 26  # of the first column on a screen


def table(results: Sequence[dict]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the results of eval.py, the most important columns first."""
    header = ["model", "accuracy (95 % interval)", "seen", "clips", "top-5", "ms per clip", "GMAC", "parameters", "ECE"]
    header += ["loss", "MB", "clips/s"]
    rows = [
        [
            name,
            percent_with_interval(result["interval"]),
            seen_cell(result["seen"]),
            str(result["clips"]),
            number_text(result["top5"], "{:.1f} %", 100),
            number_text(result["milliseconds_per_clip"], "{:.1f}"),
            number_text(result["multiply_accumulates"], "{:.3f}", 1e-9),
            number_text(result["parameters"], "{:,}"),
            calibration_errors(result),
            "not finite" if result["loss"] is None else f"{result['loss']:.3f}",
            number_text(result["megabytes"], "{:.1f}"),
            f"{result['clips_per_second']:.1f}",
        ]
        for name, result in zip(names_of(results), results)
    ]
    return header, rows


def number_text(value: float | None, form: str, factor: float = 1) -> str:
    """Format a number times `factor`; "-" for None."""
    return "-" if value is None else form.format(value if factor == 1 else factor * value)


def ratio_text(mine: float, other: float) -> str:
    """Format the ratio of two costs for a sentence, as `25 % of` or `4 times`, without exponents."""
    if mine < other:
        return f"{100 * mine / other:.{1 if mine < other / 10 else 0}f} % of"
    return f"{mine / other:.{1 if mine < 10 * other else 0}f} times"


def calibration_errors(result: dict) -> str:
    """Format the expected calibration error in %, with that of calibrated probabilities, as `12.3 (4.5) %`."""
    if result["calibration_error"] is None:
        return "not finite"
    calibrated = result["calibrated"]
    after = "" if calibrated is None else f" ({100 * calibrated['calibration_error']:.1f})"
    return f"{100 * result['calibration_error']:.1f}{after} %"


def calibration_line(name: str, calibrated: dict) -> str:
    """Describe the calibration of a recogniser and what its threshold rejects."""
    shares = [
        f"{verb} {100 * calibrated[key]:.1f} % of {which} predictions"
        for verb, key, which in (("keeps", "kept_correct", "correct"), ("rejects", "rejected_wrong", "wrong"))
        if calibrated[key] is not None
    ]
    return (
        f"calibration of {name}: temperature {calibrated['temperature']:.3g} (ECE in brackets); threshold "
        f"{calibrated['threshold']:.3g} {' and '.join(shares)}."
    )


def shown_names(paths: Sequence[str]) -> dict[str, str]:
    """Return a label for each path: its file name, after as many folders as distinguish it from the others."""
    parts = {path: Path(path).parts for path in paths}
    names = {}
    for path, own in parts.items():
        others = [other for name, other in parts.items() if name != path]
        lengths = range(1, len(own) + 1)
        length = next((k for k in lengths if all(other[-k:] != own[-k:] for other in others)), len(own))
        names[path] = str(Path(*own[-length:]))
    return names


def names_of(results: Sequence[dict]) -> list[str]:
    """Return the name of each row of reproduce.py, or a label for each result of eval.py."""
    if any("name" in result for result in results):
        return [result["name"] for result in results]
    names = shown_names([result["recognizer"] for result in results])
    return [names[result["recognizer"]] for result in results]


def percent_with_interval(interval: dict) -> str:
    """Format an Interval's dict as `81.2 % (70.4 to 89.1)`."""
    text = f"{100 * interval['estimate']:.1f} %"
    return text if interval["low"] is None else f"{text} ({100 * interval['low']:.1f} to {100 * interval['high']:.1f})"


def points(interval: dict) -> str:
    """Format the Interval's dict of a difference in percentage points as `+4.2 (-1.0 to +9.4)`."""
    text = f"{100 * interval['estimate']:+.1f}"
    return (
        text if interval["low"] is None else f"{text} ({100 * interval['low']:+.1f} to {100 * interval['high']:+.1f})"
    )


def significance(comparison: dict) -> str:
    """Format the test of a `Comparison`'s dict as `significant, p = 0.012 by permutation over groups`."""
    p_value, test = comparison["p_value"], comparison["test"]
    return comparison["verdict"] + ("" if p_value is None else f", p = {p_value:.2g} by {test}")


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table with padded columns. The first column is left-aligned, the others are right-aligned.

    In cells, which may hold names of files, white space becomes single spaces and `|` is escaped.
    """
    header, *rows = ([" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in [header, *rows])
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells):
        padded = [cells[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:]))]
        return "| " + " | ".join(padded) + " |"

    rule = "| " + " | ".join(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]) + " |"
    return "\n".join([line(header), rule, *map(line, rows)])


def screen_table(header: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Format a table for a terminal of `width` columns, by default the present one, or 80.

    Headers and the names in the first column are wrapped. The last columns are left out if there is no room for them.
    """
    width = width or shutil.get_terminal_size((80, 24)).columns
    columns = []
    for number, cells in enumerate(zip(header, *rows)):
        cells = [" ".join(cell.split()) for cell in cells]
        widest = NAME_WIDTH if number == 0 else max(len(word) for word in [*cells[1:], *cells[0].split()])
        columns.append([textwrap.wrap(cell, widest) or [""] for cell in cells])
    widths = [max(len(line) for cell in column for line in cell) for column in columns]
    while len(widths) > 1 and sum(widths) + 2 * (len(widths) - 1) > width:
        widths.pop()
    heading, *found = [
        "\n".join(
            "  ".join([first.ljust(widths[0]), *(part.rjust(size) for part, size in zip(parts, widths[1:]))]).rstrip()
            for first, *parts in itertools.zip_longest(*cells[: len(widths)], fillvalue="")
        )
        for cells in zip(*columns)
    ]
    return "\n".join([heading, "-" * (sum(widths) + 2 * (len(widths) - 1)), *found])


def summary(results: Sequence[dict], compared: Sequence[dict]) -> str:
    """Format the table as Markdown, and below it `details`, for results.md."""
    return f"{markdown_table(*table(results))}\n\n{details(results, compared)}"


def details(results: Sequence[dict], compared: Sequence[dict]) -> str:
    """Format what belongs to the table as lines: warnings, views, intervals, calibration, comparisons, notes, leaks."""
    names = shown_names([result["recognizer"] for result in results])
    lines = unique(line for result in results for line in warnings(names[result["recognizer"]], result["seen"]))
    lines += unique(
        f"views: mean probabilities over {result['views']} views per clip; clips/s, ms and GMAC are for all of them."
        for result in results
        if result["views"] > 1
    )
    lines += unique(f"interval: {result['interval']['method']}. {result['interval']['caution']}" for result in results)
    lines += [
        calibration_line(names[result["recognizer"]], result["calibrated"])
        for result in results
        if result["calibrated"] is not None
    ]
    lines += unique(f"note: {note}" for result in results for note in result["notes"])
    lines += unique(short_form(result["leaks"]) for result in results if result["leaks"] is not None)
    for comparison in compared:
        first, second = (names[comparison[each]] + mark(comparison["seen"][each]) for each in ("first", "second"))
        lines.append(
            f"{first} minus {second}: {points(comparison['difference'])} "
            f"points, {significance(comparison)}; "
            f"same prediction for {100 * comparison['same_answer']:.1f} % of clips"
        )
    return "\n".join(line.rstrip() for line in lines)


def unique(lines) -> list[str]:
    """Remove repetitions and keep the order."""
    return list(dict.fromkeys(lines))
