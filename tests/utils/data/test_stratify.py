"""A test set without some classes, or far from a fifth of the clips, measures a different problem."""

import itertools

import numpy as np
import pytest

from utils.data.stratify import part_of_clips, part_of_groups


def random_clips(generator):
    """Draw labels and groups: up to 7 classes, up to 9 shared groups (3 or more per class) of very unequal sizes."""
    group_count = generator.integers(3, 10)
    labels, keys = [], []
    for label in range(generator.integers(1, 8)):
        for key in generator.permutation(group_count)[: generator.integers(3, group_count + 1)]:
            clips = generator.integers(1, generator.choice([2, 5, 40]))
            labels += [label] * clips
            keys += [key] * clips
    return np.array(labels), np.array(keys)


def test_parts_are_nearly_the_best_of_all_parts():
    """Otherwise a class would not be tested, or most clips would be, although the groups allow a better split."""
    generator = np.random.default_rng(0)
    larger_than_needed = 0
    for seed in range(100):
        labels, keys = random_clips(generator)
        names = np.unique(keys)
        clips = np.array([np.bincount(labels[keys == key], minlength=labels.max() + 1) for key in names])  # (G, C)
        parts = np.array(list(itertools.product((False, True), repeat=len(names)))[1:])
        kept = np.array([np.all((clips[~part] > 0).sum(axis=0) >= 2) for part in parts])
        parts = parts[kept]
        missing = ((parts @ clips) == 0).sum(axis=1)
        shares = (parts @ clips).sum(axis=1) / len(labels)

        chosen = part_of_groups(labels, keys, keep=2, seed=[seed])
        part = np.isin(names, keys[chosen])
        assert chosen.tolist() == np.isin(keys, names[part]).tolist()
        (place,) = np.flatnonzero(np.all(parts == part, axis=1))  # two groups of each class stay outside
        assert missing[place] == missing.min()
        larger_than_needed += shares[place] > 0.35 and shares[missing == missing.min()].min() <= 0.35
    assert larger_than_needed <= 2  # the greedy search may miss the best size in a few of 100 hard cases


@pytest.mark.parametrize(("count", "chosen"), [(1, 1), (3, 1), (7, 1), (8, 2), (100, 20)])
def test_part_of_clips_is_a_fifth_of_each_class(count, chosen):
    """Otherwise small classes would be missing from the test set."""
    labels = np.repeat([0, 3], [count, 40])
    part = part_of_clips(labels, seed=[0, 0])
    assert np.bincount(labels[part]).tolist() == [chosen, 0, 0, 8]


def test_seeds_choose_clips():
    """Otherwise all split seeds would give the same test clips."""
    labels = np.zeros(50, int)
    parts = {
        tuple(np.flatnonzero(part_of_clips(labels, seed=[seed, stage]))) for seed in range(5) for stage in range(2)
    }
    assert len(parts) == 10
