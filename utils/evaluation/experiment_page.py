"""The page of reproduce.py: the grid of an experiment, with links to the pages of its cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.data.leak_report import short_form
from utils.evaluation.figures import AccuracyBars, AccuracyByCost, AccuracyByTemperature
from utils.evaluation.pages import Cell, Table, table, write_page
from utils.evaluation.pictures import Picture, drawn
from utils.evaluation.protocol import Conditions, arguments_table
from utils.evaluation.tables import percent_with_interval, points, unique
from utils.runs.seen import mark

SECTIONS = {
    "verdict": "Verdict",
    "results": "Results",
    "grid": "Temperature and alpha",
    "runs": "Seeds and folds",
    "protocol": "Protocol",
}
FIGURES = {  # by file name: caption
    "accuracy_by_cost": "Test accuracy against multiply-accumulates per clip",
    "results": "Test accuracy with 95 % intervals",
    "accuracy_by_temperature": "Accuracy by temperature",
}
FEW_ROWS = 4  # without a choice by validation, so many distilled students are in the verdict


@dataclass(frozen=True)
class ExperimentReport:
    """The experiment that a page shows.

    results: the content of results.json. header, cells: the table of results.md. notes: lines of its caption. runs: the
    rows of results.csv by column. links: relative address of the page of each cell by the cell's folder, None if there
    is no page. folder: of the figures as files.
    """

    results: dict
    header: Sequence[str]
    cells: Sequence[Sequence[str]]
    notes: Sequence[str]
    runs: Sequence[Mapping]
    links: Mapping[str, str | None]
    conditions: Conditions
    folder: Path


def figure_names(rows: Sequence[dict]) -> list[str]:
    """Return the names of the figures of rows of results.json: that by temperature only if there are several."""
    temperatures = {row["temperature"] for row in rows if row["role"] == "distilled"}
    return [name for name in FIGURES if name != "accuracy_by_temperature" or len(temperatures) > 1]


def write_experiment_page(path: Path, report: ExperimentReport) -> bool:
    """Write the page and its figures as PNG and SVG. Returns False, after a note, if it cannot be written."""
    return write_page(path, lambda: content(report), "experiment.html")


def content(report: ExperimentReport) -> dict:
    """Return the values of the template experiment.html."""
    results = report.results
    rows = results["rows"]
    figures = {name: _figure(report, name) for name in figure_names(rows)}
    leaks = unique(line for found in results["leaks"].values() for line in short_form(found).splitlines())
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    terms = [("Conditions", report.notes), ("Leaks", leaks), ("Command", [report.conditions.command])]
    terms += [("Machine", [report.conditions.hardware]), ("Versions", [versions])]
    cells = [[text, *map(_bar, others)] for text, *others in report.cells]
    return {
        "title": "Experiment: teachers and students",
        "sections": SECTIONS.items(),
        "conditions": report.conditions,
        "clips": rows[0]["clips"],
        "folds": len(unique(run["fold"] for run in report.runs)),
        "seeds": len(unique(run["seed"] for run in report.runs)),
        "verdict": _verdict(rows),
        "warnings": [line.removeprefix("warning: ") for line in report.notes if line.startswith("warning: ")],
        "results": table("Accuracy, gain and cost of each model", report.header, cells),
        "figures": {name: figures.get(name) for name in FIGURES},
        "grids": _grids(rows),
        "chosen": _chosen(results["chosen"]),
        "runs": _runs(report),
        "lacks_pages": None in report.links.values(),
        "terms_shown": terms,
        "arguments": arguments_table("the experiment", results["arguments"]),
    }


def _bar(text: str) -> Cell:
    """Return a cell with a bar if the text is a percentage with an interval."""
    share, percent, _ = text.partition(" %")
    return Cell(text, float(share) / 100 if percent and "(" in text else None)


def _figure(report: ExperimentReport, name: str) -> Picture | None:
    rows = report.results["rows"]
    kinds = {"results": AccuracyBars, "accuracy_by_cost": AccuracyByCost}
    display = kinds.get(name, AccuracyByTemperature).from_results(rows)
    caption = FIGURES[name]
    alt = f"{caption}; the numbers are in the table of results."
    return drawn(display, caption=caption, alt=alt, name=name, folder=report.folder)


def _verdict(rows: Sequence[dict]) -> list[dict]:
    """Return the rows of the verdict: all but the distilled students if some were chosen on validation clips."""
    distilled = [row for row in rows if row["role"] == "distilled"]
    chosen = [row for row in rows if row["role"] == "chosen"]
    if not chosen and len(distilled) > FEW_ROWS:
        distilled = [max(distilled, key=lambda row: row["validation_accuracy"])]
    shown = [row for row in rows if row["role"] in ("alone", "teacher", "chosen")] + ([] if chosen else distilled)
    found = []
    for row in shown:
        accuracy, _, interval = percent_with_interval(row["interval"]).partition(" (")
        gain = None if row["minus_alone"] is None else points(row["minus_alone"])
        gap = None if row["gap_closed"] is None else f"{100 * row['gap_closed']:.0f} %"
        names = {"name": row["name"] + mark(row["seen"]), "accuracy": accuracy, "interval": interval.rstrip(")")}
        found.append(names | {"clips": row["clips"], "gain": gain, "gap": gap})
    return found


def _grids(rows: Sequence[dict]) -> list[Table]:
    """Return a table of accuracies by temperature and alpha for each teacher."""
    distilled = [row for row in rows if row["role"] == "distilled"]
    found = []
    for teacher in unique(row["teacher"] for row in distilled):
        mine = {(row["temperature"], row["alpha"]): row for row in distilled if row["teacher"] == teacher}
        alphas = sorted({alpha for _, alpha in mine})
        lines = [
            [f"T {temperature:g}", *(_accuracy(mine.get((temperature, alpha))) for alpha in alphas)]
            for temperature in sorted({temperature for temperature, _ in mine})
        ]
        student, _, _ = next(iter(mine.values()))["name"].rpartition(", T ")
        caption = f"Accuracy of the {student} (95 % interval)"
        found.append(table(caption, ["temperature", *(f"alpha {alpha:g}" for alpha in alphas)], lines))
    return found


def _accuracy(row: dict | None) -> Cell:
    if row is None:
        return Cell("-")
    return Cell(percent_with_interval(row["interval"]) + mark(row["seen"]), row["interval"]["estimate"])


def _chosen(chosen: Sequence[dict]) -> Table | None:
    if not chosen:
        return None
    lines = [[each["fold"], each["teacher"], f"{each['temperature']:g}", f"{each['alpha']:g}"] for each in chosen]
    return table("Chosen on the validation clips of each fold", ["fold", "teacher", "temperature", "alpha"], lines, {1})


def _runs(report: ExperimentReport) -> Table:
    """Return the accuracy of each recogniser by fold and seed, with a link to the page of the cell."""
    places = list(dict.fromkeys((run["fold"], run["seed"]) for run in report.runs))
    by_name = {}
    for run in report.runs:
        by_name.setdefault(run["recogniser"], {})[run["fold"], run["seed"]] = run
    lines = []
    for name, runs in by_name.items():
        cells = []
        for place in places:
            run = runs.get(place)
            accuracy = None if run is None else run["test_accuracy"]
            text = "-" if accuracy is None else f"{100 * accuracy:.1f} %"
            cells.append(Cell(text, accuracy, None if run is None else report.links.get(run["cell"])))
        lines.append([name, *cells])
    header = ["model", *(f"{fold}, seed {seed}" for fold, seed in places)]
    return table("Test accuracy by fold and seed; each number leads to the page of its test", header, lines)
