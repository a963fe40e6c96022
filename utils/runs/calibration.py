"""Calibrated confidences and a rejection threshold, fitted on validation clips and stored in the record."""

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from utils.base.schemas import Positive, Schema, Share
from utils.data.class_scores import probabilities_of

KEPT = 0.95
TEMPERATURES = (0.05, 20.0)  # bounds of the search
FEW_CLIPS = 100  # below, a note says that the calibration is rough
DECIMALS = 6  # of the threshold


class Calibration(Schema):
    """The entry "calibration" of a record.

    The probabilities of the classes are softmax(logits / temperature). A prediction is rejected if the highest one is
    below `threshold`. kept: the share of correct predictions on validation clips that are at or above it. clips: the
    number of these clips. rows: the set that they belong to.
    """

    temperature: Annotated[float, Field(gt=0)]
    threshold: Share
    kept: Share
    clips: Positive
    rows: Literal["validation"]


def fit_calibration(labels: np.ndarray, logits: np.ndarray) -> Calibration:
    """Fit temperature and threshold to validation clips: labels int `(N,)`, logits float `(N, C)`.

    Raises ValueError if there are no clips or if logits are not finite.
    """
    logits = np.asarray(logits, np.float64)
    if not len(labels):
        raise ValueError("there are no validation clips")
    broken = np.count_nonzero(~np.isfinite(logits).all(axis=1))
    if broken:
        raise ValueError(f"the logits of {broken} of {len(labels)} validation clips are not finite")
    correct = logits.argmax(axis=1) == labels
    temperature = best_temperature(labels, logits)
    confidence = probabilities_of(logits, temperature).max(axis=1)
    return Calibration(
        temperature=temperature,
        threshold=threshold_that_keeps(confidence[correct], KEPT),
        kept=KEPT,
        clips=len(labels),
        rows="validation",
    )


def best_temperature(labels: np.ndarray, logits: np.ndarray) -> float:
    """Return the temperature with the lowest cross-entropy, within TEMPERATURES.

    Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599, section 4.2. The cross-entropy is convex
    in 1 / temperature, so the search finds the minimum. If all predictions are correct, the lowest temperature would be
    the best one whatever the logits; 1 is returned instead.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    if (logits.argmax(axis=1) == labels).all():
        return 1.0

    def cross_entropy(temperature: float) -> float:
        return -float(log_softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels].mean())

    found = minimize_scalar(
        lambda logarithm: cross_entropy(math.exp(logarithm)),
        bounds=tuple(map(math.log, TEMPERATURES)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return min(math.exp(found.x), *TEMPERATURES, key=cross_entropy)  # the search does not try the bounds themselves


def threshold_that_keeps(confidence: np.ndarray, kept: float) -> float:
    """Return the k-th highest confidence `(M,)`, where k is the smallest whole number of at least `kept` M.

    At least the share `kept` of the confidences is at or above it. It is rounded down to six decimals, so that rounding
    errors of another device do not reject the clip on the threshold. Without any confidence it is 0, which rejects
    nothing.
    """
    if not len(confidence):
        return 0.0
    k = math.ceil(round(kept * len(confidence), 9))
    highest = np.sort(confidence)[len(confidence) - k]
    return math.floor(float(highest) * 10**DECIMALS) / 10**DECIMALS


def calibration_note(calibration: Calibration) -> str:
    """Return a sentence on a small number of validation clips or a temperature at its bound, or ""."""
    if calibration.temperature in TEMPERATURES:
        return f"the temperature is {calibration.temperature:g}, the bound of its search: the logits hardly predict."
    if calibration.clips >= FEW_CLIPS:
        return ""
    few = f"{calibration.clips} validation clips, fewer than {FEW_CLIPS}"
    return f"temperature and rejection threshold are rough, because they come from {few}."
