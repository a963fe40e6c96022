"""The folds of an experiment decide which people its table speaks of."""

import numpy as np
import pytest

from utils.runtime.errors import UserError
from utils.splits.folds import protocols

PATHS = np.array([f"c{c}/person{p:02d}_c{c}_d1.avi" for c in range(2) for p in (2, 5, 7)])


@pytest.mark.parametrize(
    ("split", "folds", "expected"),
    [
        ("logo", None, ("logo:1", "logo:2", "logo:3")),
        ("logo", [3, 1, 3], ("logo:3", "logo:1")),
        ("official", None, ("official:1", "official:2", "official:3")),
        ("official", [2], ("official:2",)),
        ("fold:4", None, ("fold:1/4", "fold:2/4", "fold:3/4", "fold:4/4")),
        ("fold:2/4", None, ("fold:2/4",)),
        ("group", None, ("group",)),
        ("list:my.csv", None, ("list:my.csv",)),
    ],
)
def test_protocols(split, folds, expected):
    """A fold left out, or tested twice, would change what the mean over folds means."""
    assert protocols(split, folds, paths=PATHS) == expected


@pytest.mark.parametrize(
    ("split", "folds", "message"),
    [
        ("logo", [4], "--folds must be among 1 2 3 for --split logo, got 4"),
        ("official", [0], "--folds must be among 1 2 3 for --split official, got 0"),
        ("group", [1], "--folds chooses among the folds of --split logo, official or fold:N"),
        ("fold:1/3", [1], "--folds chooses among the folds"),
    ],
)
def test_folds_that_do_not_exist(split, folds, message):
    """Otherwise a typing error would shorten the experiment in silence."""
    with pytest.raises(UserError) as error:
        protocols(split, folds, paths=PATHS)
    assert str(error.value).startswith(message)


def test_leaving_groups_out_needs_names():
    with pytest.raises(UserError, match="needs --paths"):
        protocols("logo", None, paths=None)
