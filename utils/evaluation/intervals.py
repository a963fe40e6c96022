"""How far a number can be trusted: intervals of accuracies, of differences and over repeated runs."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 9999
FEW_GROUPS = 10  # by simulation: 10 groups cover 95 % of the time, 5 groups 90 %


@dataclass(frozen=True)
class Interval:
    """An estimate and the range in which the true value lies, with the confidence asked for (95 % by default).

    low, high: None where the data cannot give a range. method: how it was made, for the user.
    n: clips or runs. groups: the independent units among them (groups or folds), None if each stands for itself.
    caution: a sentence for the user, or "".
    standard_deviation: of the runs or, with several folds, of the folds' means; None for intervals over clips.
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
    """Two recognisers on the same clips: the first's accuracy minus the second's, -1 to 1.

    p_value: of the hypothesis that both are equally accurate. test: which test gave it.
    """

    difference: Interval
    p_value: float
    test: str


def accuracy_interval(
    correct: np.ndarray, groups: np.ndarray | None = None, *, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """The accuracy and its interval: Wilson's where clips are independent, a bootstrap over groups where they are not.

    correct: bool (N,). groups: the group of each clip (N,), None if clips are independent.

    Clips of one group are recognised or missed together, so they say less than as many independent clips. The bootstrap
    draws whole groups with replacement (Davison & Hinkley 1997, section 3.8) and takes percentiles of the accuracy,
    expanded for the number of groups (Hesterberg 2015, arXiv:1411.5279). With few groups it is still too narrow, and
    `caution` says so. Where all groups have one accuracy there is nothing to draw; the interval is then Wilson's with
    each group counted once. A single group gives Wilson's, with a caution.
    """
    correct = np.asarray(correct, bool)
    right, clips = _sums_by_group(correct, groups)
    n, group_count = len(correct), len(clips)
    estimate = float(correct.mean())
    if group_count == n:
        return Interval(estimate, *_wilson(correct.sum(), n, confidence), "Wilson", n)
    if group_count == 1:
        caution = "All clips are of one group, so the interval says nothing of clips of other groups."
        return Interval(estimate, *_wilson(correct.sum(), n, confidence), "Wilson", n, 1, caution)
    if _equal_rates(right, clips):
        limits = _wilson(round(estimate * group_count), group_count, confidence)
        return Interval(estimate, *limits, "Wilson over groups", n, group_count, _caution(group_count))
    limits = _bootstrap(right, clips, confidence, seed)
    return Interval(estimate, *limits, "bootstrap over groups", n, group_count, _caution(group_count))


def compare(
    correct: np.ndarray,
    other_correct: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """The difference of two recognisers' accuracies on the same clips, with its interval and a test.

    correct, other_correct: bool (N,). groups: as in `accuracy_interval`.

    Independent clips: McNemar's exact test, a binomial test of the clips that only one of the two recognises (McNemar
    1947). Groups: its like for groups, in which the two recognisers change places in whole groups at random (scipy's
    permutation_test; all ways where they are no more than 9999, so 5 groups cannot give a p below 2/32). The interval
    is a paired bootstrap over groups, or over clips where they are independent; it is None where the difference is the
    same in all of them.
    """
    correct, other_correct = np.asarray(correct, bool), np.asarray(other_correct, bool)
    if correct.shape != other_correct.shape:
        raise ValueError(f"Expected answers to the same clips. Received {correct.shape} and {other_correct.shape}")
    gains, clips = _sums_by_group(correct.astype(np.int64) - other_correct, groups)
    n, group_count = len(correct), len(clips)
    independent = group_count == n
    if independent:
        only_first, only_other = np.count_nonzero(gains > 0), np.count_nonzero(gains < 0)
        either = only_first + only_other
        p_value, test = stats.binomtest(only_first, either).pvalue if either else 1.0, "McNemar, exact"
    else:
        p_value, test = _swapping_p_value(gains, seed), "groups change places"

    estimate = float(gains.sum() / n)
    units = "clips" if independent else "groups"
    if _equal_rates(gains, clips):
        caution = f"The difference is the same in all {units}, which gives no interval."
        limits = (None, None)
    else:
        limits, caution = _bootstrap(gains, clips, confidence, seed), _caution(group_count)
    difference = Interval(
        estimate, *limits, f"paired bootstrap over {units}", n, None if independent else group_count, caution
    )
    return Comparison(difference, float(p_value), test)


def mean_over_groups(values: np.ndarray, groups: np.ndarray, *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """The mean of a number of each clip, and a bootstrap interval over groups as in `accuracy_interval`.

    values: float (N,), for example the share of training seeds that recognise the clip, or the difference of two such
    shares. groups: the group of each clip (N,). Clips may come from several folds, each tested by networks that never
    saw its groups. The interval speaks of other groups; what training seeds do is in it only as far as it differs
    from group to group. None where all groups have one mean, or there is one group.
    """
    values = np.asarray(values, np.float64)
    sums, clips = _sums_by_group(values, groups)
    count, estimate = len(clips), float(values.mean())
    method = "bootstrap over groups"
    if count < 2 or np.allclose(sums / clips, estimate, rtol=0, atol=1e-12):
        caution = "All groups have the same mean, which gives no interval."
        return Interval(estimate, None, None, method, len(values), count, caution)
    limits = _bootstrap(sums, clips, confidence, seed)
    return Interval(estimate, *limits, method, len(values), count, _caution(count))


def over_runs(
    values: Mapping[tuple[Hashable, Hashable], float],
    *,
    confidence: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Interval:
    """The mean over runs and its t interval, which ends at the bounds of what the numbers can be.

    values: one number for each run, by (seed, fold).

    Runs of one fold share its clips. With more than one fold the units are therefore the folds, each the mean of its
    seeds; else they are the runs. The interval is Student's for the mean of independent units. Over seeds it tells how
    the training varies, nothing of other test clips; folds share training clips, so over folds it is approximate
    (Bengio & Grandvalet 2004). One unit gives no interval, nor do equal ones, whose variance is not 0 for all that.
    """
    if not values:
        raise ValueError("Expected at least one run. Received none")
    fold_of_run = np.array([str(fold) for _, fold in values])
    numbers = np.array(list(values.values()), np.float64)
    folds, fold_of_run = np.unique(fold_of_run, return_inverse=True)
    sums = np.bincount(fold_of_run, weights=numbers) / np.bincount(fold_of_run)
    units, name = (sums, "folds") if len(folds) > 1 else (numbers, "seeds")
    count, mean = len(units), float(np.mean(units))
    fold_count = len(folds) if len(folds) > 1 else None
    method = f"t over {count} {name}"
    if count == 1:
        return Interval(mean, None, None, method, 1, fold_count, "One run gives no interval.")
    deviation = float(np.std(units, ddof=1))
    if np.allclose(units, mean, rtol=0, atol=1e-12):
        caution = f"All {name} have the same number, which gives no interval."
        return Interval(mean, None, None, method, len(numbers), fold_count, caution, 0.0)
    margin = float(stats.t.ppf((1 + confidence) / 2, count - 1) * deviation / np.sqrt(count))
    low, high = max(mean - margin, bounds[0]), min(mean + margin, bounds[1])
    return Interval(mean, low, high, method, len(numbers), fold_count, "", deviation)


def paired_over_runs(
    values: Mapping[tuple[Hashable, Hashable], float],
    other_values: Mapping[tuple[Hashable, Hashable], float],
    *,
    confidence: float = 0.95,
) -> Interval:
    """The mean of the first's minus the second's number over the runs that both have, and its t interval.

    values, other_values: shares in 0..1 by (seed, fold), as in `over_runs`. Pairs cancel what a fold or seed
    does to both.
    """
    common = [run for run in values if run in other_values]
    if not common:
        raise ValueError("Expected runs with the same seed and fold on both sides. Received none")
    differences = {run: values[run] - other_values[run] for run in common}
    return over_runs(differences, confidence=confidence, bounds=(-1.0, 1.0))


def _sums_by_group(values: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The sum of `values` (int64, or float64 if they are floats) and the number of clips of each group, (G,)."""
    if values.ndim != 1 or not len(values):
        raise ValueError(f"Expected one answer for each clip (N,). Received {values.shape}")
    kind = np.float64 if np.issubdtype(values.dtype, np.floating) else np.int64
    if groups is None:
        return values.astype(kind), np.ones(len(values), np.int64)
    if np.shape(groups) != values.shape:
        raise ValueError(f"Expected one group for each clip {values.shape}. Received {np.shape(groups)}")
    _, group_of_clip, clips = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.zeros(len(clips), kind)
    np.add.at(sums, group_of_clip, values)
    return sums, clips


def _wilson(right: int, n: int, confidence: float) -> tuple[float, float]:
    limits = stats.binomtest(int(right), int(n)).proportion_ci(confidence, method="wilson")
    return float(limits.low), float(limits.high)


def _equal_rates(sums: np.ndarray, clips: np.ndarray) -> bool:
    """Whether each group has the same sum a clip, so that every bootstrap draw would give the estimate itself."""
    return bool(np.all(sums * clips[0] == sums[0] * clips))


def _bootstrap(sums: np.ndarray, clips: np.ndarray, confidence: float, seed: int) -> tuple[float, float]:
    """Expanded percentiles of sums / clips when whole groups are drawn; needs at least two groups."""
    count = len(clips)
    # percentiles alone miss the factor n / (n - 1) of the variance and Student's t: they cover 83 % with 5 groups
    quantile = stats.t.ppf((1 + confidence) / 2, count - 1) * np.sqrt(count / (count - 1))
    expanded = 1 - 2 * stats.norm.sf(quantile)
    result = stats.bootstrap(
        (sums, clips),
        lambda sums, clips, axis: sums.sum(axis=axis) / clips.sum(axis=axis),
        paired=True,  # a group's two numbers are drawn together
        vectorized=True,
        method="percentile",
        n_resamples=RESAMPLES,
        batch=500,
        confidence_level=expanded,
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _swapping_p_value(gains: np.ndarray, seed: int) -> float:
    decisive = gains[gains != 0]  # a group without a gain stays as it is when the two change places
    if len(decisive) < 2:
        return 1.0
    result = stats.permutation_test(
        (decisive,),
        lambda gains, axis: gains.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=500,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def _caution(group_count: int) -> str:
    if group_count >= FEW_GROUPS:
        return ""
    return f"With {group_count} groups, fewer than {FEW_GROUPS}, the interval is likely to be too narrow."
