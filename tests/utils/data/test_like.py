"""--split like:MODEL, the split of an earlier training continued with new clips."""

import numpy as np
import pytest

from utils.base.errors import UserError
from utils.data.protocols import make_split

SETS = {"train": (1, 2, 3), "validation": (4,), "test": (5,)}
BY_GROUP = {
    f"{name}/v_{name}_g{g:02}_c{c:02}.avi": set_name
    for set_name, groups in SETS.items()
    for name in "AB"
    for g in groups
    for c in (1, 2)
}
NEW_CLASS = [f"C/v_C_g{g:02}_c{c:02}.avi" for g in range(1, 6) for c in (1, 2)]


def split(paths, known):
    names = sorted({path[0] for path in paths})
    labels = np.array([names.index(path[0]) for path in paths])
    found = make_split(labels, np.array(paths), class_names=tuple(names), protocol="like:old.keras", known=known)
    return {paths[row]: name for name in SETS for row in getattr(found, name)}, found.notes


def test_old_clips_keep_their_sets_and_new_clips_of_a_group_follow_it():
    """A clip of a tested person would be trained on."""
    new = {"A/v_A_g05_c03.avi": "test", "A/v_A_g01_c03.avi": "train", "B/v_B_g04_c09.avi": "validation"}
    sets, notes = split([*BY_GROUP, *new, *NEW_CLASS], BY_GROUP)
    assert {path: sets[path] for path in [*BY_GROUP, *new]} == BY_GROUP | new
    assert {sets[path] for path in NEW_CLASS} == set(SETS)
    groups = {name: {path.rpartition("_c")[0] for path in NEW_CLASS if sets[path] == name} for name in SETS}
    assert sum(map(len, groups.values())) == 5  # whole groups
    assert "20 of 33 clips are in the sets of old.keras, 13 are new." in notes


def test_new_clips_are_divided_after_a_split_that_is_not_by_group():
    """All clips of a new class would be test clips, and none be trained on."""
    people = [f"{name}/{person}_{name}_{clip}.avi" for name in "AB" for person in "pqrs" for clip in range(5)]
    known = {path: ("train", "train", "train", "validation", "test")[int(path[-5])] for path in people}
    new = [f"C/{person}_C_{clip}.avi" for person in "pqrs" for clip in range(5)]
    sets, notes = split([*people, *new], known)
    counts = {name: sum(sets[path] == name for path in new) for name in SETS}
    assert counts["train"] > counts["test"] > 0
    assert counts["validation"] > 0
    assert "40 of 60 clips are in the sets of old.keras, 20 are new." in notes


def test_a_model_of_other_clips_is_an_error():
    """The split would be a new one under the name of the old one."""
    with pytest.raises(UserError, match=r"must know clips of --paths, but knows none; the first is X/v_X_g01_c01\.avi"):
        split([f"{name}/v_{name}_g{g:02}_c01.avi" for name in "XY" for g in range(1, 6)], BY_GROUP)
