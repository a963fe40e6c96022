"""The folds of an experiment decide which clips its results are measured on."""

import numpy as np
import pytest

from utils.base.errors import UserError
from utils.data.folds import protocols

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
    """A fold that is missing or tested twice would change the mean over folds."""
    assert protocols(split, folds, paths=PATHS) == expected


@pytest.mark.parametrize(
    ("split", "folds", "message"),
    [
        ("logo", [4], "--folds must be among 1 2 3 for --split logo, got 4"),
        ("official", [0], "--folds must be among 1 2 3 for --split official, got 0"),
        ("group", [1], "--folds must go with --split logo, official or fold:N, got --split group"),
        ("fold:1/3", [1], "--folds must go with --split"),
    ],
)
def test_folds_that_do_not_exist(split, folds, message):
    """Otherwise a typing error would silently shorten the experiment."""
    with pytest.raises(UserError) as error:
        protocols(split, folds, paths=PATHS)
    assert str(error.value).startswith(message)


def test_logo_needs_clip_names():
    with pytest.raises(UserError, match="--split logo needs the clip names in --paths"):
        protocols("logo", None, paths=None)
