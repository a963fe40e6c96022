"""The page of eval.py: the test of one or several recognisers, the first of which is compared with the others."""

from pathlib import Path

import numpy as np

from utils.evaluation import sections
from utils.evaluation.evaluation_report import EvaluationReport
from utils.evaluation.pages import write_page
from utils.evaluation.protocol import data_terms, unknown
from utils.evaluation.tables import percent_with_interval, points, ratio_text, significance, unique
from utils.runs.card_metadata import dataset_name
from utils.runs.seen import warnings

SECTIONS = {
    "verdict": "Verdict",
    "comparison": "Comparison",
    "classes": "Classes",
    "confusion": "Confusion",
    "curves": "ROC and precision-recall",
    "calibration": "Calibration",
    "clips": "Clips",
    "training": "Training",
    "protocol": "Protocol",
}


def write_evaluation_page(path: Path, report: EvaluationReport) -> bool:
    """Write the page, and its figures as PNG and SVG if the report has a folder.

    Returns False, after a note, if it cannot be written.
    """
    return write_page(path, lambda: content(report), "evaluation.html")


def content(report: EvaluationReport) -> dict:
    """Return the values of the template evaluation.html."""
    first = report.predictions[0]
    counts = np.bincount(first.clips.labels)
    intervals = [result["interval"] for result in report.results]
    pairs = [sections.pair(report, number, comparison) for number, comparison in report.compared]
    return {
        "title": f"{dataset_name(report.dataset.frames.path)}: test of {', '.join(report.names)}",
        "data_set": dataset_name(report.dataset.frames.path),
        "names": report.names,
        "home": report.home,
        "sections": SECTIONS.items(),
        "clips": len(first.clips.rows),
        "class_count": np.count_nonzero(counts),
        "protocol": first.clips.protocol,
        "conditions": report.conditions,
        "verdict": _verdict(report),
        "chance": f"{100 * counts.max() / counts.sum():.1f} %",
        "cautions": unique(each["caution"] for each in intervals if each["caution"]),
        "warnings": unique(
            line.removeprefix("warning: ")
            for name, result in zip(report.names, report.results)
            for line in warnings(name, result["seen"])
        ),
        "comparison": sections.comparison_table(report),
        "accuracy": sections.accuracy(report),
        "cost": sections.cost(report),
        "pairs": pairs,
        "per_class": None if pairs else sections.class_table(report),
        "agreement": sections.agreement(report),
        "confusions": [sections.confusion(report, number) for number in range(len(report.names))],
        **sections.curves(report),
        **sections.calibration(report),
        "sheets": sections.sheets(report),
        "trainings": [sections.training(report, number) for number in range(len(report.names))],
        "protocol_terms": data_terms(
            report.predictions, report.results, report.dataset, report.groups, report.conditions
        ),
        "unknown": unknown(report.predictions, report.results, report.groups),
        "recognizers": [sections.recognizer(name, each) for name, each in zip(report.names, report.predictions)],
    }


def _verdict(report: EvaluationReport) -> list[dict]:
    compared = dict(report.compared)
    found = []
    for number, (name, result) in enumerate(zip(report.marked, report.results)):
        accuracy, _, interval = percent_with_interval(result["interval"]).partition(" (")
        item = {"name": name, "accuracy": accuracy, "clips": result["clips"], "interval": interval.rstrip(")")}
        found.append(item | {"versus": _versus(report, compared[number], result) if number in compared else None})
    return found


def _versus(report: EvaluationReport, comparison: dict, result: dict) -> dict:
    """Return how the first recogniser compares with another one, for a sentence."""
    gain = 100 * comparison["difference"]["estimate"]
    side = "above" if gain > 0 else "below"
    difference = f"{abs(gain):.1f} points {side} it" if abs(gain) >= 0.05 else "as accurate"
    detail = f"{points(comparison['difference']).partition(' (')[2].rstrip(')')}; ".lstrip("; ")
    detail = f"95 % interval {detail}" if detail else ""
    mine, other = (each["multiply_accumulates"] for each in (report.results[0], result))
    cost = None
    if mine and other and mine != other:
        cost = ratio_text(mine, other)
    return {"difference": difference, "detail": f"{detail}{significance(comparison)}", "cost": cost}
