"""Checks between two splits: a recogniser must not be tested on clips that it has seen in training."""

import numpy as np

from utils.base.errors import UserError
from utils.data.protocols import Split
from utils.data.split_lists import SETS


def split_differences(recorded: Split, asked: Split) -> tuple[str, ...]:
    """Describe the settings in which the split in a record and the requested split differ; empty if they are equal."""
    differences = []
    if recorded.protocol != asked.protocol:
        differences.append(f"--split is {recorded.protocol} in the record and {asked.protocol} here")
    if recorded.split_seed != asked.split_seed:
        differences.append(f"--split_seed is {recorded.split_seed} in the record and {asked.split_seed} here")
    if not differences and not all(np.array_equal(getattr(recorded, name), getattr(asked, name)) for name in SETS):
        differences.append("--split and --split_seed agree, but --group_pattern, the lists or the clips do not")
    return tuple(differences)


def seen_test_clips(split: Split, seen: Split) -> np.ndarray:
    """Return the test rows of `split` that a recogniser trained with `seen` has seen, ascending.

    Validation clips count as seen, because they chose the best epoch. Both splits are of the same arrays.
    """
    return np.intersect1d(np.concatenate([seen.train, seen.validation]), split.test)


def refuse_seen_test_clips(split: Split, seen: Split, *, what: str) -> None:
    """Raise UserError if a recogniser trained with `seen` has seen test clips of `split`.

    what: the recogniser's argument and file for the message, for example "--teacher teacher.h5".
    """
    known = seen_test_clips(split, seen)
    if len(known):
        raise UserError(
            f"{what} has seen {len(known)} of the {len(split.test)} test clips of this split, which must be new to it: "
            + "; ".join(split_differences(seen, split))
        )
