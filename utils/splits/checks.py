"""Whether two splits go together: what a recogniser has seen must not be what another is tested on."""

import numpy as np

from utils.runtime.errors import UserError
from utils.splits.protocols import Split


def overlap(rows: np.ndarray, other_rows: np.ndarray) -> np.ndarray:
    """What is in both, sorted: row numbers of the same arrays, or paths where the arrays are not the same."""
    return np.intersect1d(rows, other_rows)


def split_differences(recorded: Split, asked: Split) -> tuple[str, ...]:
    """The settings in which a recorded split and the one asked for differ, in words; empty if they are the same."""
    differences = []
    if recorded.protocol != asked.protocol:
        differences.append(f"--split is {recorded.protocol} in the record and {asked.protocol} here")
    if recorded.split_seed != asked.split_seed:
        differences.append(f"--split_seed is {recorded.split_seed} in the record and {asked.split_seed} here")
    names = ("train", "validation", "test")
    if not differences and not all(np.array_equal(getattr(recorded, name), getattr(asked, name)) for name in names):
        differences.append("--split and --split_seed agree, but --group_pattern, the lists or the clips do not")
    return tuple(differences)


def refuse_seen_test_clips(split: Split, seen: Split, *, what: str) -> None:
    """Raises UserError if a recogniser that was trained by `seen` knows test clips of `split`.

    Both splits are of the same arrays. What a recogniser has seen is its training clips and its validation clips, by
    which its best epoch was chosen. what: the recogniser's argument and file for the message, "--teacher teacher.h5".
    """
    known = overlap(np.concatenate([seen.train, seen.validation]), split.test)
    if len(known):
        raise UserError(
            f"{what} has seen {len(known)} of the {len(split.test)} test clips of this split, which must be new to it: "
            + "; ".join(split_differences(seen, split))
        )


def refuse_contradiction(recorded: Split, asked: Split, *, what: str) -> None:
    """Raises UserError if the split asked for is not the one by which a recogniser was trained, and says how."""
    differences = split_differences(recorded, asked)
    if differences:
        raise UserError(f"{what} must be tested by the split in its record, but {'; '.join(differences)}")
