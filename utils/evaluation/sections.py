"""The sections of the page of eval.py: tables and figures as values of the template evaluation.html."""

import numpy as np

from utils.base.errors import UserError
from utils.evaluation.class_gains import ClassGains
from utils.evaluation.confusion import ConfusionMatrix, counts_of, most_confused
from utils.evaluation.curves import PrecisionRecallCurves, RocCurves
from utils.evaluation.evaluation_report import EvaluationReport
from utils.evaluation.figures import AccuracyBars, AccuracyByCost
from utils.evaluation.metrics import per_class
from utils.evaluation.pages import Cell, Table, table
from utils.evaluation.pictures import Picture
from utils.evaluation.protocol import arguments_table, recognizer_terms
from utils.evaluation.reliability import ReliabilityDiagram
from utils.evaluation.sheets import contact_sheets
from utils.evaluation.tables import number_text, percent_with_interval, points, significance
from utils.evaluation.testing import Predictions, are_comparable
from utils.runs.seen import seen_cell

PAIRS = 15  # most confused pairs on the page
AREAS = {"roc_auc": "ROC AUC", "average_precision": "average precision"}


def comparison_table(report: EvaluationReport) -> Table:
    header = ["model", "accuracy (95 % interval)", "seen", "top-5", "macro F1", "GMAC", "ms per clip"]
    rows = []
    for name, each, result in zip(report.names, report.predictions, report.results):
        record = each.recognizer.record
        costs = [number_text(result["multiply_accumulates"], "{:.3f}", 1e-9)]
        costs += [number_text(result["milliseconds_per_clip"], "{:.1f}"), number_text(result["parameters"], "{:,}")]
        accuracy = Cell(percent_with_interval(result["interval"]), result["top1"])
        scores = [number_text(result["top5"], "{:.1f} %", 100), number_text(result["macro_f1"], "{:.3f}")]
        size = number_text(result["megabytes"], "{:.1f}")
        kind = "unknown" if record is None else record.kind
        rows.append([name, accuracy, seen_cell(result["seen"]), *scores, *costs, size, kind])
    caption = "Seen: test clips that the model has seen. MB: size of the file. ms: inference of one clip."
    return table(caption, [*header, "parameters", "MB", "kind"], rows, {9})


def accuracy(report: EvaluationReport) -> Picture | None:
    """Return the bars of several recognisers."""
    if len(report.names) == 1:
        return None
    intervals = [result["interval"] for result in report.results]
    listed = ", ".join(map("{} {}".format, report.names, map(percent_with_interval, intervals)))
    caption = "Accuracy with 95 % intervals"
    return report.draw(AccuracyBars(report.marked, intervals), "accuracy", caption, f"Bars: {listed}.")


def cost(report: EvaluationReport) -> Picture | None:
    """Return accuracy against cost of several recognisers with known costs."""
    display = AccuracyByCost.from_results(
        [result | {"name": name} for name, result in zip(report.names, report.results)]
    )
    if len(display.rows) < 2:
        return None
    costs = ", ".join(f"{row['name']} {row['multiply_accumulates'] / 1e9:.3f}" for row in display.rows)
    caption = "Accuracy against multiply-accumulates per clip"
    return report.draw(display, "accuracy_by_cost", caption, f"Points at 10^9 multiply-accumulates: {costs}.")


def pair(report: EvaluationReport, number: int, comparison: dict) -> dict:
    first, other = report.predictions[0], report.predictions[number]
    names = {"first": report.marked[0], "second": report.marked[number]}
    keys = None if report.groups is None else report.groups.keys[first.clips.rows]
    labels, classes = first.clips.labels, first.clips.class_names
    display = ClassGains.from_predictions(labels, first.logits, other.logits, classes, groups=keys, **names)
    gains = display.gains
    rows = [
        [
            gain.name,
            gain.clips,
            Cell(f"{100 * gain.first:.1f} %", gain.first),
            Cell(f"{100 * gain.second:.1f} %", gain.second),
            f"{100 * gain.gain:+.1f}",
            gain.only_first,
            gain.only_second,
            f"{gain.p_value:.2g}",
            f"{gain.q_value:.2g}",
        ]
        for gain in gains
    ]
    header = ["class", "clips", *(report.names[each] for each in (0, number)), "gain (points)"]
    header += ["only the first", "only the second", "p", "q"]
    better, worse = (sum(sign * gain.gain > 0 for gain in gains) for sign in (1, -1))
    counted = f"better in {better} of {len(gains)} classes, worse in {worse}"
    caption = f"Accuracy by class, sorted by the gain of {names['first']}: {counted}"
    shown = len(display.shown)
    caption += f"; the {shown} classes with the largest differences" if shown < len(gains) else ""
    difference = f"{points(comparison['difference'])} points, {significance(comparison)}"
    return {
        "name": report.names[number],
        "difference": f"Difference in accuracy: {difference}",
        "only_first": sum(gain.only_first for gain in gains),
        "only_second": sum(gain.only_second for gain in gains),
        "class_test": "McNemar's exact test" if keys is None else "McNemar's exact test, or a permutation over groups",
        "figure": report.draw(display, f"class_gains_{report.stems[number]}", caption, f"{caption}. See the table."),
        "table": table(f"{names['first']} against {names['second']} by class", header, rows),
    }


def class_table(report: EvaluationReport) -> Table:
    """Return accuracy and precision by class of the first recogniser, the lowest accuracy first."""
    clips, logits = report.predictions[0].clips, report.predictions[0].logits
    found = per_class(clips.labels, logits)
    order = [number for number in np.argsort(found.accuracy, kind="stable").tolist() if found.clips[number]]
    rows = [
        [
            clips.class_names[number],
            found.clips[number],
            Cell(f"{100 * found.accuracy[number]:.1f} %", float(found.accuracy[number])),
            "never predicted" if np.isnan(found.precision[number]) else f"{100 * found.precision[number]:.1f} %",
        ]
        for number in order
    ]
    return table("Classes, the lowest accuracy first", ["class", "clips", "accuracy", "precision"], rows)


def agreement(report: EvaluationReport) -> Table | None:
    """Return the share of clips with the same class for each pair of models that were tested on the same clips."""
    if not report.compared:
        return None

    def cell(one: Predictions, other: Predictions) -> Cell:
        if not are_comparable(one, other):
            return Cell("-")
        share = float(np.mean(one.logits.argmax(axis=1) == other.logits.argmax(axis=1)))
        return Cell(f"{100 * share:.1f} %", share)

    rows = [
        [name, *(cell(each, other) for other in report.predictions)]
        for name, each in zip(report.names, report.predictions)
    ]
    caption = "Share of test clips for which two models give the same class"
    return table(caption, ["model", *report.names], rows)


def confusion(report: EvaluationReport, number: int) -> dict:
    each, name = report.predictions[number], report.names[number]
    labels, classes = each.clips.labels, each.clips.class_names
    pairs = most_confused(counts_of(labels, each.logits), PAIRS)
    rows = [[classes[pair.true], classes[pair.predicted], pair.clips, f"{100 * pair.share:.0f} %"] for pair in pairs]
    header = ["true class", "recognised as", "clips", "share of the class"]
    caption = f"Confusion matrix of {report.marked[number]}; classes that are confused are next to each other"
    display = ConfusionMatrix.from_predictions(labels, each.logits, classes)
    alt = f"{caption}. The most confused pairs are in the table."
    return {
        "name": name,
        "table": table(f"Most confused classes of {report.marked[number]}", header, rows, {1}) if rows else None,
        "figure": report.draw(display, f"confusion_{report.stems[number]}", caption, alt),
    }


def curves(report: EvaluationReport) -> dict:
    named = {name: (each.clips.labels, each.logits) for name, each in zip(report.marked, report.predictions)}
    rows = [
        [name, *(number_text(result[area][kind], "{:.3f}") for area in AREAS for kind in ("macro", "micro"))]
        for name, result in zip(report.marked, report.results)
    ]
    header = ["model", *(f"{text}, {kind}" for text in AREAS.values() for kind in ("macro", "micro"))]
    found = {"areas": table("Areas under the curves, 0 to 1", header, rows)}
    kinds = {"roc": (RocCurves, "ROC curves"), "precision_recall": (PrecisionRecallCurves, "Precision-recall curves")}
    for file, (kind, caption) in kinds.items():
        display = kind.from_predictions(named)
        alt = f"{caption}; the areas are in the table."
        found[file] = report.draw(display, file, caption, alt) if display.curves else None
    return found


def calibration(report: EvaluationReport) -> dict:
    raw, calibrated, rows = {}, {}, []
    for name, each, result in zip(report.marked, report.predictions, report.results):
        raw[name] = (each.clips.labels, each.logits)
        fitted = result["calibrated"]
        after = ["-"] * 3
        if fitted is not None:
            temperature = fitted["temperature"]
            calibrated[f"{name}, T {temperature:.3g}"] = (each.clips.labels, each.logits / temperature)
            after = [f"{temperature:.3g}", number_text(fitted["calibration_error"], "{:.1f} %", 100)]
            after.append(number_text(fitted["loss"], "{:.3f}"))
        before = [number_text(result["calibration_error"], "{:.1f} %", 100), number_text(result["loss"], "{:.3f}")]
        rows.append([name, *before, *after])
    header = ["model", "ECE", "cross entropy", "temperature", "ECE with it", "cross entropy with it"]
    found = {"calibration": table("Expected calibration error and cross entropy", header, rows)}
    for file, named, caption in (
        ("reliability", raw, "Reliability without temperature"),
        ("reliability_calibrated", calibrated, "Reliability with the temperature of the record"),
    ):
        display = ReliabilityDiagram.from_predictions(named)
        alt = f"{caption}: accuracy against confidence; the errors are in the table."
        caption += "; the size of a point shows the number of clips"
        found[file] = report.draw(display, file, caption, alt) if display.lines else None
    return found


def sheets(report: EvaluationReport) -> list:
    """Return the contact sheets of the first recogniser and its teacher, or otherwise the next one."""
    numbers = [number for number, _ in report.compared]
    records = {number: report.predictions[number].recognizer.record for number in numbers}
    teachers = (number for number, record in records.items() if record is not None and record.is_of_teacher)
    other = next(teachers, next(iter(numbers), None))
    names = [report.names[0]] if other is None else [report.names[0], report.names[other]]
    second = None if other is None else report.predictions[other]
    return contact_sheets(report.predictions[0], second, names, report.dataset)


def training(report: EvaluationReport, number: int) -> dict:
    name, recognizer = report.names[number], report.predictions[number].recognizer
    if recognizer.run is None:
        return {"name": name, "figure": None, "reason": "no curves, because there is no record."}
    try:
        curves = recognizer.run.curves(name)
    except UserError as error:
        return {"name": name, "figure": None, "reason": f"no curves, because {error}."}
    caption = f"Training of {name}: loss, and accuracy in %, by epoch"
    alt = f"{caption}; epoch {curves.history['epoch'][curves.kept]} is kept."
    figure = report.draw(curves, f"training_{report.stems[number]}", caption, alt)
    return {"name": name, "figure": figure, "reason": "the curves could not be drawn."}


def recognizer(name: str, predictions: Predictions) -> dict:
    record = predictions.recognizer.record
    shown = arguments_table(name, record.arguments.model_dump(exclude_unset=True)) if record is not None else None
    return {"name": name, "terms": recognizer_terms(predictions), "arguments": shown}
