"""Copies of test clips among training clips: each kind is found, and clips that are merely alike are not."""

import numpy as np
import pytest

from tests.planted_clips import COPIES, clip_of, copied, video, write_arrays
from utils.data.clips import open_clips
from utils.leaks.hashes import compute_hashes
from utils.leaks.near_duplicates import find_near_duplicates

VIDEOS = 40
TEST = np.arange(10)
SEEN = np.arange(10, VIDEOS)


@pytest.fixture
def find(tmp_path):
    """Finds near-duplicates among made-up clips: those of `videos`, with clips in the places of others."""

    def run(*, scene=None, planted=None, test=TEST, seen=SEEN):
        clips = [clip_of(video(seed, scene=scene)) for seed in range(VIDEOS)]
        for row, clip in (planted or {}).items():
            clips[row] = clip
        paths = [f"{'ab'[number // 20]}/{number:02}.avi" for number in range(VIDEOS)]
        folder = write_arrays(tmp_path / "arrays", clips, paths)
        hashes = compute_hashes(open_clips(folder / "frames.npy", folder / "labels.npy"))
        return find_near_duplicates(hashes, test, seen)

    return run


@pytest.mark.parametrize(("scene", "kinds"), [(None, COPIES), (7, COPIES[:-1])], ids=["own scenes", "one scene"])
def test_planted_copies_are_found_and_nothing_else(find, scene, kinds):
    """A copy of a test clip in training makes its test worthless; a false alarm costs the user's trust."""
    copies = {20 + row: clip_of(copied(video(row, scene=scene), kind)) for row, kind in enumerate(kinds)}
    found = find(scene=scene, planted=copies)
    assert sorted(found.pairs.tolist()) == [[row, 20 + row] for row in range(len(kinds))]
    assert np.all(np.diff(found.distances) >= 0)
    assert found.distances[-1] < 0.45
    assert not len(found.unjudged)


def test_a_still_picture_is_no_copy_of_a_clip(find):
    """A frozen frame of a scene is in many videos; neither way round is it a copy."""
    still = np.repeat(video(3)[:1], 16, axis=0)
    assert not len(find(planted={20: still}).pairs)
    assert not len(find(planted={3: still, 20: clip_of(video(3))}).pairs)


def test_equal_pictures_with_other_motion_are_no_copy(find):
    """Actions may share their poses and differ in their order; only where motion is alike too is it a copy."""
    order = np.random.default_rng(0).permutation(16)
    assert not len(find(planted={20: clip_of(video(3))[order]}).pairs)


def test_clips_without_texture_are_not_judged(find):
    """Two black clips are equal, but that tells nothing."""
    black = np.zeros((16, 40, 48, 3), np.uint8)
    found = find(planted={1: black, 30: black})
    assert found.unjudged.tolist() == [1]
    assert not len(found.pairs)


def test_still_clips_are_compared_by_frames_alone(find):
    """Copies of a clip in which nothing moves are copies too."""
    still = np.repeat(video(50)[:1], 16, axis=0)
    found = find(planted={1: still, 30: copied(still, "flipped")})
    assert found.pairs.tolist() == [[1, 30]]


def test_a_clip_is_no_duplicate_of_itself(find):
    """Rows on both sides are told elsewhere."""
    assert not len(find(seen=np.arange(VIDEOS)).pairs)


def test_few_or_no_seen_clips(find):
    """Nothing to compare with is no error."""
    assert not len(find(seen=np.zeros(0, np.int64)).pairs)
    assert not len(find(seen=SEEN[:1]).pairs)
