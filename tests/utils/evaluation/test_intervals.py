"""An interval that is too narrow makes noise look like a result."""

import itertools
import json
from dataclasses import asdict
from math import comb, sqrt

import numpy as np
import pytest
from scipy import stats

from utils.evaluation.intervals import accuracy_interval, compare, compare_gains, over_runs, paired_over_runs


def predictions_by_group(generator, group_count):
    """Draw correct predictions and groups; the accuracy of a group has a beta distribution with mean 2/3."""
    rates = generator.beta(1.5, 0.75, group_count)
    groups = np.repeat(np.arange(group_count), generator.integers(4, 9, group_count))
    return generator.random(len(groups)) < rates[groups], groups


@pytest.mark.parametrize(("right", "n"), [(0, 10), (7, 10), (10, 10), (1, 1), (730, 1000)])
def test_wilson_by_hand(right, n):
    """Otherwise the reported interval would not be Wilson's."""
    z, rate = 1.959963984540054, right / n
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    interval = accuracy_interval(np.arange(n) < right)
    assert (interval.estimate, interval.method, interval.n, interval.groups) == (rate, "Wilson", n, None)
    assert interval.low == pytest.approx(max(centre - half, 0), abs=1e-12)
    assert interval.high == pytest.approx(min(centre + half, 1), abs=1e-12)
    # one group per clip is the same as no groups
    assert accuracy_interval(np.arange(n) < right, np.arange(n)) == interval


def test_effective_number_of_clips_by_hand():
    """Clips of one person would count like clips of as many people."""
    rates, size = np.array([0.2, 0.6, 0.9, 0.5]), 10
    correct = np.concatenate([np.arange(size) < round(rate * size) for rate in rates])
    interval = accuracy_interval(correct, np.repeat(np.arange(4), size))
    error = rates.std(ddof=1) / sqrt(4)
    effective = 0.55 * 0.45 / error**2 * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 3)) ** 2
    assert effective < 5
    centre = (0.55 * effective + 1.959964**2 / 2) / (effective + 1.959964**2)
    assert (interval.low + interval.high) / 2 == pytest.approx(centre, abs=1e-6)
    assert (interval.method, interval.n, interval.groups, interval.caution) == ("Wilson over groups", 40, 4, "")
    shares = accuracy_interval(correct.astype(float), np.repeat(np.arange(4), size))  # of one seed
    assert (shares.low, shares.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("group_count", [2, 3, 5, 10, 40])
def test_coverage(group_count):
    """A 95 % interval would not contain the true accuracy in 95 % of tests; see benchmarks/coverage.py."""
    generator = np.random.default_rng(0)
    simulations = [predictions_by_group(generator, group_count) for _ in range(300)]
    for intervals, is_enough in (
        ([accuracy_interval(*each) for each in simulations], True),
        ([accuracy_interval(correct) for correct, _ in simulations], False),
    ):
        covered = np.mean([interval.low <= 2 / 3 <= interval.high for interval in intervals])
        assert covered > 0.92 if is_enough else covered < 0.85


@pytest.mark.parametrize(("rate", "right"), [(1.0, 6), (0.0, 0), (0.5, 3)])
def test_equal_groups_do_not_give_certainty(rate, right):
    """Otherwise 60 of 60 clips of six people would be reported as 100 % +- 0, or 60 independent clips."""
    correct = np.tile([True] * round(10 * rate) + [False] * round(10 - 10 * rate), 6)
    interval = accuracy_interval(correct, np.repeat(np.arange(6), 10))
    wilson = stats.binomtest(right, 6).proportion_ci(method="wilson")
    assert (interval.low, interval.high) == pytest.approx((wilson.low, wilson.high))
    one = accuracy_interval([True, True, False], ["lena"] * 3)
    assert (one.method, one.groups) == ("Wilson", 1)
    assert one.caution.startswith("All clips belong to one group")


def test_groups_never_give_certainty_and_words_never_contradict_the_interval():
    """An interval that excludes 0 would stand beside "not significant", or be narrower than for independent clips."""
    generator, verdicts = np.random.default_rng(0), set()
    for _ in range(300):
        groups = np.repeat(np.arange(generator.integers(2, 16)), 6)
        rates = generator.random((2, groups[-1] + 1))
        first = generator.random(len(groups)) < rates[0][groups]
        other = generator.random(len(groups)) < np.where(generator.random() < 0.5, rates[1][groups], 0.1)
        clustered, independent = compare(first, other, groups), compare(first, other)
        verdicts.add(clustered.verdict)
        for found in (clustered, independent):
            is_zero_outside = not found.difference.low <= 0 <= found.difference.high
            assert found.verdict.startswith("too few") or is_zero_outside == (found.verdict == "significant")
        assert clustered.p_value >= independent.p_value
        for wide, narrow in (
            (clustered.difference, independent.difference),
            (accuracy_interval(first, groups), accuracy_interval(first)),
        ):
            assert wide.low <= narrow.low + 1e-12
            assert wide.high >= narrow.high - 1e-12
    assert verdicts == {"significant", "not significant", "too few groups for a test"}


@pytest.mark.parametrize(("only_first", "only_other"), [(0, 0), (5, 0), (3, 9), (12, 12)])
def test_mcnemar_by_hand(only_first, only_other):
    """Otherwise chance would decide which recogniser is better."""
    first = np.array([1] * only_first + [0] * only_other + [1] * 20 + [0] * 7, bool)
    other = np.array([0] * only_first + [1] * only_other + [1] * 20 + [0] * 7, bool)
    either = only_first + only_other
    tail = sum(comb(either, count) for count in range(min(only_first, only_other) + 1)) / 2**either
    comparison = compare(first, other)
    assert comparison.test == "McNemar, exact"
    assert comparison.p_value == pytest.approx(min(1, 2 * tail))
    assert comparison.difference.estimate == pytest.approx((only_first - only_other) / len(first))
    cells = np.array([only_first, only_other, 20, 7]) + 0.5  # Agresti and Min add half a clip to each
    gain, changed, n = cells[0] - cells[1], cells[0] + cells[1], cells.sum()
    margin = 1.959963984540054 * sqrt(changed - gain**2 / n) / n
    low, high = gain / n - margin, gain / n + margin
    is_significant = comparison.p_value < 0.05
    expected = (low, high) if is_significant else (min(low, 0), max(high, 0))
    assert (comparison.difference.low, comparison.difference.high) == pytest.approx(expected)
    assert comparison.verdict == ("significant" if is_significant else "not significant")


def test_permutation_over_groups_by_hand():
    """Otherwise many clips of few sources would make a small difference significant."""
    gains, sizes = np.array([3, 2, -1, 4, 0, 1]), np.array([6, 6, 6, 6, 9, 6])
    first = np.concatenate([[gain > 0] * abs(gain) + [True] * (n - abs(gain)) for gain, n in zip(gains, sizes)])
    other = np.concatenate([[gain < 0] * abs(gain) + [True] * (n - abs(gain)) for gain, n in zip(gains, sizes)])
    groups = np.repeat(list("abcdef"), sizes)

    def p_value(difference):
        left = gains - difference * sizes
        sums = [np.dot(signs, left) for signs in itertools.product((-1, 1), repeat=6)]
        return np.mean(np.abs(sums) >= abs(left.sum()) - 1e-9)

    comparison = compare(first, other, groups)
    found = comparison.difference
    assert (comparison.test, found.method) == ("permutation over groups",) * 2
    assert comparison.p_value == pytest.approx(p_value(0))
    assert found.estimate == pytest.approx(9 / 39)
    assert (found.n, found.groups) == (39, 6)
    for end, outside in ((found.low, -1e-6), (found.high, 1e-6)):
        assert p_value(end) >= 0.05 > p_value(end + outside)
    reverse = compare(other, first, groups)
    assert reverse.p_value == comparison.p_value
    assert (reverse.difference.low, reverse.difference.high) == pytest.approx((-found.high, -found.low))
    many = np.repeat(np.arange(3 * 6), 3)  # more groups than can be enumerated
    drawn = compare(np.tile([1, 1, 0], 18), np.tile([0, 1, 0], 18), many)
    assert drawn.p_value == pytest.approx(2**-17, abs=0.001)
    assert drawn.verdict == "significant"


@pytest.mark.parametrize(("count", "verdict"), [(5, "too few groups for a test"), (6, "significant")])
def test_too_few_groups_for_a_test(count, verdict):
    """A model that is better in each of five groups cannot be significantly better: p is 0.06 or more."""
    gains = np.tile([1.0, 0.0, 0.5, 0.0], count) + 0.1 * (np.arange(4 * count) // 4 % 3)
    comparison = compare_gains(gains, np.repeat(np.arange(count), 4))
    assert comparison.verdict == verdict
    assert comparison.p_value == 2 * 0.5**count
    by_group = gains.reshape(count, 4).mean(axis=1)
    student = stats.t.interval(0.95, count - 1, by_group.mean(), stats.sem(by_group))
    if count == 5:
        assert comparison.difference.low <= student[0]
        assert comparison.difference.method == "t over groups"


def test_false_positives_on_correlated_clips(monkeypatch):
    """McNemar's test on correlated clips often calls one of two equally accurate recognisers better."""
    monkeypatch.setattr("utils.evaluation.intervals.FLIPS", 500)
    generator = np.random.default_rng(0)
    alarms, alarms_by_clips, covered = [], [], []
    for _ in range(200):
        groups = np.repeat(np.arange(20), 8)
        better, worse = generator.random((2, 20)) < 0.5  # which recogniser is right on the group
        noise = generator.random((2, 160)) < 0.1
        first, other = better[groups] ^ noise[0], worse[groups] ^ noise[1]
        comparison = compare(first, other, groups)
        alarms.append(comparison.verdict == "significant")
        alarms_by_clips.append(compare(first, other).verdict == "significant")
        covered.append(comparison.difference.low <= 0 <= comparison.difference.high)
    assert np.mean(alarms) < 0.09
    assert np.mean(covered) > 0.91
    assert np.mean(alarms_by_clips) > 0.3


def test_comparison_without_a_difference():
    """Otherwise equal models, or clips of one group, would cause a traceback or an interval of width 0."""
    same = compare([1, 0, 1, 1], [1, 0, 1, 1], ["a", "a", "b", "b"])
    assert (same.p_value, same.difference.estimate) == (1, 0)
    assert same.difference.low < -0.1 < 0.1 < same.difference.high
    one_group = compare([1, 1, 1, 0], [0, 0, 0, 0], ["a"] * 4)
    assert (one_group.difference.estimate, one_group.difference.low) == (0.75, None)
    assert one_group.verdict == "too few groups for a test"
    assert one_group.difference.caution == "No interval: all clips belong to one group."
    json.dumps(asdict(same), allow_nan=False)


def test_runs_over_seeds_by_hand():
    """Otherwise three lucky seeds would look like a result."""
    interval = over_runs({(0, "1"): 0.5, (1, "1"): 0.6, (2, "1"): 0.7})
    margin = 4.302652729696142 * 0.1 / sqrt(3)
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((0.6, 0.6 - margin, 0.6 + margin))
    assert interval.standard_deviation == pytest.approx(0.1)
    assert (interval.method, interval.n, interval.groups) == ("t over 3 seeds", 3, None)


def test_runs_over_folds_count_each_fold_once():
    """Otherwise many seeds on one test set would count as many test sets."""
    values = {(seed, fold): fold / 50 + seed / 100 for seed in range(4) for fold in (3, 5, 7)}
    interval = over_runs(values)
    means = [0.075, 0.115, 0.155]
    low, high = stats.t.interval(0.95, 2, np.mean(means), stats.sem(means))
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((0.115, low, high))
    assert (interval.method, interval.n, interval.groups) == ("t over 3 folds", 12, 3)


def test_bounds_one_run_and_no_run():
    """Otherwise an accuracy could exceed 100 %, or a single run could get an interval."""
    wide = over_runs({(0, "group"): 0.5, (1, "group"): 0.9})
    assert (wide.low, wide.high) == (0, 1)  # by t -1.84 to 3.24
    wide = paired_over_runs({(0, 1): 0.5, (1, 1): 0.1}, {(0, 1): 0.1, (1, 1): 0.9}).difference
    assert (wide.low, wide.high) == (-1, 1)
    one = over_runs({(0, "group"): 0.5})
    assert (one.estimate, one.low, one.high, one.standard_deviation) == (0.5, None, None, None)
    assert one.caution == "No interval: there is only one run."
    two = over_runs({(0, "group"): 0.5, (1, "group"): 0.6})
    assert two.caution.startswith("With 2 seeds, the interval is wide: more --seeds or several folds")
    with pytest.raises(ValueError, match="at least one run"):
        over_runs({})


def test_equal_runs_give_no_interval():
    """Otherwise two seeds that happen to agree would give an interval of width 0."""
    comparison = paired_over_runs({(0, 1): 0.7, (1, 1): 0.6}, {(0, 1): 0.5, (1, 1): 0.4})
    assert (comparison.p_value, comparison.verdict) == (None, "too few seeds for a test")
    gain = comparison.difference
    assert (gain.low, gain.high, gain.standard_deviation) == (None, None, 0.0)
    assert gain.estimate == pytest.approx(0.2)
    assert gain.caution == "No interval: all seeds have the same value."


def test_pairs_by_seed_and_fold():
    """Otherwise a gain in every fold would be hidden by the differences between folds."""
    generator = np.random.default_rng(0)
    runs = [(seed, fold) for fold in range(5) for seed in range(2)]
    alone = {run: 0.3 + 0.1 * run[1] for run in runs}
    distilled = {run: value + 0.02 + 0.005 * generator.normal() for run, value in alone.items()}
    comparison = paired_over_runs({**distilled, (9, 9): 0.9}, dict(reversed(alone.items())))
    interval = comparison.difference
    by_fold = [[values[seed, fold] for seed in range(2)] for values in (distilled, alone) for fold in range(5)]
    means = np.mean(by_fold, axis=1).reshape(2, 5)
    assert comparison.p_value == pytest.approx(stats.ttest_rel(*means).pvalue)
    assert comparison.verdict == "significant"
    assert interval.n == 10
    assert 0 < interval.low < 0.02 < interval.high < 0.04
    assert over_runs(distilled).low < over_runs(alone).high
    with pytest.raises(ValueError, match="same seed and fold"):
        paired_over_runs({(0, 1): 0.5}, {(1, 1): 0.5})


@pytest.mark.parametrize(("first", "other", "groups"), [([1, 0], [1], None), ([1, 0], [1, 0], [1]), ([], [], None)])
def test_shapes_must_match(first, other, groups):
    """Otherwise predictions for different clips would be compared."""
    with pytest.raises(ValueError, match="Expected"):
        compare(first, other, groups)
