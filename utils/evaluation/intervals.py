"""Confidence intervals of accuracies and of their differences, over clips, groups and repeated runs.

`benchmarks/coverage.py` simulates how often the intervals cover the true value; docs/report.md has its table.
"""

import itertools
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.05  # of tests; intervals have 1 - LEVEL
Z = float(stats.norm.isf(LEVEL / 2))
FLIPS = 10_000  # sign flips of a permutation test with more than 13 groups
DECIMALS = 9  # sums of shares that should be equal differ by rounding
WIDE = "With 2 {}, the interval is wide: more --seeds or several folds (--split fold:N) narrow it."


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval.

    low, high: None if the data cannot give an interval. method: how the interval was computed, for the user.
    n: number of clips or runs. groups: number of groups or folds among them, None if they are independent.
    caution: a sentence for the user, or "".
    standard_deviation: of the runs or, with several folds, of the fold means; None for intervals over clips.
    """

    estimate: float
    low: float | None
    high: float | None
    method: str
    n: int
    groups: int | None = None
    caution: str = ""
    standard_deviation: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Two models on the same clips or runs.

    difference: accuracy of the first minus that of the second, -1 to 1. p_value: of the hypothesis that both are
    equally accurate; None without a test. test: name of the significance test. verdict: "significant", "not
    significant" or "too few groups for a test" (clips, seeds, folds), if even the clearest result would have a
    p-value above LEVEL. The interval of a significant difference excludes 0, and that of no other one does, except
    with too few groups.
    """

    difference: Interval
    p_value: float | None
    test: str
    verdict: str


def accuracy_interval(values: np.ndarray, groups: np.ndarray | None = None) -> Interval:
    """Return the accuracy with Wilson's interval, with groups for an effective number of clips.

    values: (N,), whether the clip is recognised, or the share of training seeds that recognise it. groups: the group of
    each clip (N,), None if clips are independent. Groups may come from several folds, each tested by networks that
    never saw them.

    Clips of one group tend to be recognised or missed together, so they carry less information than independent clips.
    The effective number of clips is the number of independent ones that would have the variance between groups, times
    (z / t)^2 with a degree of freedom less than groups (Korn & Graubard 1998). It is at most the number of clips. If
    all groups have the same accuracy, the variance is unknown and each group counts once. A single group gets the
    interval of independent clips and a caution.
    """
    sums, clips = _sums_by_group(np.asarray(values), groups)
    n, count = int(clips.sum()), len(clips)
    estimate = float(sums.sum() / n)
    if count == n:
        return Interval(estimate, *_wilson(estimate, n), "Wilson", n)
    if count == 1:
        caution = "All clips belong to one group, so the interval does not cover other groups."
        return Interval(estimate, *_wilson(estimate, n), "Wilson", n, 1, caution)
    error, t = _error_over_groups(sums, clips)
    independent = estimate * (1 - estimate) * (Z / t) ** 2
    effective = count if error < 10**-DECIMALS else min(n, max(independent / error**2, 1))
    return Interval(estimate, *_wilson(estimate, effective), "Wilson over groups", n, count)


def compare(correct: np.ndarray, other_correct: np.ndarray, groups: np.ndarray | None = None) -> Comparison:
    """Compare the accuracies of two models on the same clips; see `compare_gains`.

    correct, other_correct: bool (N,). groups: as in `accuracy_interval`.
    """
    correct, other_correct = np.asarray(correct, np.int64), np.asarray(other_correct, np.int64)
    if correct.shape != other_correct.shape:
        raise ValueError(f"Expected the same clips twice. Received shapes {correct.shape} and {other_correct.shape}")
    return compare_gains(correct - other_correct, groups)


def compare_gains(gains: np.ndarray, groups: np.ndarray | None = None) -> Comparison:
    """Return the mean of one difference per clip with its interval and test.

    gains: (N,), -1, 0 or 1, or the difference of the shares of training seeds that recognise the clip. groups: as in
    `accuracy_interval`.

    For independent clips the interval is that of Agresti & Min (2005), and the test McNemar's exact test, a binomial
    test on the clips that only one of the two models recognises. With groups, the test is a permutation test that
    exchanges the two models in random groups, and the interval holds the differences that it does not reject. With
    fewer than 6 groups it rejects nothing; the interval is then Student's t over groups. Neither interval nor p-value
    is more certain than for independent clips.
    """
    gains = np.asarray(gains)
    sums, clips = _sums_by_group(gains, groups)
    n, count = int(clips.sum()), len(clips)
    estimate = float(sums.sum() / n)
    low, high, p_value = _over_clips(gains)
    test = "McNemar, exact" if np.issubdtype(gains.dtype, np.integer) else "z"
    if count == n:
        method, unit = "Agresti and Min", "clips"
    elif count == 1:
        low, high, method, unit = None, None, "t over groups", "groups"
    else:
        permuted, *inverted = _permutation(sums, clips)
        if permuted >= p_value:
            p_value, test = permuted, "permutation over groups"
        method, unit = "permutation over groups", "groups"
        if _smallest_p(count) > LEVEL:
            error, t = _error_over_groups(sums, clips)
            inverted, method = (estimate - t * error, estimate + t * error), "t over groups"
        low, high = max(min(low, inverted[0]), -1.0), min(max(high, inverted[1]), 1.0)
    caution = "No interval: all clips belong to one group." if low is None else ""
    interval = Interval(estimate, low, high, method, n, None if count == n else count, caution)
    if _smallest_p(count) > LEVEL:
        return Comparison(interval, p_value, test, f"too few {unit} for a test")
    return Comparison(interval, p_value, test, _verdict(p_value))


def over_runs(
    values: Mapping[tuple[Hashable, Hashable], float], *, bounds: tuple[float, float] = (0.0, 1.0)
) -> Interval:
    """Return the mean over runs and its t interval, clipped to `bounds`.

    values: one number per run, by (seed, fold).

    Runs of one fold share its test clips. With several folds the units are therefore the folds, each with the mean of
    its seeds; otherwise they are the runs. Over seeds, the interval describes the variation of training, not of other
    test clips. Over folds it is approximate, because folds share training clips (Bengio & Grandvalet 2004). One unit or
    equal units give no interval: equal values do not prove that the variance is 0.
    """
    if not values:
        raise ValueError("Expected at least one run. Received none")
    numbers = np.array(list(values.values()), np.float64)
    folds, fold_of_run = np.unique([str(fold) for _, fold in values], return_inverse=True)
    units, name, fold_count = numbers, "seeds", None
    if len(folds) > 1:
        units = np.bincount(fold_of_run, weights=numbers) / np.bincount(fold_of_run)
        name, fold_count = "folds", len(folds)
    count, mean = len(units), float(np.mean(units))
    method = f"t over {count} {name}"
    if count == 1:
        return Interval(mean, None, None, method, 1, fold_count, "No interval: there is only one run.")
    deviation = float(np.std(units, ddof=1))
    if np.allclose(units, mean, rtol=0, atol=1e-12):
        caution = f"No interval: all {name} have the same value."
        return Interval(mean, None, None, method, len(numbers), fold_count, caution, 0.0)
    margin = float(stats.t.isf(LEVEL / 2, count - 1) * deviation / np.sqrt(count))
    low, high = max(mean - margin, bounds[0]), min(mean + margin, bounds[1])
    caution = WIDE.format(name) if count == 2 else ""
    return Interval(mean, low, high, method, len(numbers), fold_count, caution, deviation)


def paired_over_runs(
    values: Mapping[tuple[Hashable, Hashable], float], other_values: Mapping[tuple[Hashable, Hashable], float]
) -> Comparison:
    """Compare the means of `values` and `other_values` over their common runs by a paired t-test.

    values, other_values: shares in 0..1 by (seed, fold), as in `over_runs`. Pairing cancels the effects of fold and
    seed that both have in common.
    """
    differences = {run: values[run] - other_values[run] for run in values if run in other_values}
    if not differences:
        raise ValueError("Expected runs with the same seed and fold on both sides. Received none")
    found = over_runs(differences, bounds=(-1.0, 1.0))
    unit = found.method.split()[-1]
    if found.low is None:
        return Comparison(found, None, f"paired t over {unit}", f"too few {unit} for a test")
    count = found.groups or found.n
    p_value = 2 * stats.t.sf(abs(found.estimate) / found.standard_deviation * np.sqrt(count), count - 1)
    return Comparison(found, float(p_value), f"paired t over {unit}", _verdict(p_value))


def _verdict(p_value: float) -> str:
    return "significant" if p_value < LEVEL else "not significant"


def _smallest_p(units: int) -> float:
    """Return the p-value of a two-sided test by exchange if one model is better in all of the units."""
    return 2.0 ** (1 - units)


def _sums_by_group(values: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of `values`, float64, and the number of clips, int64, of each group, both (G,)."""
    if values.ndim != 1 or not len(values):
        raise ValueError(f"Expected one value per clip, shape (N,). Received shape {values.shape}")
    if groups is None:
        return values.astype(np.float64), np.ones(len(values), np.int64)
    if np.shape(groups) != values.shape:
        raise ValueError(f"Expected one group per clip, shape {values.shape}. Received shape {np.shape(groups)}")
    _, group_of_clip, clips = np.unique(groups, return_inverse=True, return_counts=True)
    return np.bincount(group_of_clip, weights=values), clips


def _wilson(rate: float, n: float) -> tuple[float, float]:
    """Return Wilson's score interval of a rate of `n` clips, which need not be a whole number."""
    centre = (rate + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(rate * (1 - rate) / n + Z**2 / (4 * n**2))
    return float(max(centre - half, 0)), float(min(centre + half, 1))


def _error_over_groups(sums: np.ndarray, clips: np.ndarray) -> tuple[float, float]:
    """Return the standard error of the mean of clips in groups, as ratio estimate, and the quantile of Student's t."""
    count, n = len(clips), clips.sum()
    residuals = sums - sums.sum() / n * clips
    error = np.sqrt(count / (count - 1) * np.sum(residuals**2)) / n
    return float(error), float(stats.t.isf(LEVEL / 2, count - 1))


def _over_clips(gains: np.ndarray) -> tuple[float, float, float]:
    """Return interval and p-value of the mean of independent gains."""
    n = len(gains) + 2  # Agresti and Min add one clip to the sums for each direction of the difference, half of it each
    mean = gains.sum() / n
    error = np.sqrt((np.sum(gains.astype(np.float64) ** 2) + 1) / n - mean**2) / np.sqrt(n)
    low, high = max(mean - Z * error, -1.0), min(mean + Z * error, 1.0)
    if not np.issubdtype(gains.dtype, np.integer):
        return float(low), float(high), float(2 * stats.norm.sf(abs(mean) / error))
    only_first, either = np.count_nonzero(gains > 0), np.count_nonzero(gains)
    p_value = float(stats.binomtest(only_first, either).pvalue) if either else 1.0
    if p_value >= LEVEL:  # the exact test is more cautious
        low, high = min(low, 0.0), max(high, 0.0)
    return float(low), float(high), p_value


def _permutation(sums: np.ndarray, clips: np.ndarray) -> tuple[float, float, float]:
    """Return the p-value of a permutation test over groups, and the interval of differences with p of LEVEL or more.

    Exchanging the models in some groups divides the groups into two parts. It is at least as extreme under a
    difference between the means of the two parts.
    """
    count = len(sums)
    if 2**count <= FLIPS:
        signs = np.array(list(itertools.product((1, -1), repeat=count)), np.int8)
    else:
        signs = np.random.default_rng(0).choice(np.array([1, -1], np.int8), (FLIPS, count))
        signs[0] = 1
    values = np.stack([sums, clips], axis=1)
    flipped = np.concatenate([part @ values for part in np.array_split(signs, max(1, len(signs) // 500))])
    total, all_clips = values.sum(axis=0)
    flipped_sums, flipped_clips = flipped.round(DECIMALS).T
    p_value = np.mean(np.abs(flipped_sums) >= round(abs(total), DECIMALS))
    with np.errstate(divide="ignore", invalid="ignore"):  # without an exchange, one part is empty
        means = [(total + s * flipped_sums) / (all_clips + s * flipped_clips) for s in (1, -1)]
    lows, highs = np.nan_to_num(np.min(means, axis=0), nan=-np.inf), np.nan_to_num(np.max(means, axis=0), nan=np.inf)
    place = int(np.ceil(LEVEL * len(signs))) - 1
    return float(p_value), float(np.sort(lows)[place]), float(np.sort(highs)[::-1][place])
