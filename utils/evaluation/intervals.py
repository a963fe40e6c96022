"""Confidence intervals of accuracies and of their differences, over clips, groups and repeated runs."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 9999
FEW_GROUPS = 10  # in simulations 10 groups reach 95 % coverage, 5 groups 90 %


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
    """Two recognisers on the same clips.

    difference: accuracy of the first minus that of the second, -1 to 1. p_value: of the hypothesis that both are
    equally accurate. test: name of the significance test.
    """

    difference: Interval
    p_value: float
    test: str


def accuracy_interval(correct: np.ndarray, groups: np.ndarray | None = None) -> Interval:
    """Return the accuracy with Wilson's interval for independent clips, otherwise with a bootstrap over groups.

    correct: bool (N,). groups: the group of each clip (N,), None if clips are independent.

    Clips of one group tend to be recognised or missed together, so they carry less information than independent clips.
    The bootstrap draws whole groups with replacement (Davison & Hinkley 1997, section 3.8) and takes percentiles of the
    accuracy, expanded for the number of groups (Hesterberg 2015, arXiv:1411.5279). With few groups it is still too
    narrow, and `caution` says so. If all groups have the same accuracy, the bootstrap has no spread; the interval is
    then Wilson's with each group counted once. A single group gets Wilson's interval and a caution.
    """
    correct = np.asarray(correct, bool)
    right, clips = _sums_by_group(correct, groups)
    n, group_count = len(correct), len(clips)
    estimate = float(correct.mean())
    if group_count == n:
        return Interval(estimate, *_wilson(correct.sum(), n), "Wilson", n)
    if group_count == 1:
        caution = "All clips belong to one group, so the interval does not cover other groups."
        return Interval(estimate, *_wilson(correct.sum(), n), "Wilson", n, 1, caution)
    if _equal_rates(right, clips):
        limits, method = _wilson(round(estimate * group_count), group_count), "Wilson over groups"
    else:
        limits, method = _bootstrap(right, clips), "bootstrap over groups"
    return Interval(estimate, *limits, method, n, group_count, _caution(group_count))


def compare(correct: np.ndarray, other_correct: np.ndarray, groups: np.ndarray | None = None) -> Comparison:
    """Compare the accuracies of two recognisers on the same clips.

    correct, other_correct: bool (N,). groups: as in `accuracy_interval`.

    For independent clips the test is McNemar's exact test, a binomial test on the clips that only one of the two
    recognises (McNemar 1947). With groups it is a permutation test that exchanges the two recognisers in random groups;
    up to 9999 permutations are enumerated, so with 5 groups p is at least 2/32. The interval of the difference is a
    paired bootstrap over groups or independent clips. It is None if the difference is the same in all of them.
    """
    p_value, test = paired_p_value(correct, other_correct, groups)
    gains, clips = _gains_by_group(correct, other_correct, groups)
    n, group_count = int(clips.sum()), len(clips)
    units, shown_groups = ("clips", None) if group_count == n else ("groups", group_count)
    if _equal_rates(gains, clips):
        limits, caution = (None, None), f"No interval: the difference is the same in all {units}."
    else:
        limits, caution = _bootstrap(gains, clips), _caution(group_count)
    estimate, method = float(gains.sum() / n), f"paired bootstrap over {units}"
    return Comparison(Interval(estimate, *limits, method, n, shown_groups, caution), p_value, test)


def paired_p_value(
    correct: np.ndarray, other_correct: np.ndarray, groups: np.ndarray | None = None
) -> tuple[float, str]:
    """Return the p-value and the name of the test of `compare`."""
    gains, clips = _gains_by_group(correct, other_correct, groups)
    if len(clips) < clips.sum():
        return _permutation_p_value(gains), "permutation over groups"
    only_first, only_other = np.count_nonzero(gains > 0), np.count_nonzero(gains < 0)
    either = only_first + only_other
    return float(stats.binomtest(only_first, either).pvalue) if either else 1.0, "McNemar, exact"


def mean_over_groups(values: np.ndarray, groups: np.ndarray) -> Interval:
    """Return the mean of one value per clip, with a bootstrap interval over groups as in `accuracy_interval`.

    values: float (N,), for example the share of training seeds that recognise the clip, or the difference of two such
    shares. groups: the group of each clip (N,). Clips may come from several folds, each tested by networks that never
    saw its groups. The interval describes the variation between groups; variation between training seeds contributes
    only where it differs between groups. There is no interval if all groups have the same mean.
    """
    values = np.asarray(values, np.float64)
    sums, clips = _sums_by_group(values, groups)
    count, estimate = len(clips), float(values.mean())
    if count < 2 or np.allclose(sums / clips, estimate, rtol=0, atol=1e-12):
        limits, caution = (None, None), "No interval: all groups have the same mean."
    else:
        limits, caution = _bootstrap(sums, clips), _caution(count)
    return Interval(estimate, *limits, "bootstrap over groups", len(values), count, caution)


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
    margin = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * deviation / np.sqrt(count))
    low, high = max(mean - margin, bounds[0]), min(mean + margin, bounds[1])
    return Interval(mean, low, high, method, len(numbers), fold_count, "", deviation)


def paired_over_runs(
    values: Mapping[tuple[Hashable, Hashable], float], other_values: Mapping[tuple[Hashable, Hashable], float]
) -> Interval:
    """Return the mean difference `values` - `other_values` over their common runs, with its t interval.

    values, other_values: shares in 0..1 by (seed, fold), as in `over_runs`. Pairing cancels the effects of fold and
    seed that both have in common.
    """
    differences = {run: values[run] - other_values[run] for run in values if run in other_values}
    if not differences:
        raise ValueError("Expected runs with the same seed and fold on both sides. Received none")
    return over_runs(differences, bounds=(-1.0, 1.0))


def _gains_by_group(
    correct: np.ndarray, other_correct: np.ndarray, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many more clips of each group the first recogniser has right, and its number of clips, int64 (G,)."""
    correct, other_correct = np.asarray(correct, bool), np.asarray(other_correct, bool)
    if correct.shape != other_correct.shape:
        raise ValueError(f"Expected the same clips twice. Received shapes {correct.shape} and {other_correct.shape}")
    return _sums_by_group(correct.astype(np.int64) - other_correct, groups)


def _sums_by_group(values: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of `values` and the number of clips of each group, both (G,). Sums of integers are int64."""
    if values.ndim != 1 or not len(values):
        raise ValueError(f"Expected one value per clip, shape (N,). Received shape {values.shape}")
    kind = np.float64 if np.issubdtype(values.dtype, np.floating) else np.int64
    if groups is None:
        return values.astype(kind), np.ones(len(values), np.int64)
    if np.shape(groups) != values.shape:
        raise ValueError(f"Expected one group per clip, shape {values.shape}. Received shape {np.shape(groups)}")
    _, group_of_clip, clips = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.zeros(len(clips), kind)
    np.add.at(sums, group_of_clip, values)
    return sums, clips


def _wilson(right: int, n: int) -> tuple[float, float]:
    limits = stats.binomtest(int(right), int(n)).proportion_ci(CONFIDENCE, method="wilson")
    return float(limits.low), float(limits.high)


def _equal_rates(sums: np.ndarray, clips: np.ndarray) -> bool:
    """Return whether all groups have the same sum per clip, so that every bootstrap draw gives the estimate itself."""
    return bool(np.all(sums * clips[0] == sums[0] * clips))


def _bootstrap(sums: np.ndarray, clips: np.ndarray) -> tuple[float, float]:
    """Return expanded percentiles of sums / clips over draws of whole groups; there must be at least two groups."""
    count = len(clips)
    # plain percentiles lack the variance factor n / (n - 1) and Student's t: they cover 83 % with 5 groups
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * np.sqrt(count / (count - 1))
    result = stats.bootstrap(
        (sums, clips),
        lambda sums, clips, axis: sums.sum(axis=axis) / clips.sum(axis=axis),
        paired=True,  # the sum and the clip count of a group are drawn together
        vectorized=True,
        method="percentile",
        n_resamples=RESAMPLES,
        batch=500,
        confidence_level=1 - 2 * stats.norm.sf(quantile),
        rng=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _permutation_p_value(gains: np.ndarray) -> float:
    decisive = gains[gains != 0]  # exchanging the recognisers has no effect in a group without a gain
    if len(decisive) < 2:
        return 1.0
    result = stats.permutation_test(
        (decisive,),
        lambda gains, axis: gains.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=500,
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)


def _caution(group_count: int) -> str:
    if group_count >= FEW_GROUPS:
        return ""
    return f"With {group_count} groups, fewer than {FEW_GROUPS}, the interval is likely to be too narrow."
