"""Results as Markdown tables and lines of text."""

from collections.abc import Sequence
from pathlib import Path

from utils.data.leak_report import short_form
from utils.runs.seen import mark, seen_cell, warnings


def table(results: Sequence[dict]) -> str:
    """Format the results of eval.py as a Markdown table."""
    header = ["recogniser", "clips", "seen", "top-1 (95 % interval)", "top-5", "loss", "ECE", "clips/s"]
    header += ["parameters", "GMAC", "MB"]
    names = shown_names([result["recognizer"] for result in results])
    rows = [
        [
            names[result["recognizer"]],
            str(result["clips"]),
            seen_cell(result["seen"]),
            percent_with_interval(result["interval"]),
            "-" if result["top5"] is None else f"{100 * result['top5']:.1f} %",
            "not finite" if result["loss"] is None else f"{result['loss']:.3f}",
            calibration_errors(result),
            f"{result['clips_per_second']:.1f}",
            "unknown" if result["parameters"] is None else f"{result['parameters']:,}",
            "unknown" if result["multiply_accumulates"] is None else f"{result['multiply_accumulates'] / 1e9:.2f}",
            f"{result['megabytes']:.1f}",
        ]
        for result in results
    ]
    return markdown_table(header, rows)


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
    """Format the test of a `Comparison`'s dict as `significant (p = 0.012, McNemar, exact)`."""
    p_value, test = comparison["p_value"], comparison["test"]
    return f"{comparison['verdict']} ({test if p_value is None else f'p = {p_value:.2g}, {test}'})"


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


def summary(results: Sequence[dict], compared: Sequence[dict]) -> str:
    """Format the table, the methods of the intervals, the comparisons, notes and leaks as text."""
    names = shown_names([result["recognizer"] for result in results])
    lines = [table(results), ""]
    lines += unique(line for result in results for line in warnings(names[result["recognizer"]], result["seen"]))
    lines += unique(
        f"views: mean probabilities over {result['views']} views per clip; clips/s and GMAC are for all of them."
        for result in results
        if result["views"] > 1
    )
    lines += unique(f"interval: {result['interval']['method']}. {result['interval']['caution']}" for result in results)
    lines += [
        calibration_line(names[result["recognizer"]], result["calibrated"])
        for result in results
        if result["calibrated"] is not None
    ]
    for comparison in compared:
        first, second = (names[comparison[each]] + mark(comparison["seen"][each]) for each in ("first", "second"))
        lines.append(
            f"{first} minus {second}: {points(comparison['difference'])} "
            f"points, {significance(comparison)}; "
            f"same prediction for {100 * comparison['same_answer']:.1f} % of clips"
        )
    lines += unique(f"note: {note}" for result in results for note in result["notes"])
    lines += unique(short_form(result["leaks"]) for result in results if result["leaks"] is not None)
    return "\n".join(line.rstrip() for line in lines)


def unique(lines) -> list[str]:
    """Remove repetitions and keep the order."""
    return list(dict.fromkeys(lines))
