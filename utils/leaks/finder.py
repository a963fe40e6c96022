"""What test clips share with the clips that a recogniser has seen: clips, groups, source films, near-duplicates.

python -m utils.leaks.finder --data frames.npy --annotations labels.npy --split random
"""

import numpy as np

from utils.data.clips import ClipDataset
from utils.leaks.hashes import ClipHashes, hashes_of
from utils.leaks.near_duplicates import find_near_duplicates
from utils.leaks.report import FILM, FILM_ELSEWHERE, GROUP, NEAR, SAME, LeakReport
from utils.splits.groups import groups_or_reason


class LeakFinder:
    """Finds leaks in splits of one data set; hashes are read or computed once, and equal questions answered once."""

    def __init__(self, dataset: ClipDataset):
        self.dataset = dataset
        self._hashes: ClipHashes | None = None
        self._known: dict[tuple, LeakReport] = {}

    def find(
        self, test: np.ndarray, train: np.ndarray, validation: np.ndarray, *, group_pattern: str | None = None
    ) -> LeakReport:
        """What `test` rows share with `train` and `validation` rows."""
        question = (test.tobytes(), train.tobytes(), validation.tobytes(), group_pattern)
        if question not in self._known:
            if self._hashes is None:
                self._hashes = hashes_of(self.dataset)
            self._known[question] = find_leaks(
                self.dataset, self._hashes, test, train, validation, group_pattern=group_pattern
            )
        return self._known[question]


def find_leaks(
    dataset: ClipDataset,
    hashes: ClipHashes,
    test: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    *,
    group_pattern: str | None = None,
) -> LeakReport:
    """What `test` rows share with `train` and `validation` rows, by their names and by their hashes.

    In HMDB51 the group is the source film, told apart by whether the seen clip is of the same class; with
    `group_pattern` both are looked at. Raises UserError if `group_pattern` does not fit the paths.
    """
    seen = np.union1d(train, validation)
    same = np.intersect1d(test, seen)
    pairs, notes, keys = {SAME: np.stack([same, same], axis=1)}, [], None
    by_name, reason = groups_or_reason(dataset.paths, None)
    films = by_name is not None and by_name.pattern.startswith("HMDB51")
    groups, reason = (by_name, reason) if group_pattern is None else groups_or_reason(dataset.paths, group_pattern)
    if groups is not None:
        keys = groups.keys
    else:
        notes.append(f"No groups are known: {reason}.")
    if groups is not None and not (films and group_pattern is None):
        pairs[GROUP] = pairs_with_equal_keys(keys, test, seen)
    if films:
        shared = pairs_with_equal_keys(by_name.keys, test, seen)
        same_class = dataset.labels[shared[:, 0]] == dataset.labels[shared[:, 1]]
        pairs |= {FILM: shared[same_class], FILM_ELSEWHERE: shared[~same_class]}
    near = find_near_duplicates(hashes, test, seen)
    pairs[NEAR] = near.pairs
    return LeakReport(dataset, test, train, validation, pairs, near.distances, len(near.unjudged), keys, tuple(notes))


def pairs_with_equal_keys(keys: np.ndarray, test: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """int64 (n, 2): each test row with each other seen row of the same key, in order."""
    order = np.argsort(keys[seen], kind="stable")
    sorted_keys = keys[seen][order]
    first, last = (np.searchsorted(sorted_keys, keys[test], side=side) for side in ("left", "right"))
    found = [
        np.stack([np.full(end - start, row), np.sort(seen[order[start:end]])], axis=1)
        for row, start, end in zip(test.tolist(), first, last, strict=True)
    ]
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *found])
    return pairs[pairs[:, 0] != pairs[:, 1]]
