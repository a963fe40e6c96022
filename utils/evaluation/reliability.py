"""Reliability diagrams: how often predictions of each confidence are correct."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax
from sklearn.calibration import calibration_curve

from utils.base.drawing import Display, label
from utils.evaluation.figures import add_legend, styles
from utils.evaluation.metrics import calibration_error

BINS = 15  # of equal width, as in `calibration_error`


@dataclass(frozen=True)
class Reliability:
    """Accuracy by confidence of a recogniser, float64 `(B,)` each in 0..1, for the bins that have clips.

    clips: number of clips per bin, int64 `(B,)`. error: the expected calibration error, 0 to 1.
    """

    name: str
    confidence: np.ndarray
    accuracy: np.ndarray
    clips: np.ndarray
    error: float


@dataclass(eq=False)
class ReliabilityDiagram(Display):
    """Accuracy against confidence, the highest probability of a clip; on the diagonal both agree."""

    lines: list[Reliability]

    @classmethod
    def from_predictions(cls, predictions: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> "ReliabilityDiagram":
        """Return the diagram of recognisers: labels int `(N,)` and logits float `(N, C)` by name.

        To show a temperature, add logits divided by it under another name. Recognisers whose probabilities are not
        finite have no line.
        """
        lines = []
        for name, (labels, logits) in predictions.items():
            with np.errstate(invalid="ignore"):  # infinite logits
                probabilities = softmax(np.asarray(logits, np.float64), axis=1)
            confidence = np.clip(probabilities.max(axis=1), 0, 1)  # rounding may exceed 1
            if not np.isfinite(confidence).all():
                continue
            correct = np.argmax(logits, axis=1) == labels
            accuracy, mean_confidence = calibration_curve(correct, confidence, n_bins=BINS, pos_label=True)
            bin_of_clip = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence)
            clips = np.bincount(bin_of_clip, minlength=BINS)
            error = calibration_error(labels, logits, bins=BINS)
            lines.append(Reliability(name, mean_confidence, accuracy, clips[clips > 0], error))
        return cls(lines)

    def size(self) -> tuple[float, float]:
        return 5.2, 4.2

    def draw(self, ax) -> None:
        ax.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=0.8)
        for line, (colour, marker) in zip(self.lines, styles("tab10")):
            text = label(f"{line.name}: ECE {100 * line.error:.1f} %", 80)
            sizes = 12 + 120 * line.clips / line.clips.sum()  # in square points
            ax.plot(line.confidence, line.accuracy, color=colour, linewidth=1.2)
            ax.scatter(line.confidence, line.accuracy, sizes, color=colour, marker=marker, alpha=0.75, label=text)
        ax.set(xlabel="confidence", ylabel="accuracy", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        ax.grid(alpha=0.3)
        add_legend(ax)
