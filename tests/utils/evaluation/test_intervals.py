"""An interval that is too narrow makes noise look like a result."""

import itertools
import json
from dataclasses import asdict
from math import comb, sqrt

import numpy as np
import pytest
from scipy import stats

from utils.evaluation.intervals import accuracy_interval, compare, mean_over_groups, over_runs, paired_over_runs


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


def test_bootstrap_equals_plain_resampling():
    """Otherwise single clips could be drawn instead of groups, which changes the width but not the estimate."""
    correct, groups = predictions_by_group(np.random.default_rng(0), 30)
    interval = accuracy_interval(correct, groups)
    generator = np.random.default_rng(1)
    rows = [np.flatnonzero(groups == group) for group in range(30)]
    draws = [
        correct[np.concatenate([rows[group] for group in generator.integers(0, 30, 30)])].mean() for _ in range(3000)
    ]
    tail = stats.norm.cdf(-sqrt(30 / 29) * stats.t.ppf(0.975, 29))
    assert (interval.method, interval.n, interval.groups) == ("bootstrap over groups", len(groups), 30)
    assert interval.estimate == correct.mean()
    assert [interval.low, interval.high] == pytest.approx(np.quantile(draws, [tail, 1 - tail]), abs=0.015)


def test_bootstrap_is_reproducible():
    """Otherwise the same evaluation would give another interval each time."""
    correct, groups = predictions_by_group(np.random.default_rng(0), 12)
    assert accuracy_interval(correct, groups) == accuracy_interval(correct, groups)


def test_coverage_of_independent_clips():
    """Otherwise a 95 % interval would not contain the true accuracy in 95 % of cases."""
    generator = np.random.default_rng(0)
    rights = generator.binomial(40, 0.7, 1000)
    intervals = {right: accuracy_interval(np.arange(40) < right) for right in set(rights.tolist())}
    covered = np.mean([intervals[right].low <= 0.7 <= intervals[right].high for right in rights.tolist()])
    assert 0.93 <= covered <= 0.98


@pytest.mark.parametrize("group_count", [10, 40])
def test_coverage_of_correlated_clips(monkeypatch, group_count):
    """Wilson's interval covers far too rarely if clips of a group are recognised or missed together."""
    monkeypatch.setattr("utils.evaluation.intervals.RESAMPLES", 999)
    generator = np.random.default_rng(0)
    simulations = [predictions_by_group(generator, group_count) for _ in range(400)]
    by_groups = [accuracy_interval(correct, groups) for correct, groups in simulations]
    by_clips = [accuracy_interval(correct) for correct, _ in simulations]
    covered, covered_by_clips = (
        np.mean([interval.low <= 2 / 3 <= interval.high for interval in intervals])
        for intervals in (by_groups, by_clips)
    )
    assert 0.92 <= covered <= 0.98
    assert covered_by_clips < 0.82


def test_few_groups_give_a_caution():
    """Otherwise an interval from five subjects would be trusted like one from a hundred clips."""
    correct, groups = predictions_by_group(np.random.default_rng(0), 5)
    assert accuracy_interval(correct, groups).caution == (
        "With 5 groups, fewer than 10, the interval is likely to be too narrow."
    )
    assert accuracy_interval(*predictions_by_group(np.random.default_rng(0), 10)).caution == ""
    one = accuracy_interval([True, True, False], ["lena"] * 3)
    assert (one.method, one.groups) == ("Wilson", 1)
    assert one.caution.startswith("All clips belong to one group")


@pytest.mark.parametrize(("rate", "right"), [(1.0, 6), (0.0, 0), (0.5, 3)])
def test_equal_groups_do_not_give_certainty(rate, right):
    """Otherwise 60 of 60 clips of six people would be reported as 100 % +- 0."""
    correct = np.tile([True] * round(10 * rate) + [False] * round(10 - 10 * rate), 6)
    interval = accuracy_interval(correct, np.repeat(np.arange(6), 10))
    wilson = stats.binomtest(right, 6).proportion_ci(method="wilson")
    assert (interval.low, interval.high) == (wilson.low, wilson.high)
    assert (interval.method, interval.groups) == ("Wilson over groups", 6)


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
    assert comparison.difference.method == "paired bootstrap over clips"
    if either:
        assert comparison.difference.low <= comparison.difference.estimate <= comparison.difference.high
    else:
        assert comparison.difference.low is None


def test_permutation_over_groups_by_hand():
    """Otherwise many clips of few sources would make a small difference significant."""
    gains = np.array([3, 2, -1, 4, 0, 1])
    first = np.concatenate([[gain > 0] * abs(gain) + [True] * (6 - abs(gain)) for gain in gains])
    other = np.concatenate([[gain < 0] * abs(gain) + [True] * (6 - abs(gain)) for gain in gains])
    groups = np.repeat(["a", "b", "c", "d", "e", "f"], 6)
    sums = [np.dot(signs, gains) for signs in itertools.product((-1, 1), repeat=6)]
    comparison = compare(first, other, groups)
    assert comparison.test == "permutation over groups"
    assert comparison.p_value == pytest.approx(np.mean(np.abs(sums) >= gains.sum()))
    assert comparison.difference.estimate == pytest.approx(9 / 36)
    assert (comparison.difference.n, comparison.difference.groups) == (36, 6)
    assert compare(first, other).p_value < comparison.p_value
    reverse = compare(other, first, groups)
    assert reverse.p_value == comparison.p_value
    assert reverse.difference.estimate == -comparison.difference.estimate


def test_false_positives_on_correlated_clips(monkeypatch):
    """McNemar's test on correlated clips often calls one of two equally accurate recognisers better."""
    monkeypatch.setattr("utils.evaluation.intervals.RESAMPLES", 499)
    generator = np.random.default_rng(0)
    alarms, alarms_by_clips, covered = [], [], []
    for _ in range(200):
        groups = np.repeat(np.arange(20), 8)
        better, worse = generator.random((2, 20)) < 0.5  # which recogniser is right on the group
        noise = generator.random((2, 160)) < 0.1
        first, other = better[groups] ^ noise[0], worse[groups] ^ noise[1]
        comparison = compare(first, other, groups)
        alarms.append(comparison.p_value < 0.05)
        alarms_by_clips.append(compare(first, other).p_value < 0.05)
        covered.append(comparison.difference.low <= 0 <= comparison.difference.high)
    assert np.mean(alarms) < 0.09
    assert np.mean(covered) > 0.91
    assert np.mean(alarms_by_clips) > 0.3


def test_comparison_without_a_difference():
    """Otherwise equal recognisers, or clips of one group, would cause a traceback or an interval of width 0."""
    same = compare([1, 0, 1, 1], [1, 0, 1, 1], ["a", "a", "b", "b"])
    assert (same.p_value, same.difference.low, same.difference.high) == (1, None, None)
    one_group = compare([1, 1, 1, 0], [0, 0, 0, 0], ["a"] * 4)
    assert (one_group.p_value, one_group.difference.estimate, one_group.difference.low) == (1, 0.75, None)
    assert one_group.difference.caution == "No interval: the difference is the same in all groups."
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
    wide = paired_over_runs({(0, 1): 0.5, (1, 1): 0.1}, {(0, 1): 0.1, (1, 1): 0.9})
    assert (wide.low, wide.high) == (-1, 1)
    one = over_runs({(0, "group"): 0.5})
    assert (one.estimate, one.low, one.high, one.standard_deviation) == (0.5, None, None, None)
    assert one.caution == "No interval: there is only one run."
    with pytest.raises(ValueError, match="at least one run"):
        over_runs({})


def test_equal_runs_give_no_interval():
    """Otherwise two seeds that happen to agree would give an interval of width 0."""
    gain = paired_over_runs({(0, 1): 0.7, (1, 1): 0.6}, {(0, 1): 0.5, (1, 1): 0.4})
    assert (gain.low, gain.high, gain.standard_deviation) == (None, None, 0.0)
    assert gain.estimate == pytest.approx(0.2)
    assert gain.caution == "No interval: all seeds have the same value."


def test_pairs_by_seed_and_fold():
    """Otherwise a gain in every fold would be hidden by the differences between folds."""
    generator = np.random.default_rng(0)
    runs = [(seed, fold) for fold in range(5) for seed in range(2)]
    alone = {run: 0.3 + 0.1 * run[1] for run in runs}
    distilled = {run: value + 0.02 + 0.005 * generator.normal() for run, value in alone.items()}
    interval = paired_over_runs({**distilled, (9, 9): 0.9}, dict(reversed(alone.items())))
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


def test_mean_over_groups_is_the_bootstrap_of_accuracies():
    """Otherwise reproduce.py and eval.py would report different intervals for the same predictions."""
    correct, groups = predictions_by_group(np.random.default_rng(3), 12)
    known, found = accuracy_interval(correct, groups), mean_over_groups(correct.astype(float), groups)
    assert (found.estimate, found.low, found.high) == pytest.approx((known.estimate, known.low, known.high))
    same = mean_over_groups(np.full(6, 0.1), np.repeat([0, 1], 3))
    assert (same.estimate, same.low, same.high) == (pytest.approx(0.1), None, None)
    assert same.caution == "No interval: all groups have the same mean."
