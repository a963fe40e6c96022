"""A linear probe: logistic regression on standardised features, with cross-fitted scores of the fitted clips."""

import warnings
from collections.abc import Iterator

import numpy as np
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from utils.data.stratify import group_folds

STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # candidates for C of scikit-learn's LogisticRegression
DEFAULT_STRENGTH = 1e-3
STEPS = 500
FOLDS = 5
UNSEEN = -100.0  # logit of classes without training clips


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


def folded(probe: Pipeline, class_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the probe as a dense layer on raw features: kernel float32 `(D, C)` and bias float32 `(C,)`.

    The softmax of its outputs are the probe's probabilities. Classes without training clips have a logit of UNSEEN.
    """
    scaler, regression = probe
    coefficients, intercepts = regression.coef_, regression.intercept_
    if len(intercepts) == 1:  # with two classes, scikit-learn has the score of the second only
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        intercepts = np.array([0.0, intercepts[0]])
    kernel, bias = np.zeros((coefficients.shape[1], class_count)), np.full(class_count, UNSEEN)
    kernel[:, regression.classes_] = (coefficients / scaler.scale_).T
    bias[regression.classes_] = intercepts - coefficients @ (scaler.mean_ / scaler.scale_)
    return kernel.astype(np.float32), bias.astype(np.float32)


def choose_strength(
    features: np.ndarray, labels: np.ndarray, class_count: int, *, keys: np.ndarray, seed: int
) -> float:
    """Choose C by cross-validation over groups: the lowest mean cross-entropy on view 0 of held-out clips.

    Features `(B, K + 1, D)`, labels `(B,)` and group keys `(B,)` are those of the labelled training clips, so that the
    choice uses no other labels. Returns DEFAULT_STRENGTH if a class is never held out, because it has a single group.
    """
    parts = list(held_out_parts(labels, keys, seed=seed))
    if {label for _, held_out in parts for label in labels[held_out]} != set(labels):
        print(f"note: a class has too few groups for cross-validation; the teacher uses C {DEFAULT_STRENGTH}.")
        return DEFAULT_STRENGTH

    def loss(strength: float) -> float:
        total = 0.0
        for rest, held_out in parts:
            probe = fit_probe(features[rest], labels[rest], strength=strength)
            scores = class_scores(probe, features[held_out, 0], class_count)
            total -= np.take_along_axis(scores, labels[held_out, None], axis=1).sum()
        return total

    return min(STRENGTHS, key=loss)


def fitted_scores(probe: Pipeline, features: np.ndarray, class_count: int) -> np.ndarray:
    """Score every clip with one probe: float32 `(N, K + 1, C)`, NaN where features `(N, K + 1, D)` are NaN."""
    known = np.isfinite(features).all(axis=-1)
    scores = np.full((*features.shape[:2], class_count), np.nan, np.float32)
    scores[known] = class_scores(probe, features[known], class_count)
    return scores


def cross_fitted_scores(
    scores: np.ndarray, features: np.ndarray, labels: np.ndarray, *, keys: np.ndarray, strength: float, seed: int
) -> np.ndarray:
    """Score each labelled training clip with a probe of the clips of other groups: float32 `(B, K + 1, C)`.

    Features `(B, K + 1, D)`, labels `(B,)` and group keys `(B,)` are those of the labelled training clips. Clips whose
    class has no other group keep their `scores` `(B, K + 1, C)`.
    """
    crossed = scores.copy()
    for rest, held_out in held_out_parts(labels, keys, seed=seed):
        probe = fit_probe(features[rest], labels[rest], strength=strength)
        crossed[held_out] = class_scores(probe, features[held_out], scores.shape[-1])
    return crossed


def held_out_parts(labels: np.ndarray, keys: np.ndarray, *, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the clips to fit and the clips to score, bool `(B,)` each, for up to FOLDS folds of whole groups.

    A clip whose class does not occur outside its fold is not scored.
    """
    count = min(FOLDS, len(np.unique(keys)), np.unique(labels, return_counts=True)[1].max())
    fold = group_folds(labels, keys, count=count, seed=seed) if count > 1 else np.zeros(len(labels), np.int64)
    for number in np.unique(fold):
        rest = fold != number
        held_out = ~rest & np.isin(labels, labels[rest])
        if held_out.any() and len(np.unique(labels[rest])) > 1:
            yield rest, held_out
