"""The capacity model: work of each stage, and the line through two measurements."""

import pytest

from benchmarks.capacity import Sizes, Speed, large_sets, seconds_of, speeds_of

SMALL = Sizes(clips=10, train=6, validation=3, test=1, views=2, epochs=4, classes=5, clip_bytes=100, pixels=1.5)
LARGE = Sizes(clips=40, train=24, validation=12, test=4, views=2, epochs=4, classes=5, clip_bytes=100, pixels=1.5)


def test_work_is_counted_by_hand():
    """A plan for a cluster would be wrong by a factor."""
    assert SMALL.work == {
        "extraction": 15,
        "hash of the frames": 1000,
        "teacher logits": 6 * 3 + 3,
        "student": 4 * 7,
        "hashes of the leak report": 10,
        "pairs of the leak report": 9,
    }
    assert SMALL.stored == {"frames.npy": 1000, "teacher logits": 4 * 10 * 3 * 5}


def test_two_measurements_give_start_and_rate():
    """A start-up of some seconds would be multiplied by the number of clips."""
    speeds = speeds_of([(SMALL, {"student": 2 + 28 / 7}), (LARGE, {"student": 2 + 112 / 7})])
    assert speeds["student"].rate == pytest.approx(7)
    assert speeds["student"].start == pytest.approx(2)
    assert seconds_of(LARGE, speeds) == pytest.approx({"student": 18})


@pytest.mark.parametrize(("before", "after"), [(1, 8), (3, 2)])
def test_noise_gives_no_negative_start_or_rate(before, after):
    """On a busy machine a prediction could be negative."""
    (speed,) = speeds_of([(SMALL, {"student": before}), (LARGE, {"student": after})]).values()
    assert speed == Speed(112 / after, 0.0)


def test_large_sets_use_every_clip():
    """Clips left out of all sets would make the table too small."""
    for row in large_sets({"student": Speed(1.0)}, clip_bytes=1, views=0):
        assert row["train"] + row["validation"] + row["test"] == row["clips"]
        assert row["hours"]["student"] == row["epochs"] * (row["train"] + row["validation"] / 3) / 3600
