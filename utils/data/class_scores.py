"""Class scores: the decision whether they are logits or probabilities, and logits from probabilities."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from utils.base.errors import UserError

TOLERANCE = 1e-3  # of the sum of a row of probabilities in a file
NETWORK_TOLERANCE = 2**-8  # of the sum of a network's outputs, which may be bfloat16
LARGEST_STEP = 0.01
SMALLEST_PROBABILITY = 1e-30
BLOCK = 2**20  # values that are examined at a time


@dataclass(frozen=True)
class ScoreKind:
    """What a file of class scores holds: logits, or probabilities, which are divided by the sum of their row.

    step: the smallest probability above 0 in the file, at most 0.01; zeros are smaller.
    """

    name: str
    step: float = 0.0

    def __str__(self) -> str:
        return self.name if self.are_logits else f"{self.name}, log taken"

    @property
    def are_logits(self) -> bool:
        return self.name == "logits"


LOGITS = ScoreKind("logits")


def kind_of(scores: np.ndarray, *, what: str, asked: str = "auto") -> ScoreKind:
    """Decide what scores `(N, ..., C)` are; `asked` is "auto", "probabilities" or "logits".

    With "auto", they are probabilities if each row is non-negative and sums to 1 within 0.001, and logits if some value
    is negative and fewer than half of the rows do so. Rows of zeros and rows that are not finite hold no scores and are
    left out. Raises UserError that starts with `what` for any other scores: the user must say what they are.
    """
    if asked == "logits":
        return LOGITS
    rows, fitting, lowest, smallest = 0, 0, 0.0, LARGEST_STEP
    for block in blocks(scores):
        with np.errstate(over="ignore"):
            sums = block.sum(axis=1)
        known = np.isfinite(block).all(axis=1) & (block != 0).any(axis=1)
        valid = known & np.isfinite(sums) & (block >= 0).all(axis=1)
        rows += int(known.sum())
        fitting += int((valid & (np.abs(sums - 1) <= TOLERANCE)).sum())
        lowest = min(lowest, block[known].min(initial=0.0))
        shares = block[valid] / sums[valid, None]
        smallest = min(smallest, shares[shares > 0].min(initial=smallest))
    if asked == "probabilities" or (rows and fitting == rows):
        return ScoreKind("probabilities", float(smallest))
    if lowest < 0 and fitting < rows / 2:
        return LOGITS
    raise UserError(
        f"{what} must hold logits or probabilities; choose one of them with --source_scores, because {fitting} of "
        f"{rows} rows sum to 1 within {TOLERANCE}, and the smallest value is {lowest:g}"
    )


def blocks(scores: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the rows of scores `(N, ..., C)` in parts: float64 `(B, C)`."""
    at_a_time = max(1, BLOCK // max(1, int(np.prod(scores.shape[1:]))))
    for start in range(0, len(scores), at_a_time):
        yield np.asarray(scores[start : start + at_a_time], np.float64).reshape(-1, scores.shape[-1])


def fault_of(values: np.ndarray) -> str:
    """Describe why one row of finite scores `(C,)` is not a row of probabilities."""
    with np.errstate(over="ignore"):
        total = values.sum()
    if values.min() < 0 or np.isinf(total):
        return f"holds {values.min() if values.min() < 0 else values.max():g}"
    return f"sums to {total:g}"


def as_logits(scores: np.ndarray, kind: ScoreKind) -> np.ndarray:
    """Return scores `(..., C)` as logits float32. Rows that hold no scores of this kind become NaN.

    Probabilities become logarithms. A probability of 0 stands for one below the resolution of the file: the zeros of a
    row share half a `step`.
    """
    with np.errstate(over="ignore"):
        if kind.are_logits:
            return np.asarray(scores).astype(np.float32)
        scores = np.asarray(scores, np.float64)
        sums = scores.sum(axis=-1, keepdims=True)
    valid = np.isfinite(sums) & (sums > 0) & (scores >= 0).all(axis=-1, keepdims=True)
    shares = np.where(valid, scores / np.where(valid, sums, 1), np.nan)
    zeros = (shares == 0).sum(axis=-1, keepdims=True)
    shares = np.where(shares == 0, kind.step / 2 / np.maximum(zeros, 1), shares)
    return np.log(np.maximum(shares, SMALLEST_PROBABILITY)).astype(np.float32)


def probabilities_of(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return softmax(logits / temperature) of logits `(..., C)`, in float64."""
    scaled = np.asarray(logits, np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def mean_probabilities(all_logits: Sequence[np.ndarray], temperatures: Sequence[float]) -> np.ndarray:
    """Return the mean of softmax(logits / temperature) over the models of an ensemble, or over views: float64.

    This is the rule of eval.py, predict.py and reproduce.py: calibrated probabilities are averaged, each model's at the
    temperature of its record. Without it, a model that is sure of its mistakes would decide for the others.
    """
    return np.mean([probabilities_of(*each) for each in zip(all_logits, temperatures, strict=True)], axis=0)


def are_probabilities(scores: np.ndarray) -> bool:
    """Return whether all rows of a network's outputs `(B, C)` are probabilities."""
    scores = np.asarray(scores, np.float64)
    return bool((scores >= 0).all() and (np.abs(scores.sum(axis=1) - 1) <= NETWORK_TOLERANCE).all())
