"""A linear probe: logistic regression on standardised features, with cross-fitted scores of the training clips."""

import warnings

import numpy as np
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from utils.splits.protocols import Split
from utils.splits.stratify import group_folds

STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # candidates for C of scikit-learn's LogisticRegression
STEPS = 500


def fit_probe(features: np.ndarray, labels: np.ndarray, *, strength: float) -> Pipeline:
    """Fit a classifier to all views of some clips: features `(B, K + 1, D)`, labels `(B,)`."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=STEPS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an approximate fit is good enough for a teacher
        return probe.fit(features.reshape(-1, features.shape[-1]), labels.repeat(features.shape[1]))


def class_scores(probe: Pipeline, features: np.ndarray, class_count: int) -> np.ndarray:
    """Return finite log-probabilities of `class_count` classes for features `(..., D)`, float32 `(..., C)`.

    Classes without training clips get the lowest score of the row.
    """
    values = probe.decision_function(features.reshape(-1, features.shape[-1]))
    if values.ndim == 1:  # with two classes, scikit-learn returns the score of the second only
        values = np.stack([np.zeros_like(values), values], axis=1)
    scores = np.repeat(values.min(axis=1, keepdims=True), class_count, axis=1)
    scores[:, probe.classes_] = values
    return log_softmax(scores, axis=1).astype(np.float32).reshape(*features.shape[:-1], class_count)


def choose_strength(features: np.ndarray, labels: np.ndarray, split: Split, class_count: int) -> float:
    """Return the C whose probe of the training clips has the lowest cross-entropy on view 0 of the validation clips."""

    def validation_loss(strength: float) -> float:
        probe = fit_probe(features[split.train], labels[split.train], strength=strength)
        scores = class_scores(probe, features[split.validation, 0], class_count)
        return -np.take_along_axis(scores, labels[split.validation, None], axis=1).mean()

    return min(STRENGTHS, key=validation_loss)


def fitted_scores(
    features: np.ndarray, labels: np.ndarray, split: Split, class_count: int, *, strength: float
) -> np.ndarray:
    """Score every clip with a probe of all training clips: float32 `(N, K + 1, C)`, NaN where features are NaN."""
    known = np.isfinite(features).all(axis=-1)
    scores = np.full((*features.shape[:2], class_count), np.nan, np.float32)
    scores[known] = class_scores(
        fit_probe(features[split.train], labels[split.train], strength=strength), features[known], class_count
    )
    return scores


def cross_fitted_scores(
    features: np.ndarray, labels: np.ndarray, class_count: int, *, keys: np.ndarray, strength: float, seed: int, folds=5
) -> np.ndarray:
    """Score each training clip with a probe of the training clips of other groups: float32 `(B, K + 1, C)`.

    `features` `(B, K + 1, D)`, `labels` `(B,)` and group `keys` `(B,)` are those of the training clips only.
    """
    part = group_folds(labels, keys, count=min(folds, len(np.unique(keys))), seed=seed)
    scores = np.empty((*features.shape[:2], class_count), np.float32)
    for number in np.unique(part):
        inside = part == number
        probe = fit_probe(features[~inside], labels[~inside], strength=strength)
        scores[inside] = class_scores(probe, features[inside], class_count)
    return scores
