"""The folds of an experiment: one split protocol per fold."""

import re
from collections.abc import Sequence

import numpy as np

from utils.base.errors import UserError
from utils.data.groups import read_groups

OFFICIAL_SPLITS = (1, 2, 3)  # of UCF101 and HMDB51
REPEATED_PROTOCOLS = "logo, official or fold:N"  # each stands for several folds


def protocols(
    split: str, folds: Sequence[int] | None, *, paths: np.ndarray | None, group_pattern: str | None = None
) -> tuple[str, ...]:
    """Expand `--split` of an experiment into one protocol per fold.

    `logo`, `official` and `fold:N` (without a number K) stand for all of their folds, or for those in `folds`. Any
    other protocol is a single fold. paths: unicode (N,), as in `make_split`. Raises UserError if a fold does not exist.
    """
    kind, _, argument = split.partition(":")
    if split == "logo":
        if paths is None:
            raise UserError("--split logo needs the clip names in --paths, which is not given")
        known = np.unique(read_groups(paths, group_pattern).numbers).tolist()
        template = "logo:{}"
    elif split == "official":
        known, template = list(OFFICIAL_SPLITS), "official:{}"
    elif kind == "fold" and re.fullmatch(r"\d{1,3}", argument, re.ASCII):
        if int(argument) < 2:
            raise UserError(f"--split fold:N must have N of at least 2, got {split}")
        known, template = list(range(1, int(argument) + 1)), f"fold:{{}}/{int(argument)}"
    elif folds is not None:
        raise UserError(f"--folds must go with --split {REPEATED_PROTOCOLS}, got --split {split}")
    else:
        return (split,)
    chosen = known if folds is None else list(dict.fromkeys(folds))
    for fold in chosen:
        if fold not in known:
            raise UserError(f"--folds must be among {' '.join(map(str, known))} for --split {split}, got {fold}")
    return tuple(template.format(fold) for fold in chosen)
