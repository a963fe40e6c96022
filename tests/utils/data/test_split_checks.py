"""A teacher that has seen the student's test clips would leak their labels into the student."""

import dataclasses

import numpy as np
import pytest

from utils.base.errors import UserError
from utils.data.protocols import make_split
from utils.data.split_checks import refuse_seen_test_clips, seen_test_clips, split_differences

NAMES = np.array([f"c{c}/v_c{c}_g{g:02d}_c{k:02d}.avi" for c in range(3) for g in range(1, 9) for k in range(4)])
LABELS = np.array([int(name[1]) for name in NAMES.tolist()])


def split_by(protocol="group", split_seed=0):
    return make_split(LABELS, NAMES, class_names=("a", "b", "c"), protocol=protocol, split_seed=split_seed)


def test_teacher_that_has_seen_test_clips_is_refused():
    """Otherwise its logits for them would leak into the student through distillation."""
    split, seen = split_by(), split_by("random", 3)
    known = set(split.test.tolist()) - set(seen.test.tolist())
    assert set(seen_test_clips(split, seen).tolist()) == known
    with pytest.raises(UserError) as error:
        refuse_seen_test_clips(split, seen, what="--teacher teacher.h5")
    assert str(error.value) == (
        f"--teacher teacher.h5 has seen {len(known)} of the 24 test clips of this split, which must be new to it: "
        "--split is random in the record and group here; --split_seed is 3 in the record and 0 here"
    )


def test_validation_clips_of_the_teacher_count_as_seen():
    """Otherwise a teacher whose best epoch was chosen on the test clips would pass."""
    split = split_by()
    swapped = dataclasses.replace(split, validation=split.test, test=split.validation)
    with pytest.raises(
        UserError, match=r"has seen 24 of the 24 test clips.*--group_pattern, the lists or the clips do not"
    ):
        refuse_seen_test_clips(split, swapped, what="--teacher")


def test_teacher_of_the_same_split_passes():
    """Otherwise distillation would be impossible."""
    refuse_seen_test_clips(split_by(), split_by(), what="--teacher")
    assert split_differences(split_by(), split_by("auto")) == ()
