"""Find what test clips share with training and validation clips: clips, groups, source films, near-duplicates."""

import numpy as np

from utils.data.clip_hashes import ClipHashes, hashes_of_all
from utils.data.clips import ClipDataset
from utils.data.groups import Groups, groups_or_reason, keys_of_more
from utils.data.leak_report import FILM, FILM_ELSEWHERE, GROUP, NEAR, SAME, LeakReport
from utils.data.near_duplicates import find_near_duplicates


class LeakFinder:
    """Finds leaks in splits of one data set; computes its hashes once, and each report once."""

    def __init__(self, dataset: ClipDataset):
        self.dataset = dataset
        self._hashes: ClipHashes | None = None
        self._reports: dict[tuple, LeakReport] = {}

    def find(
        self, test: np.ndarray, train: np.ndarray, validation: np.ndarray, *, group_pattern: str | None = None
    ) -> LeakReport:
        """Return what `test` rows share with `train`, `validation` and unlabelled rows; see `find_leaks`."""
        key = (test.tobytes(), train.tobytes(), validation.tobytes(), group_pattern)
        if key not in self._reports:
            self._hashes = self._hashes or hashes_of_all(self.dataset)
            self._reports[key] = find_leaks(
                self.dataset, self._hashes, test, train, validation, group_pattern=group_pattern
            )
        return self._reports[key]


def find_leaks(
    dataset: ClipDataset,
    hashes: ClipHashes,
    test: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    *,
    group_pattern: str | None = None,
) -> LeakReport:
    """Return what `test` rows share with `train`, `validation` and unlabelled rows, by paths and by hashes.

    In HMDB51 the group is the source film, reported separately for the same class and for other classes; with
    `group_pattern` groups are reported as well. Raises UserError if `group_pattern` does not match the paths.
    """
    seen = np.unique(np.concatenate([train, validation, dataset.unlabelled_rows]))
    same = np.intersect1d(test, seen)
    pairs = {SAME: np.stack([same, same], axis=1)}
    by_name, reason = groups_or_reason(dataset.paths, None)
    films = by_name is not None and by_name.pattern.startswith("HMDB51")
    groups, reason = (by_name, reason) if group_pattern is None else groups_or_reason(dataset.paths, group_pattern)
    keys = None if groups is None else keys_of_all(dataset, groups, group_pattern)
    notes = (f"No groups are known: {reason}.",) if groups is None else ()
    if groups is not None and not (films and group_pattern is None):
        pairs[GROUP] = pairs_with_equal_keys(keys, test, seen)
    if films:
        shared = pairs_with_equal_keys(keys_of_all(dataset, by_name, None), test, seen)
        labels = np.concatenate([dataset.labels, np.full(len(dataset.unlabelled_rows), -1)])
        same_class = labels[shared[:, 0]] == labels[shared[:, 1]]
        pairs |= {FILM: shared[same_class], FILM_ELSEWHERE: shared[~same_class]}
    near = find_near_duplicates(hashes, test, seen)
    pairs[NEAR] = near.pairs
    return LeakReport(dataset, test, train, validation, pairs, near.distances, len(near.unjudged), keys, notes)


def keys_of_all(dataset: ClipDataset, groups: Groups, group_pattern: str | None) -> np.ndarray:
    """Return the group keys of all rows, with and without labels: unicode `(N + M,)`; "" without a path."""
    keys = [groups.keys]
    for part in dataset.unlabelled:
        known = part.paths is not None
        keys.append(keys_of_more(groups, part.paths, group_pattern) if known else np.full(len(part), ""))
    return np.concatenate(keys)


def pairs_with_equal_keys(keys: np.ndarray, test: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return all pairs of a test row and another seen row with the same key, in order: int64 `(n, 2)`."""
    order = np.argsort(keys[seen], kind="stable")
    sorted_keys = keys[seen][order]
    first, last = (np.searchsorted(sorted_keys, keys[test], side=side) for side in ("left", "right"))
    found = [
        np.stack([np.full(end - start, row), np.sort(seen[order[start:end]])], axis=1)
        for row, start, end in zip(test.tolist(), first, last, strict=True)
    ]
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *found])
    return pairs[pairs[:, 0] != pairs[:, 1]]
