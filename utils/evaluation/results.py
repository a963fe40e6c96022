"""Results of tests: one dict per recogniser, comparisons, and the files that eval.py writes."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from scipy.special import softmax

from utils.base.errors import UserError
from utils.base.files import plain, write_csv, write_json, write_text
from utils.data.clips import ClipDataset
from utils.data.groups import Groups
from utils.evaluation import metrics
from utils.evaluation.class_gains import class_gains
from utils.evaluation.curves import class_areas, mean_areas
from utils.evaluation.intervals import accuracy_interval, compare
from utils.evaluation.tables import summary
from utils.evaluation.testing import Predictions, are_comparable
from utils.networks.cost import multiply_accumulates
from utils.networks.recognizer import Recognizer
from utils.runs.files import result_names

TOP = 5


def result_of(predictions: Predictions, dataset: ClipDataset, groups: Groups | None) -> dict:
    """Return the result of one recogniser as plain values for JSON: `scores_of`, and its cost.

    `clips_per_second`, `milliseconds_per_clip` and `multiply_accumulates` are those of a clip with all of its `views`.
    `parameters` and `multiply_accumulates` are None for an exported file that does not state them.
    """
    return scores_of(predictions, groups) | {
        "clips_per_second": predictions.clips_per_second,
        "milliseconds_per_clip": predictions.milliseconds_per_clip,
        **cost_with_views(predictions.recognizer, predictions.views),
        "megabytes": predictions.recognizer.megabytes,
    }


def scores_of(predictions: Predictions, groups: Groups | None) -> dict:
    """Return the scores of one recogniser as plain values for JSON.

    Shares and areas are 0..1. `loss` is the cross-entropy in nats. `top5` is None with at most 5 classes. `roc_auc` and
    `average_precision` are those of `mean_areas`. `seen` is the result of `Seen.as_dict`. `leaks` is None if the clips
    that the recogniser has seen are unknown, `calibrated` if the record has no calibration. Numbers that are not finite
    are None. Raises UserError if logits are NaN.
    """
    clips, logits = predictions.clips, predictions.logits
    recognizer, leaks = predictions.recognizer, predictions.leaks
    broken = np.isnan(logits).any(axis=1)
    if broken.any():
        share = f"{broken.sum()} of {len(broken)}"
        raise UserError(f"--recognizer: logits of {recognizer.path} must not be NaN, got NaN for {share} clips")
    keys = groups.keys[clips.rows] if groups else None
    result = {
        "recognizer": str(recognizer.path),
        "split": clips.protocol,
        "clips": len(clips.rows),
        "seen": clips.seen.as_dict(),
        "views": predictions.views,
        "top1": metrics.accuracy(clips.labels, logits),
        "interval": asdict(accuracy_interval(metrics.correct_predictions(clips.labels, logits), keys)),
        "top5": metrics.top_k_accuracy(clips.labels, logits, TOP) if logits.shape[1] > TOP else None,
        "mean_class_accuracy": metrics.per_class(clips.labels, logits).mean_accuracy,
        "macro_f1": metrics.macro_f1(clips.labels, logits),
        "loss": metrics.cross_entropy(clips.labels, logits),
        "calibration_error": metrics.calibration_error(clips.labels, logits),
        "calibrated": calibrated_result(predictions),
        **mean_areas(clips.labels, logits),
        "notes": list(clips.notes),
        "leaks": None if leaks is None else leaks.as_dict(),
    }
    return plain(result)


def cost_with_views(recognizer: Recognizer, views: int) -> dict[str, int | None]:
    """Return the parameters, and the multiply-accumulates of `views` views of a clip; None if they are unknown."""
    if not recognizer.is_exported:
        parameters, operations = recognizer.model.count_params(), multiply_accumulates(recognizer.model)
    elif recognizer.export is not None and (cost := recognizer.export.cost) is not None:
        parameters, operations = cost.parameters, cost.multiply_accumulates
    else:
        return {"parameters": None, "multiply_accumulates": None}
    return {"parameters": parameters, "multiply_accumulates": views * operations}


def calibrated_result(predictions: Predictions) -> dict | None:
    """Return the effect of the calibration in a record; None without one.

    `kept_correct` and `rejected_wrong` are shares of the correct and of the wrong predictions, None if there are none.
    """
    clips, recognizer = predictions.clips, predictions.recognizer
    calibration = recognizer.record.calibration if recognizer.record is not None else None
    if calibration is None:
        return None
    logits = predictions.logits.astype(np.float64) / calibration.temperature
    correct = metrics.correct_predictions(clips.labels, logits)
    kept = softmax(logits, axis=1).max(axis=1) >= calibration.threshold
    return calibration.model_dump() | {
        "calibration_error": metrics.calibration_error(clips.labels, logits),
        "loss": metrics.cross_entropy(clips.labels, logits),
        "kept_correct": float(kept[correct].mean()) if correct.any() else None,
        "rejected_wrong": float(1 - kept[~correct].mean()) if not correct.all() else None,
    }


def comparisons(all_predictions: Sequence[Predictions], groups: Groups | None) -> list[dict]:
    """Compare the first recogniser with each other one that was tested on the same clips of the same classes.

    `seen` holds `Seen.as_dict` of both: their difference means little if one of them has seen test clips.
    """
    first, *others = all_predictions
    found = []
    for other in others:
        if not are_comparable(first, other):
            continue
        correct = [metrics.correct_predictions(each.clips.labels, each.logits) for each in (first, other)]
        comparison = compare(*correct, groups.keys[first.clips.rows] if groups else None)
        same = first.logits.argmax(axis=1) == other.logits.argmax(axis=1)
        paths = {"first": str(first.recognizer.path), "second": str(other.recognizer.path)}
        seen = {"first": first.clips.seen.as_dict(), "second": other.clips.seen.as_dict()}
        found.append(paths | asdict(comparison) | {"same_answer": float(same.mean()), "seen": seen})
    return found


def write_results(
    folder: Path,
    all_predictions: Sequence[Predictions],
    results: Sequence[dict],
    compared: Sequence[dict],
    dataset: ClipDataset,
    groups: Groups | None,
) -> None:
    """Write metrics.json, results.md, predictions.csv, per_class.csv and class_gains.csv, and the pairs of leaks.

    The tables name recognisers by the names of their files, as in leaks_NAME.csv, which exists if leaks are known.
    """
    names = result_names([predictions.recognizer.path for predictions in all_predictions])
    write_json(folder / "metrics.json", {"recognizers": list(results), "comparisons": list(compared)})
    write_text(folder / "results.md", summary(results, compared) + "\n")
    write_csv(folder / "predictions.csv", *prediction_rows(names, all_predictions, dataset))
    write_csv(folder / "per_class.csv", *class_rows(names, all_predictions))
    if compared:
        write_csv(folder / "class_gains.csv", *gain_rows(names, all_predictions, groups))
    for name, predictions in zip(names, all_predictions):
        if predictions.leaks is not None:
            predictions.leaks.write(folder / f"leaks_{name}.csv")


def prediction_rows(
    names: Sequence[str], all_predictions: Sequence[Predictions], dataset: ClipDataset
) -> tuple[list[str], list[list]]:
    """Return header and rows of predictions.csv: a row per recogniser and test clip, with its five likeliest classes.

    The probabilities are those of the logits, without the temperature of a calibration. With fewer classes, the
    last columns are empty.
    """
    header = ["recogniser", "row", "path", "truth", "correct"]
    header += [f"{what}_{place}" for place in range(1, TOP + 1) for what in ("class", "probability")]
    paths = dataset.paths if dataset.paths is not None else np.arange(len(dataset))
    rows = []
    for name, predictions in zip(names, all_predictions):
        clips, classes = predictions.clips, predictions.clips.class_names
        with np.errstate(invalid="ignore"):  # infinite logits
            probabilities = softmax(predictions.logits.astype(np.float64), axis=1)
        likeliest = np.argsort(-predictions.logits, axis=1, kind="stable")[:, :TOP].tolist()
        empty = [""] * 2 * (TOP - len(likeliest[0]))
        for row, label, best, shares in zip(clips.rows, clips.labels, likeliest, probabilities):
            answers = [text for number in best for text in (classes[number], f"{shares[number]:.4f}")]
            is_correct = int(best[0] == label)
            rows.append([name, row, paths[row], classes[label], is_correct, *answers, *empty, clips.protocol])
    return [*header, "split"], rows


def class_rows(names: Sequence[str], all_predictions: Sequence[Predictions]) -> tuple[list[str], list[list]]:
    """Return header and rows of per_class.csv: a row per recogniser and class; what is not defined is empty."""
    header = ["recogniser", "class", "clips", "accuracy", "precision", "f1", "roc_auc", "average_precision"]
    rows = []
    for name, predictions in zip(names, all_predictions):
        clips, logits = predictions.clips, predictions.logits
        found, areas = metrics.per_class(clips.labels, logits), class_areas(clips.labels, logits)
        columns = zip(found.accuracy, found.precision, found.f1, areas.roc_auc, areas.average_precision)
        for class_name, count, values in zip(clips.class_names, found.clips, columns):
            rows.append([name, class_name, count, *("" if np.isnan(value) else f"{value:.4f}" for value in values)])
    return header, rows


def gain_rows(
    names: Sequence[str], all_predictions: Sequence[Predictions], groups: Groups | None
) -> tuple[list[str], list[list]]:
    """Return header and rows of class_gains.csv: the first recogniser and each comparable one, by class."""
    header = ["first", "second", "class", "clips", "accuracy_first", "accuracy_second", "only_first", "only_second"]
    first, *others = all_predictions
    keys = groups.keys[first.clips.rows] if groups else None
    rows = []
    for name, other in zip(names[1:], others):
        if are_comparable(first, other):
            gains = class_gains(first.clips.labels, first.logits, other.logits, first.clips.class_names, keys)
            for gain in gains:
                values = [gain.clips, f"{gain.first:.4f}", f"{gain.second:.4f}", gain.only_first, gain.only_second]
                rows.append([names[0], name, gain.name, *values, f"{gain.p_value:.4g}", f"{gain.q_value:.4g}"])
    return [*header, "p_value", "q_value"], rows
