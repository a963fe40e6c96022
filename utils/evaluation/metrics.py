"""Numbers about one recogniser's answers, or two recognisers', from plain arrays.

`logits` are float (N, C); logarithms of probabilities are logits too. `labels` are int (N,), 0..C-1. All arithmetic is
in float64. How far a number can be trusted is the business of utils.evaluation.intervals.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, rel_entr, softmax
from sklearn.metrics import cohen_kappa_score, precision_recall_fscore_support

from utils.runtime.errors import UserError


@dataclass(frozen=True)
class PerClass:
    """One number a class, each float64 (C,) from 0 to 1 or NaN where it is not defined, and `clips` int64 (C,).

    accuracy: the share of the class's clips that are recognised, which is its recall; NaN if the class has no clips.
    precision: the share of the answers "this class" that are right; NaN if it is never answered.
    """

    clips: np.ndarray
    accuracy: np.ndarray
    precision: np.ndarray

    @property
    def mean_accuracy(self) -> float:
        """The mean over the classes that have clips, so that each class counts alike."""
        return float(np.nanmean(self.accuracy))


@dataclass(frozen=True)
class Calibration:
    """What a recogniser's confidence is worth, in bins of equal width; arrays are (bins,).

    edges: float64 (bins + 1,) from 0 to 1; a bin holds confidences above its lower and up to its upper edge.
    confidence, accuracy: means of the clips in the bin, NaN if there are none.
    expected_error: the mean of |accuracy - confidence| over bins, weighted by their clips; 0 is perfect, 1 the worst.
    """

    edges: np.ndarray
    clips: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    expected_error: float


@dataclass(frozen=True)
class Agreement:
    """How alike two recognisers answer the same clips, right or wrong.

    same_answer: the share of clips with the same first answer. kappa: Cohen's, 0 for agreement by chance and 1 for full
    agreement; NaN if both always give one and the same answer. divergence: the mean Kullback-Leibler divergence of the
    second's probabilities from the first's, KL(first || second), in nats.
    """

    same_answer: float
    kappa: float
    divergence: float


def correct_answers(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Whether the highest score is the label's, bool (N,); of equal scores the first counts."""
    labels, logits = _checked(labels, logits)
    return np.argmax(logits, axis=1) == labels


def accuracy(labels: np.ndarray, logits: np.ndarray) -> float:
    """The share of clips whose highest score is the label's, 0 to 1."""
    return float(np.mean(correct_answers(labels, logits)))


def top_k_accuracy(labels: np.ndarray, logits: np.ndarray, k: int) -> float:
    """The share of clips whose label is among the k highest scores, 0 to 1; 1 if there are no more than k classes.

    Of equal scores the first counts, as in `accuracy`. (scikit-learn's takes the last, and no two-class scores.)
    """
    labels, logits = _checked(labels, logits)
    answers = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    return float(np.mean(np.any(answers == labels[:, None], axis=1)))


def per_class(labels: np.ndarray, logits: np.ndarray) -> PerClass:
    """Accuracy and precision of each class."""
    labels, logits = _checked(labels, logits)
    precision, recall, _, clips = precision_recall_fscore_support(
        labels, np.argmax(logits, axis=1), labels=np.arange(logits.shape[1]), zero_division=np.nan
    )
    return PerClass(clips.astype(np.int64), np.where(clips > 0, recall, np.nan), precision)


def cross_entropy(labels: np.ndarray, logits: np.ndarray) -> float:
    """The mean of -log p(label), in nats; infinite if a label has probability 0."""
    labels, logits = _checked(labels, logits)
    return float(-np.mean(log_softmax(logits, axis=1)[np.arange(len(labels)), labels]))


def calibration(labels: np.ndarray, logits: np.ndarray, *, bins: int = 15) -> Calibration:
    """The expected calibration error and its bins; the confidence is the highest probability.

    Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599, equation 3.
    """
    labels, logits = _checked(labels, logits)
    correct = np.argmax(logits, axis=1) == labels
    highest = softmax(logits, axis=1).max(axis=1)
    edges = np.linspace(0, 1, bins + 1)
    bin_of_clip = np.clip(np.searchsorted(edges, highest, side="left") - 1, 0, bins - 1)
    clips = np.bincount(bin_of_clip, minlength=bins)
    sums = [np.bincount(bin_of_clip, weights=values, minlength=bins) for values in (highest, correct)]
    confidence, right = (np.divide(total, clips, out=np.full(bins, np.nan), where=clips > 0) for total in sums)
    return Calibration(edges, clips, confidence, right, float(np.abs(sums[1] - sums[0]).sum() / len(labels)))


def agreement(logits: np.ndarray, other_logits: np.ndarray) -> Agreement:
    """How alike two recognisers answer; for distillation the teacher's logits are the first.

    A student may be as accurate as its teacher and yet answer otherwise (Stanton et al., arXiv:2106.05945).
    """
    answers, others = np.argmax(logits, axis=1), np.argmax(other_logits, axis=1)
    _, logits = _checked(answers, logits)
    _, other_logits = _checked(others, other_logits)
    if logits.shape != other_logits.shape:
        raise ValueError(
            f"Expected scores of the same clips and classes. Received {logits.shape}, {other_logits.shape}"
        )
    one_answer = len(np.union1d(answers, others)) == 1
    kappa = np.nan if one_answer else float(cohen_kappa_score(answers, others))
    divergence = rel_entr(softmax(logits, axis=1), softmax(other_logits, axis=1)).sum(axis=1).mean()
    return Agreement(float(np.mean(answers == others)), kappa, float(divergence))


def _checked(labels: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, logits = np.asarray(labels), np.asarray(logits, np.float64)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(f"Expected labels (N,) and scores (N, C). Received {labels.shape} and {logits.shape}")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(f"Expected labels 0..{logits.shape[1] - 1}. Received {labels.min()}..{labels.max()}")
    broken = np.count_nonzero(np.isnan(logits).any(axis=1))
    if broken:
        raise UserError(f"the recogniser's scores must be numbers, got NaN for {broken} of {len(labels)} clips")
    return labels, logits
