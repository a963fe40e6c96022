"""What a test found: one result a recogniser, as a table, as JSON, and as files for a closer look."""

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
from utils.evaluation.tables import summary
from utils.evaluation.testing import Answers
from utils.networks.cost import multiply_accumulates
from utils.runtime.drawing import save_figure
from utils.runtime.files import write_csv, write_json, write_text
from utils.splits.groups import Groups

TOP = 5


def result_of(answers: Answers, dataset: ClipDataset, groups: Groups | None) -> dict:
    """Everything about one recogniser that a table or another program may want; plain values for JSON.

    Shares are 0..1, `loss` is cross entropy in nats, `top5` None where there are no more than 5 classes, `leaks` None
    where it is not known which clips the recogniser has seen.
    """
    clips, logits = answers.clips, answers.logits
    keys = groups.keys[clips.rows] if groups else None
    by_class = metrics.per_class(clips.labels, logits)
    path = answers.recognizer.path
    return {
        "recognizer": str(path),
        "split": clips.protocol,
        "clips": len(clips.rows),
        "top1": metrics.accuracy(clips.labels, logits),
        "interval": asdict(accuracy_interval(metrics.correct_answers(clips.labels, logits), keys)),
        "top5": metrics.top_k_accuracy(clips.labels, logits, TOP) if logits.shape[1] > TOP else None,
        "mean_class_accuracy": by_class.mean_accuracy,
        "loss": finite(metrics.cross_entropy(clips.labels, logits)),
        "calibration_error": metrics.calibration(clips.labels, logits).expected_error,
        "clips_per_second": answers.clips_per_second,
        "parameters": answers.recognizer.model.count_params(),
        "multiply_accumulates": multiply_accumulates(answers.recognizer.model),
        "megabytes": path.stat().st_size / 1e6,
        "notes": list(clips.notes),
        "leaks": None if answers.leaks is None else answers.leaks.as_dict(),
    }


def finite(value: float) -> float | None:
    """The value, or None (JSON's null) if it is not finite."""
    return float(value) if np.isfinite(value) else None


def comparisons(all_answers: Sequence[Answers], groups: Groups | None) -> list[dict]:
    """The first recogniser against each other one that was tested on the same clips of the same classes."""
    first, *others = all_answers
    found = []
    for other in others:
        if not np.array_equal(first.clips.rows, other.clips.rows) or first.clips.class_names != other.clips.class_names:
            continue
        correct = [metrics.correct_answers(answers.clips.labels, answers.logits) for answers in (first, other)]
        comparison = compare(*correct, groups.keys[first.clips.rows] if groups else None)
        agreement = metrics.agreement(first.logits, other.logits)
        found.append(
            {
                "first": str(first.recognizer.path),
                "second": str(other.recognizer.path),
                **asdict(comparison),
                "same_answer": agreement.same_answer,
            }
        )
    return found


def write_results(
    folder: Path,
    all_answers: Sequence[Answers],
    results: Sequence[dict],
    compared: Sequence[dict],
    dataset: ClipDataset,
) -> None:
    """Writes results.json and results.md; for each recogniser its answers, a table of classes, a confusion matrix and
    what its test clips share with those that it has seen."""
    write_json(folder / "results.json", {"recognizers": list(results), "comparisons": list(compared)})
    write_text(folder / "results.md", summary(results, compared) + "\n")
    for name, answers in zip(file_names(all_answers), all_answers):
        if answers.leaks is not None:
            answers.leaks.write(folder / f"leaks_{name}.csv")
        clips, logits = answers.clips, answers.logits
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
        write_csv(
            folder / f"classes_{name}.csv",
            ["class", "clips", "accuracy", "precision"],
            [
                [
                    names[label],
                    by_class.clips[label],
                    f"{by_class.accuracy[label]:.4f}",
                    f"{by_class.precision[label]:.4f}",
                ]
                for label in range(len(names))
            ],
        )
        counts = confusion_matrix(clips.labels, predicted, labels=np.arange(len(names)))
        title = f"{name}: {len(clips.rows)} clips, {clips.protocol}"
        save_figure(ConfusionMatrix(counts, names, title), folder / f"confusion_{name}.png")


def file_names(all_answers: Sequence[Answers]) -> list[str]:
    """A name for each recogniser's files: that of its own file, all with their numbers if two share one."""
    stems = [answers.recognizer.path.stem for answers in all_answers]
    if len(set(stems)) == len(stems):
        return stems
    return [f"{stem}_{number}" for number, stem in enumerate(stems, start=1)]
