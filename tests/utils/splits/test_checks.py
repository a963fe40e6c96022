"""A teacher that has seen the student's test clips tells the student their labels."""

import dataclasses

import numpy as np
import pytest

from utils.runtime.errors import UserError
from utils.splits.checks import overlap, refuse_contradiction, refuse_seen_test_clips, split_differences
from utils.splits.protocols import make_split

NAMES = np.array([f"c{c}/v_c{c}_g{g:02d}_c{k:02d}.avi" for c in range(3) for g in range(1, 9) for k in range(4)])
LABELS = np.array([int(name[1]) for name in NAMES.tolist()])


def split_by(protocol="group", split_seed=0):
    return make_split(LABELS, NAMES, class_names=("a", "b", "c"), protocol=protocol, split_seed=split_seed)


def test_overlap():
    """Otherwise seen clips would be counted wrongly."""
    assert overlap(np.array([5, 1, 3]), np.array([3, 4, 5])).tolist() == [3, 5]
    assert overlap(np.array(["a/x", "a/y"]), np.array(["a/y"])).tolist() == ["a/y"]


def test_teacher_that_has_seen_test_clips_is_refused():
    """Otherwise its answers on them would leak into the student through distillation."""
    with pytest.raises(UserError) as error:
        refuse_seen_test_clips(split_by(), split_by("random", 3), what="--teacher teacher.h5")
    count = len(set(split_by().test.tolist()) - set(split_by("random", 3).test.tolist()))
    assert str(error.value) == (
        f"--teacher teacher.h5 has seen {count} of the 24 test clips of this split, which must be new to it: "
        "--split is random in the record and group here; --split_seed is 3 in the record and 0 here"
    )


def test_clips_by_which_the_teacher_was_chosen_count_as_seen():
    """Otherwise a teacher chosen by its accuracy on the test clips would pass."""
    split = split_by()
    swapped = dataclasses.replace(split, validation=split.test, test=split.validation)
    with pytest.raises(
        UserError, match=r"has seen 24 of the 24 test clips.*--group_pattern, the lists or the clips do not"
    ):
        refuse_seen_test_clips(split, swapped, what="--teacher")


def test_teacher_of_the_same_split_passes():
    """Otherwise nobody could distil."""
    refuse_seen_test_clips(split_by(), split_by(), what="--teacher")


def test_contradiction_is_refused_and_agreement_passes():
    """Otherwise a recogniser would be tested on clips it was trained on because of a forgotten --split."""
    refuse_contradiction(split_by(), split_by("auto"), what="student.keras")
    with pytest.raises(
        UserError, match=r"^student.keras must be tested by the split in its record, but --split is group"
    ):
        refuse_contradiction(split_by(), split_by("random"), what="student.keras")
    assert split_differences(split_by(), split_by()) == ()
