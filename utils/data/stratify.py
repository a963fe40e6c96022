"""Stratified parts of a set of clips: single clips, or whole groups as far as they allow it."""

import warnings

import numpy as np

PARTS = 5  # one part in five, 20 %
TOLERANCE = 0.05  # 15 % to 25 % of the clips is about a fifth


def part_of_clips(labels: np.ndarray, *, seed: list[int]) -> np.ndarray:
    """Draw a random fifth of each class, at least one clip per class.

    labels: int64 (N,). seed: of NumPy's default_rng. Returns bool (N,), True for the part.
    """
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels).tolist():
        rows = np.flatnonzero(labels == label)
        count = max(1, round(len(rows) / PARTS))
        chosen[np.random.default_rng([*seed, label]).permutation(rows)[:count]] = True
    return chosen


def part_of_groups(labels: np.ndarray, keys: np.ndarray, *, keep: int, seed: list[int]) -> np.ndarray:
    """Choose whole groups that contain about a fifth of each class.

    labels: int64 (N,). keys: the group of each clip (N,). keep: the number of groups of each class that must stay
    outside the part; each class must have more. seed: of NumPy's default_rng. Returns bool (N,), True for the part,
    which is never empty.

    The candidates are the folds of scikit-learn's StratifiedGroupKFold, which may contain all groups of a class. Each
    candidate is improved by moving single groups in or out: first until `keep` holds, then to cover more classes, then
    towards a fifth of each class. The best candidate is returned.
    """
    generator = np.random.default_rng(seed)
    _, labels = np.unique(labels, return_inverse=True)
    group_of_clip = _shuffled_groups(keys, generator)
    group_count = group_of_clip.max() + 1
    clips = np.zeros((group_count, labels.max() + 1), np.int64)
    np.add.at(clips, (group_of_clip, labels), 1)

    fold_count = min(PARTS, group_count, clips.sum(axis=0).max())
    inside = np.zeros((fold_count, group_count), bool)
    inside[_folds(labels, group_of_clip, fold_count), group_of_clip] = True
    inside = np.array([_improved(part, clips, keep=keep) for part in inside[generator.permutation(fold_count)]])
    inside_clips = inside @ clips
    faults = _faults(clips, inside_clips, inside @ (clips > 0), keep=keep)
    # parts within the tolerance count as equal in size, so that the seed chooses among them
    excess = np.maximum(np.abs(inside_clips.sum(axis=1) / len(labels) - 1 / PARTS) - TOLERANCE, 0)
    return inside[np.lexsort((excess, faults))[0]][group_of_clip]


def group_folds(labels: np.ndarray, keys: np.ndarray, *, count: int, seed: int) -> np.ndarray:
    """Divide whole groups into `count` stratified folds of similar size with scikit-learn's StratifiedGroupKFold.

    labels: int64 (N,). keys: the group of each clip (N,), at least `count` different ones. Returns the fold of each
    clip, int64 (N,), 0..count-1.
    """
    return _folds(labels, _shuffled_groups(keys, np.random.default_rng(seed)), count)


def _shuffled_groups(keys: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Number the groups in random order, int64 (N,); the folds' own shuffling uses NumPy's legacy generator."""
    groups, group_of_clip = np.unique(keys, return_inverse=True)
    return generator.permutation(len(groups))[group_of_clip]


def _folds(labels: np.ndarray, group_of_clip: np.ndarray, count: int) -> np.ndarray:
    from sklearn.model_selection import StratifiedGroupKFold

    fold_of_clip = np.empty(len(labels), np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        folds = StratifiedGroupKFold(n_splits=count).split(labels, labels, group_of_clip)
        for fold, (_, rows) in enumerate(folds):
            fold_of_clip[rows] = fold
    return fold_of_clip


def _faults(clips: np.ndarray, inside_clips: np.ndarray, inside_groups: np.ndarray, *, keep: int) -> np.ndarray:
    """Count the faults of parts that contain these clips and groups of each class (..., C).

    A class with fewer than `keep` groups outside counts more than all classes without clips inside.
    """
    outside_groups = (clips > 0).sum(axis=0) - inside_groups
    lacking = np.maximum(keep - outside_groups, 0).sum(axis=-1)
    missing = (inside_clips == 0).sum(axis=-1)
    return lacking * (clips.shape[1] + 1) + missing


def _improved(inside: np.ndarray, clips: np.ndarray, *, keep: int) -> np.ndarray:
    """Move one group at a time, the best move first, until no move improves the part.

    inside: bool (G,). clips: int64 (G, C), clips of each group and class. Costs are integers, so that rounding cannot
    decide. If a class lacks groups outside, it has several inside, and moving one of them out always improves the part.
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
