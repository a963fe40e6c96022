"""Which clips train, validate and test: a pure function of labels, paths, protocol and seed."""

from dataclasses import dataclass

import numpy as np

from utils.errors import UserError

TEST_SHARE = 0.2  # of all clips, and again of the rest for validation


@dataclass(frozen=True)
class Split:
    """Three disjoint sets of clips.

    protocol: the resolved protocol, "random", "group", "logo:3", "official:1" or "list:FILE"; never "auto".
    train, validation, test: int64 row numbers, ascending.
    notes: whole sentences that tell the user what the numbers of this split can and cannot say.
    """

    protocol: str
    split_seed: int
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    notes: tuple[str, ...]


RANDOM_WARNING = (
    "The split is random: clips of one source video or person may stand on both sides, "
    "so accuracy on unseen sources is likely to be lower."
)


def make_split(
    labels, paths, *, class_names, protocol="auto", split_seed=0, group_pattern=None, split_dir=None
) -> Split:
    """Divides all clips into train, validation and test."""
    if protocol not in ("auto", "random"):
        raise UserError(f"--split must be auto or random, got {protocol}")
    train, validation, test = _random_sets(np.asarray(labels), class_names=class_names, split_seed=split_seed)
    return Split("random", split_seed, train, validation, test, (RANDOM_WARNING,))


def _random_sets(labels: np.ndarray, *, class_names: tuple[str, ...], split_seed: int):
    sets = ([], [], [])
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) < 3:
            raise UserError(
                f"--split random needs at least 3 clips in each class, class {class_names[label]} has {len(rows)}"
            )
        rows = np.random.default_rng([split_seed, label]).permutation(rows)
        test_count = max(1, round(TEST_SHARE * len(rows)))
        validation_count = max(1, round(TEST_SHARE * (len(rows) - test_count)))
        parts = np.split(rows, [len(rows) - test_count - validation_count, len(rows) - test_count])
        for rows_of_set, part in zip(sets, parts):
            rows_of_set.append(part)
    return tuple(np.sort(np.concatenate(parts)).astype(np.int64) for parts in sets)
