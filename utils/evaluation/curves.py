"""ROC and precision-recall curves, each class against the rest, averaged over classes (macro) or clips (micro).

`labels` are int (N,), 0..C-1; `logits` float (N, C). The score of a class is its probability. Classes without clips, or
to which all clips belong, have no curve and do not count in the macro average. The micro average pools the decisions of
all classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from utils.base.drawing import Display, label
from utils.evaluation.figures import add_legend, styles

GRID = np.linspace(0, 1, 501)  # of the averaged curves
CELLS = 500  # a drawn curve has at most one point in each cell of CELLS x CELLS
AVERAGES = ("macro", "micro")


@dataclass(frozen=True)
class ClassAreas:
    """Areas of each class, float64 `(C,)`, NaN for classes without a curve: under the ROC curve, average precision."""

    roc_auc: np.ndarray
    average_precision: np.ndarray


def class_areas(labels: np.ndarray, logits: np.ndarray) -> ClassAreas:
    """Return the areas of each class against the rest; all NaN if probabilities are not finite."""
    scores = _probabilities(logits)
    areas = np.full((2, scores.shape[1]), np.nan)
    for number in _judged(labels, scores):
        is_class = labels == number
        areas[:, number] = (
            roc_auc_score(is_class, scores[:, number]),
            average_precision_score(is_class, scores[:, number]),
        )
    return ClassAreas(*areas)


def mean_areas(labels: np.ndarray, logits: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Return {"roc_auc": {"macro": a, "micro": b}, "average_precision": ...}; None for what is not defined."""
    areas, found = class_areas(labels, logits), {}
    scores = _probabilities(logits)
    judged = _judged(labels, scores)
    is_class = np.eye(scores.shape[1], dtype=bool)[labels]
    for name, pooled in (("roc_auc", roc_auc_score), ("average_precision", average_precision_score)):
        macro = float(np.mean(getattr(areas, name)[judged])) if len(judged) else None
        micro = float(pooled(is_class.ravel(), scores.ravel())) if len(judged) else None
        found[name] = {"macro": macro, "micro": micro}
    return found


def _probabilities(logits: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # infinite logits
        return softmax(np.asarray(logits, np.float64), axis=1)


def _judged(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the classes that have a curve."""
    if not np.isfinite(scores).all():
        return np.zeros(0, np.int64)
    clips = np.bincount(labels, minlength=scores.shape[1])
    return np.flatnonzero((clips > 0) & (clips < len(labels)))


@dataclass(frozen=True)
class Curve:
    """A curve of points `x`, `y`, float64 `(P,)` in 0..1, of a recogniser and an average, with its area."""

    name: str
    average: str
    x: np.ndarray
    y: np.ndarray
    area: float


class Curves(Display):
    """Base class of the displays of `curves`: solid lines for macro averages, dotted ones for micro averages."""

    def size(self) -> tuple[float, float]:
        return 5.2, 4.2

    def draw_curves(self, ax, axis_labels: tuple[str, str], area: str) -> None:
        names = list(dict.fromkeys(curve.name for curve in self.curves))
        colours = {name: colour for name, (colour, _) in zip(names, styles("tab10"))}
        for curve in self.curves:
            text = label(f"{curve.name}, {curve.average}: {area} {curve.area:.3f}", 80)
            style = {"color": colours[curve.name], "linestyle": "-" if curve.average == "macro" else ":"}
            ax.plot(curve.x, curve.y, label=text, linewidth=1.4, **style)
        ax.set(xlabel=axis_labels[0], ylabel=axis_labels[1], xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        ax.grid(alpha=0.3)
        add_legend(ax)


@dataclass(eq=False)
class RocCurves(Curves):
    """True positive rate against false positive rate, each class against the rest, averaged over classes or clips."""

    curves: list[Curve]

    @classmethod
    def from_predictions(cls, predictions: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> "RocCurves":
        """Return the macro and micro curves of recognisers: labels int `(N,)` and logits float `(N, C)` by name.

        The macro curve is the mean of the curves of the classes; its area is the mean of their areas.
        """
        return cls([curve for name, found in predictions.items() for curve in _curves(name, *found, _mean_roc)])

    def draw(self, ax) -> None:
        ax.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=0.8)
        self.draw_curves(ax, ("false positive rate", "true positive rate"), "AUC")


@dataclass(eq=False)
class PrecisionRecallCurves(Curves):
    """Precision against recall, each class against the rest, averaged over classes or clips."""

    curves: list[Curve]

    @classmethod
    def from_predictions(cls, predictions: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> "PrecisionRecallCurves":
        """Return the macro and micro curves of recognisers: labels int `(N,)` and logits float `(N, C)` by name.

        The area is the average precision, without interpolation. The macro curve is the mean precision of the classes
        at equal recall; its area is the mean of their average precisions.
        """
        return cls([curve for name, found in predictions.items() for curve in _curves(name, *found, _mean_precision)])

    def draw(self, ax) -> None:
        self.draw_curves(ax, ("recall", "precision"), "AP")


def _curves(name: str, labels: np.ndarray, logits: np.ndarray, mean_curve) -> list[Curve]:
    scores = _probabilities(logits)
    judged = _judged(labels, scores)
    if not len(judged):
        return []
    is_class = np.eye(scores.shape[1], dtype=bool)[labels]
    by_class = [(is_class[:, number], scores[:, number]) for number in judged]
    pooled = [(is_class.ravel(), scores.ravel())]
    return [Curve(name, average, *mean_curve(decisions)) for average, decisions in zip(AVERAGES, (by_class, pooled))]


def _mean_roc(decisions: list[tuple]) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the mean ROC curve of pairs of truth bool `(M,)` and scores `(M,)`, and the mean area."""
    curves = [roc_curve(truth, scores)[:2] for truth, scores in decisions]
    area = float(np.mean([auc(x, y) for x, y in curves]))
    if len(curves) == 1:
        return *_thinned(*curves[0]), area
    mean = np.mean([np.interp(GRID, x, y) for x, y in curves], axis=0)
    return np.concatenate([[0], GRID]), np.concatenate([[0], mean]), area  # the step at 0 belongs to the curve


def _mean_precision(decisions: list[tuple]) -> tuple[np.ndarray, np.ndarray, float]:
    """Return mean precision at equal recall, and the mean average precision, of pairs as in `_mean_roc`.

    Between two thresholds the precision is that of the lower one, as in the definition of average precision.
    """
    curves = [precision_recall_curve(truth, scores)[:2] for truth, scores in decisions]
    area = float(np.mean([average_precision_score(truth, scores) for truth, scores in decisions]))
    if len(curves) == 1:
        precision, recall = curves[0]
        return *_thinned(recall[::-1], precision[::-1]), area
    at_recall = [precision[::-1][np.searchsorted(recall[::-1], GRID)] for precision, recall in curves]
    return GRID, np.mean(at_recall, axis=0), area


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a curve with the first of the neighbouring points that would be drawn at one place, and its last point."""
    cells = np.stack([np.round(x * CELLS), np.round(y * CELLS)])
    kept = np.concatenate([[True], np.any(np.diff(cells) != 0, axis=0)])
    kept[-1] = True
    return x[kept], y[kept]
