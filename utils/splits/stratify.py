"""Parts of a set with about the same share of each class: of single clips, or of whole groups as they allow."""

import warnings

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

PARTS = 5  # one part in five, 20 %
TOLERANCE = 0.05  # 15 % to 25 % of the clips is about a fifth


def part_of_clips(labels: np.ndarray, *, seed: list[int]) -> np.ndarray:
    """A random fifth of each class, at least one clip of each.

    labels: int64 (N,). seed: what the choice depends on. Returns bool (N,), True for the part.
    """
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels).tolist():
        rows = np.flatnonzero(labels == label)
        count = max(1, round(len(rows) / PARTS))
        chosen[np.random.default_rng([*seed, label]).permutation(rows)[:count]] = True
    return chosen


def part_of_groups(labels: np.ndarray, keys: np.ndarray, *, keep: int, seed: list[int]) -> np.ndarray:
    """Whole groups that hold about a fifth of each class.

    labels: int64 (N,). keys: the group of each clip (N,). keep: the number of groups that each class keeps outside the
    part; each class must have more. seed: what the choice depends on. Returns bool (N,), True for the part; it is never
    empty.

    The start are the folds of scikit-learn's StratifiedGroupKFold, which may put all groups of a class on one side. In
    each, single groups change sides while that makes the part better: first until `keep` holds, then until no more
    classes can be brought into the part, then towards a fifth of each class. The best of these parts is taken.
    """
    generator = np.random.default_rng(seed)
    groups, group_of_clip = np.unique(keys, return_inverse=True)
    _, labels = np.unique(labels, return_inverse=True)
    class_count = labels.max() + 1
    # the folds' own shuffling uses NumPy's old generator; renaming the groups at random does the same by the new one
    group_of_clip = generator.permutation(len(groups))[group_of_clip]
    clips = np.zeros((len(groups), class_count), np.int64)
    np.add.at(clips, (group_of_clip, labels), 1)

    fold_count = min(PARTS, len(groups), clips.sum(axis=0).max())
    folds = StratifiedGroupKFold(n_splits=fold_count)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        parts = [np.unique(group_of_clip[rows]) for _, rows in folds.split(labels, labels, group_of_clip)]
    inside = np.zeros((fold_count, len(groups)), bool)
    for fold, part in enumerate(parts):
        inside[fold, part] = True
    inside = np.array([_improved(part, clips, keep=keep) for part in inside[generator.permutation(fold_count)]])
    inside_clips = inside @ clips
    faults = _faults(clips, inside_clips, inside @ (clips > 0), keep=keep)
    # all parts of about the right size serve alike, so the seed chooses among those
    excess = np.maximum(np.abs(inside_clips.sum(axis=1) / len(labels) - 1 / PARTS) - TOLERANCE, 0)
    return inside[np.lexsort((excess, faults))[0]][group_of_clip]


def group_folds(labels: np.ndarray, keys: np.ndarray, *, count: int, seed: int) -> np.ndarray:
    """Divides whole groups into `count` parts of about equal size and shares of classes; int64 (N,), 0..count-1.

    labels: int64 (N,). keys: the group of each clip (N,), at least `count` different ones. By scikit-learn's
    StratifiedGroupKFold on groups renamed at random by the seed.
    """
    groups, group_of_clip = np.unique(keys, return_inverse=True)
    group_of_clip = np.random.default_rng(seed).permutation(len(groups))[group_of_clip]
    fold_of_clip = np.empty(len(labels), np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        folds = StratifiedGroupKFold(n_splits=count).split(labels, labels, group_of_clip)
        for fold, (_, rows) in enumerate(folds):
            fold_of_clip[rows] = fold
    return fold_of_clip


def _faults(clips: np.ndarray, inside_clips: np.ndarray, inside_groups: np.ndarray, *, keep: int) -> np.ndarray:
    """Counts what is wrong with parts that hold these clips and groups of each class (..., C): a class that does not
    keep its groups outside counts more than all classes that are missing inside."""
    outside_groups = (clips > 0).sum(axis=0) - inside_groups
    lacking = np.maximum(keep - outside_groups, 0).sum(axis=-1)
    missing = (inside_clips == 0).sum(axis=-1)
    return lacking * (clips.shape[1] + 1) + missing


def _improved(inside: np.ndarray, clips: np.ndarray, *, keep: int) -> np.ndarray:
    """Moves one group at a time, the best move first, until none makes the part better.

    inside: bool (G,). clips: int64 (G, C), the clips of each group and class. Whole numbers, so that no rounding
    decides. A class that lacks groups outside has more than one inside, so moving one out is always a better part.
    """
    inside = inside.copy()
    present = (clips > 0).astype(np.int64)
    total = clips.sum(axis=0)
    worst_distance = PARTS * total.sum() + 1

    def cost(inside_clips: np.ndarray, inside_groups: np.ndarray) -> np.ndarray:
        distance = np.abs(PARTS * inside_clips - total).sum(axis=-1)
        return _faults(clips, inside_clips, inside_groups, keep=keep) * worst_distance + distance

    while True:
        direction = np.where(inside, -1, 1)[:, None]
        inside_clips, inside_groups = inside @ clips, inside @ present
        costs = cost(inside_clips + direction * clips, inside_groups + direction * present)  # (G,), after each move
        best = np.argmin(costs)
        if costs[best] >= cost(inside_clips, inside_groups):
            return inside
        inside[best] = ~inside[best]
