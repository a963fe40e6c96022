"""Metrics of a recogniser from arrays of labels and logits.

`labels` are int (N,), 0..C-1. `logits` are float (N, C); log-probabilities are valid logits. All arithmetic is in
float64. ValueError is raised if shapes or labels do not match, UserError if logits contain NaN.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.metrics import f1_score, precision_recall_fscore_support

from utils.base.errors import UserError


@dataclass(frozen=True)
class PerClass:
    """Metrics per class: `clips` int64 (C,), the others float64 (C,) from 0 to 1.

    accuracy: recall of the class, NaN if it has no clips. precision: NaN if the class is never predicted. f1: harmonic
    mean of both, NaN if the class has no clips and is never predicted.
    """

    clips: np.ndarray
    accuracy: np.ndarray
    precision: np.ndarray
    f1: np.ndarray

    @property
    def mean_accuracy(self) -> float:
        """Unweighted mean over the classes that have clips."""
        return float(np.nanmean(self.accuracy))


def correct_predictions(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return whether the highest logit is that of the label, bool (N,). Of equal logits the first counts."""
    labels, logits = _checked(labels, logits)
    return np.argmax(logits, axis=1) == labels


def accuracy(labels: np.ndarray, logits: np.ndarray) -> float:
    """Return the share of clips whose highest logit is that of the label, 0 to 1."""
    return float(np.mean(correct_predictions(labels, logits)))


def top_k_accuracy(labels: np.ndarray, logits: np.ndarray, k: int) -> float:
    """Return the share of clips whose label is among the k highest logits, 0 to 1.

    Of equal logits the first counts, as in `accuracy`. (scikit-learn counts the last, and rejects two-class scores.)
    """
    labels, logits = _checked(labels, logits)
    predicted = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    return float(np.mean(np.any(predicted == labels[:, None], axis=1)))


def macro_f1(labels: np.ndarray, logits: np.ndarray) -> float:
    """Return the unweighted mean of the F1 scores of the classes that have clips or are predicted, 0 to 1."""
    labels, logits = _checked(labels, logits)
    return float(f1_score(labels, np.argmax(logits, axis=1), average="macro", zero_division=0))


def per_class(labels: np.ndarray, logits: np.ndarray) -> PerClass:
    """Return accuracy, precision and F1 score of each class."""
    labels, logits = _checked(labels, logits)
    precision, recall, f1, clips = precision_recall_fscore_support(
        labels, np.argmax(logits, axis=1), labels=np.arange(logits.shape[1]), zero_division=np.nan
    )
    return PerClass(clips.astype(np.int64), np.where(clips > 0, recall, np.nan), precision, f1)


def cross_entropy(labels: np.ndarray, logits: np.ndarray) -> float:
    """Return the mean of -log p(label) in nats. It is infinite if a label has probability 0."""
    labels, logits = _checked(labels, logits)
    return float(-np.mean(log_softmax(logits, axis=1)[np.arange(len(labels)), labels]))


def calibration_error(labels: np.ndarray, logits: np.ndarray, *, bins: int = 15) -> float:
    """Return the expected calibration error, 0 (perfect) to 1, over confidence bins of equal width.

    Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599, equation 3. The confidence is the highest
    probability; a bin includes its upper edge.
    """
    labels, logits = _checked(labels, logits)
    correct = np.argmax(logits, axis=1) == labels
    confidence = softmax(logits, axis=1).max(axis=1)
    bin_of_clip = np.clip(np.searchsorted(np.linspace(0, 1, bins + 1), confidence, side="left") - 1, 0, bins - 1)
    return float(np.abs(np.bincount(bin_of_clip, weights=correct - confidence)).sum() / len(labels))


def _checked(labels: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, logits = np.asarray(labels), np.asarray(logits, np.float64)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(f"Expected labels (N,) and logits (N, C). Received shapes {labels.shape} and {logits.shape}")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(f"Expected labels 0..{logits.shape[1] - 1}. Received {labels.min()}..{labels.max()}")
    broken = np.count_nonzero(np.isnan(logits).any(axis=1))
    if broken:
        raise UserError(f"logits of the model must not be NaN, got NaN for {broken} of {len(labels)} clips")
    return labels, logits
