"""Results of tests: one dict per recogniser, comparisons, and the files that eval.py writes."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from scipy.special import softmax
from sklearn.metrics import confusion_matrix

from utils.data.clips import ClipDataset
from utils.evaluation import metrics
from utils.evaluation.figures import ConfusionMatrix
from utils.evaluation.intervals import accuracy_interval, compare
from utils.evaluation.seen import mark
from utils.evaluation.tables import summary
from utils.evaluation.testing import Predictions
from utils.networks.calibration import recorded_calibration
from utils.networks.cost import multiply_accumulates
from utils.networks.recognizer import Recognizer
from utils.networks.records import record_path
from utils.runtime.drawing import save_figure
from utils.runtime.errors import UserError
from utils.runtime.files import plain, write_csv, write_json, write_text
from utils.settings.outputs import result_names
from utils.splits.groups import Groups

TOP = 5


def result_of(predictions: Predictions, dataset: ClipDataset, groups: Groups | None) -> dict:
    """Return the result of one recogniser as plain values for JSON.

    Shares are 0..1. `loss` is the cross-entropy in nats. `top5` is None with at most 5 classes. `seen` is the result of
    `Seen.as_dict`. `clips_per_second` and `multiply_accumulates` are those of a clip with all of its `views`. `leaks`
    is None if the clips that the recogniser has seen are unknown, `calibrated` if the record has no calibration, and
    `parameters` and `multiply_accumulates` are None for an exported file that does not state them.
    Numbers that are not finite are None. Raises UserError if logits are NaN.
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
        "loss": metrics.cross_entropy(clips.labels, logits),
        "calibration_error": metrics.calibration_error(clips.labels, logits),
        "calibrated": calibrated_result(predictions),
        "clips_per_second": predictions.clips_per_second,
        **cost_with_views(recognizer, predictions.views),
        "megabytes": recognizer.megabytes,
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
    calibration = recorded_calibration(recognizer.record, what=f"--recognizer: {record_path(recognizer.path)}")
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
        if not np.array_equal(first.clips.rows, other.clips.rows) or first.clips.class_names != other.clips.class_names:
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
) -> None:
    """Write results.json and results.md, and the files of each recogniser.

    These are predictions_NAME.csv, classes_NAME.csv, confusion_NAME.png and, if leaks are known, leaks_NAME.csv.
    """
    write_json(folder / "results.json", {"recognizers": list(results), "comparisons": list(compared)})
    write_text(folder / "results.md", summary(results, compared) + "\n")
    named = list(zip(result_names([each.recognizer.path for each in all_predictions]), all_predictions))
    for name, predictions in named:
        if predictions.leaks is not None:
            predictions.leaks.write(folder / f"leaks_{name}.csv")
        clips, logits = predictions.clips, predictions.logits
        names, predicted = clips.class_names, logits.argmax(axis=1)
        confidence = softmax(logits.astype(np.float64), axis=1).max(axis=1)
        paths = dataset.paths if dataset.paths is not None else np.arange(len(dataset))
        write_csv(
            folder / f"predictions_{name}.csv",
            ["row", "path", "class", "predicted", "confidence", "split"],
            [
                [row, paths[row], names[label], names[guess], f"{share:.4f}", clips.protocol]
                for row, label, guess, share in zip(clips.rows, clips.labels, predicted, confidence)
            ],
        )
        by_class = metrics.per_class(clips.labels, logits)
        numbers = zip(names, by_class.clips, by_class.accuracy, by_class.precision)
        write_csv(
            folder / f"classes_{name}.csv",
            ["class", "clips", "accuracy", "precision"],
            [[*counted, f"{accuracy:.4f}", f"{precision:.4f}"] for *counted, accuracy, precision in numbers],
        )
    for name, predictions in named:
        save_figure(confusion_of(name, predictions), folder / f"confusion_{name}.png")


def confusion_of(name: str, predictions: Predictions) -> ConfusionMatrix:
    clips = predictions.clips
    labels, names = np.arange(len(clips.class_names)), clips.class_names
    counts = confusion_matrix(clips.labels, predictions.logits.argmax(axis=1), labels=labels)
    title = f"{name}{mark(clips.seen.as_dict())}: {len(clips.rows)} clips, {clips.protocol}"
    return ConfusionMatrix(counts, names, title)
