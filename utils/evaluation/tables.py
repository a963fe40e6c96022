"""Results as Markdown tables and lines of text."""

from collections.abc import Sequence
from pathlib import Path

from utils.leaks.report import short_form


def table(results: Sequence[dict]) -> str:
    """The results as a Markdown table, which a terminal shows well too."""
    header = ["recogniser", "clips", "top-1 (95 % interval)", "top-5", "loss", "clips/s", "parameters", "GMAC", "MB"]
    names = shown_names([result["recognizer"] for result in results])
    rows = [
        [
            names[result["recognizer"]],
            str(result["clips"]),
            percent_with_interval(result["interval"]),
            "-" if result["top5"] is None else f"{100 * result['top5']:.1f} %",
            "inf" if result["loss"] is None else f"{result['loss']:.3f}",
            f"{result['clips_per_second']:.1f}",
            f"{result['parameters']:,}",
            f"{result['multiply_accumulates'] / 1e9:.2f}",
            f"{result['megabytes']:.1f}",
        ]
        for result in results
    ]
    return markdown_table(header, rows)


def shown_names(paths: Sequence[str]) -> dict[str, str]:
    """What to call each file: its name, or its whole path if another file has that name."""
    names = [Path(path).name for path in set(paths)]
    return {path: path if names.count(Path(path).name) > 1 else Path(path).name for path in paths}


def percent_with_interval(interval: dict) -> str:
    """An Interval's dict as `81.2 % (70.4 to 89.1)`."""
    text = f"{100 * interval['estimate']:.1f} %"
    return text if interval["low"] is None else f"{text} ({100 * interval['low']:.1f} to {100 * interval['high']:.1f})"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell; the first is left-aligned, the others right-aligned."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells):
        padded = [cells[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:]))]
        return "| " + " | ".join(padded) + " |"

    rule = "| " + " | ".join(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]) + " |"
    return "\n".join([line(header), rule, *map(line, rows)])


def summary(results: Sequence[dict], compared: Sequence[dict]) -> str:
    """Table, how the intervals were made, comparisons and notes, for a person."""
    names = shown_names([result["recognizer"] for result in results])
    lines = [table(results), ""]
    lines += unique(f"interval: {result['interval']['method']}. {result['interval']['caution']}" for result in results)
    for comparison in compared:
        difference, interval = comparison["difference"], ""
        if difference["low"] is not None:
            interval = f" ({100 * difference['low']:+.1f} to {100 * difference['high']:+.1f})"
        lines.append(
            f"{names[comparison['first']]} minus {names[comparison['second']]}: "
            f"{100 * difference['estimate']:+.1f} points{interval}, p = {comparison['p_value']:.3g} "
            f"({comparison['test']}); same answer on {100 * comparison['same_answer']:.1f} % of clips"
        )
    lines += unique(f"note: {note}" for result in results for note in result["notes"])
    lines += unique(short_form(result["leaks"]) for result in results if result["leaks"] is not None)
    return "\n".join(line.rstrip() for line in lines)


def unique(lines) -> list[str]:
    """The lines without repetitions, in order."""
    return list(dict.fromkeys(lines))
