"""Class scores: the decision whether they are logits or probabilities, and logits from probabilities."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from utils.base.errors import UserError

TOTALS = (1.0, 100.0)  # sums of a row of probabilities, as fractions and in percent
ZERO, OTHER, MISSING = 0.0, -1.0, np.nan  # results of `row_totals` for rows that are not probabilities

SLACK = 2**-8  # relative error of a sum of unrounded probabilities; bfloat16 errs by up to half of this
# The decimals to which probabilities may be rounded, with the relative error of the number format: a file may have been
# float16 at two decimals, and float32 at more. Further decimals are within SLACK.
ROUNDED = {2: 2**-11, 3: 2**-22, 4: 2**-22}
LARGEST_STEP = 0.01
SMALLEST_PROBABILITY = 1e-30
MIXED = 0.1  # logits rarely sum to 1 or 100: a file with a larger share of such rows is not taken as logits
BLOCK = 2**20  # values that are examined at a time


@dataclass(frozen=True)
class ScoreKind:
    """What a file of class scores holds.

    total: the sum of a row of probabilities, 1 or 100; None for logits, and for probabilities that are divided by the
    sum of their row. step: the smallest probability above 0 in the file, at most 0.01; zeros are smaller.
    """

    name: str
    total: float | None = None
    step: float = 0.0

    def __str__(self) -> str:
        return self.name if self.are_logits else f"{self.name}, log taken"

    @property
    def are_logits(self) -> bool:
        return self.name == "logits"


LOGITS = ScoreKind("logits")


def kind_of(scores: np.ndarray, *, what: str, asked: str = "auto") -> ScoreKind:
    """Decide what scores `(N, ..., C)` are; `asked` is "auto", or "probabilities" or "logits" to override.

    With "auto", they are probabilities if each row sums to 1, or each to 100, within the tolerance of `row_totals`, and
    logits if fewer than 10 % of the rows do. Rows of zeros and rows that are not finite hold no scores and are left
    out. Raises UserError that starts with `what` if only some rows are probabilities, or if some sum to 1 and others to
    100.
    """
    if asked == "logits":
        return LOGITS
    totals = [row_totals(rows) for rows in blocks(scores)]
    total = None
    if asked == "auto":
        total = common_total(scores, np.concatenate(totals), what=what)
        if total is None:
            return LOGITS
    smallest = LARGEST_STEP
    for rows, divisors in zip(blocks(scores), totals):
        if total is None:
            with np.errstate(over="ignore"):
                divisors = np.where((rows >= 0).all(axis=1), rows.sum(axis=1), ZERO)
        known = (divisors > 0) & np.isfinite(divisors)
        shares = rows[known] / divisors[known, None]
        smallest = min(smallest, shares[shares > 0].min(initial=smallest))
    name = "probabilities in percent" if total == 100 else "probabilities"
    return ScoreKind(name, total, float(smallest))


def common_total(scores: np.ndarray, totals: np.ndarray, *, what: str) -> float | None:
    """Return the sum of the rows of scores `(N, ..., C)` if they are probabilities, 1 or 100, or None for logits.

    `totals` are the `row_totals` of all rows. Raises UserError that starts with `what` for a mixture.
    """
    ones, hundreds, others = (int((totals == total).sum()) for total in (*TOTALS, OTHER))
    likely, count = ones + hundreds, ones + hundreds + others
    if not likely or likely < MIXED * count:
        return None
    total = TOTALS[0] if ones >= hundreds else TOTALS[1]
    if max(ones, hundreds) < count:
        refuse_mixture(scores, totals, total, what=what)
    return total


def blocks(scores: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the rows of scores `(N, ..., C)` in parts: float64 `(B, C)`."""
    at_a_time = max(1, BLOCK // max(1, int(np.prod(scores.shape[1:]))))
    for start in range(0, len(scores), at_a_time):
        yield np.asarray(scores[start : start + at_a_time], np.float64).reshape(-1, scores.shape[-1])


def row_totals(scores: np.ndarray) -> np.ndarray:
    """Return whether rows of scores `(B, C)` are probabilities: float64 `(B,)`.

    1 or 100 is the sum of a row of probabilities, ZERO marks a row of zeros, OTHER any other finite row, and MISSING
    (NaN) a row that is not finite. A sum may differ from 1 by SLACK. If a row is rounded to two, three or four
    decimals, with steps u, each value above 0 may be too large, and any value too small, by u / 2. The sum is then at
    most 1 + u / 2 per value above 0, and at least 1 - C u / 2, but not below 1 / 2. The same holds for percentages
    relative to 100.
    """
    scores = np.asarray(scores, np.float64)
    finite = np.isfinite(scores).all(axis=1)
    totals = np.where(finite, OTHER, MISSING)
    with np.errstate(invalid="ignore", over="ignore"):
        sums = scores.sum(axis=1)
        totals[finite & (scores == 0).all(axis=1)] = ZERO
        for total in TOTALS:
            near = finite & (sums >= 0.5 * total) & (sums <= 3 * total) & (scores >= 0).all(axis=1)
            shares = scores[near] / total
            half_steps = rounding_step(shares) / 2
            lowest = np.maximum(0.5, 1 - shares.shape[1] * half_steps - SLACK)
            highest = 1 + (shares > 0).sum(axis=1) * half_steps + SLACK
            fits = (shares.sum(axis=1) >= lowest) & (shares.sum(axis=1) <= highest)
            totals[np.flatnonzero(near)[fits]] = total
    return totals


def rounding_step(shares: np.ndarray) -> np.ndarray:
    """Return the step to which rows of probabilities `(B, C)` are rounded, 0.01 to 0.0001, or 0: float64 `(B,)`."""
    steps = np.zeros(len(shares))
    for decimals, error in sorted(ROUNDED.items(), reverse=True):
        multiples = shares * 10**decimals
        steps[(np.abs(multiples - np.round(multiples)) <= error * multiples).all(axis=1)] = 10.0**-decimals
    return steps


def refuse_mixture(scores: np.ndarray, totals: np.ndarray, total: float, *, what: str) -> None:
    """Raise UserError about the first row that is not of the kind of most probabilities, which sum to `total`."""
    position = np.flatnonzero(np.isfinite(totals) & (totals != ZERO) & (totals != total))[0]
    row, *view = np.unravel_index(position, scores.shape[:-1])
    values = np.asarray(scores[row], np.float64).reshape(-1, scores.shape[-1])[view[0] if view else 0]
    where = f"row {row}" + (f" in view {view[0]}" if view else "")
    raise UserError(
        f"{what} must hold logits or probabilities, but {(totals == total).sum()} rows sum to {total:g} and {where} "
        f"{fault_of(values)}; correct it, or choose --source_scores probabilities or logits"
    )


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
    row share evenly what the row lacks to 1, at least half a `step` in total, and at most half a `step` each.
    """
    with np.errstate(over="ignore"):
        if kind.are_logits:
            return np.asarray(scores).astype(np.float32)
        scores = np.asarray(scores, np.float64)
        sums = scores.sum(axis=-1, keepdims=True)
    valid = np.isfinite(sums) & (sums > 0) & (scores >= 0).all(axis=-1, keepdims=True)
    shares = np.where(valid, scores / np.where(valid, kind.total or sums, 1), np.nan)
    zeros = (shares == 0).sum(axis=-1, keepdims=True)
    lacking = np.maximum(1 - shares.sum(axis=-1, keepdims=True), kind.step / 2)
    share_of_zero = np.minimum(lacking / np.maximum(zeros, 1), kind.step / 2)
    shares = np.where(shares == 0, share_of_zero, shares)
    return np.log(np.maximum(shares, SMALLEST_PROBABILITY)).astype(np.float32)


def probabilities_of(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return softmax(logits / temperature) of logits `(..., C)`, in float64."""
    scaled = np.asarray(logits, np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def are_probabilities(scores: np.ndarray) -> bool:
    """Return whether all rows of a network's outputs `(B, C)` are probabilities of the same total."""
    totals = row_totals(scores)
    return bool(np.isin(totals, TOTALS).all() and len(set(totals)) == 1)
