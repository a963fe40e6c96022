"""Copies of test clips among training clips: all kinds are found, without false alarms for similar clips."""

import numpy as np
import pytest

from tests.planted_clips import COPIES, clip_of, copied, video, write_arrays
from utils.data.clip_hashes import compute_hashes
from utils.data.clips import open_clips
from utils.data.near_duplicates import find_near_duplicates

VIDEOS = 40
TEST = np.arange(10)
SEEN = np.arange(10, VIDEOS)


@pytest.fixture
def find(tmp_path):
    """Return a function that finds near-duplicates among synthetic clips, some of them replaced by `planted`."""

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
    """Test clips with copies in training are worthless; false alarms make the report useless."""
    copies = {20 + row: clip_of(copied(video(row, scene=scene), kind)) for row, kind in enumerate(kinds)}
    found = find(scene=scene, planted=copies)
    assert sorted(found.pairs.tolist()) == [[row, 20 + row] for row in range(len(kinds))]
    assert np.all(np.diff(found.distances) >= 0)
    assert found.distances[-1] < 0.45
    assert not len(found.unjudged)


def test_a_still_image_is_not_a_copy_of_a_clip(find):
    """Many videos contain a still frame of a scene; that is not a copy in either direction."""
    still = np.repeat(video(3)[:1], 16, axis=0)
    assert not len(find(planted={20: still}).pairs)
    assert not len(find(planted={3: still, 20: clip_of(video(3))}).pairs)


def test_equal_frames_with_other_motion_are_not_a_copy(find):
    """Actions may consist of the same poses in another order; in a copy, motion is equal as well."""
    order = np.random.default_rng(0).permutation(16)
    assert not len(find(planted={20: clip_of(video(3))[order]}).pairs)


def test_clips_without_texture_are_not_judged(find):
    """Two black clips are equal, but not copies."""
    black = np.zeros((16, 40, 48, 3), np.uint8)
    found = find(planted={1: black, 30: black})
    assert found.unjudged.tolist() == [1]
    assert not len(found.pairs)


def test_still_clips_are_compared_by_frames_only(find):
    """Copies of a clip without motion must be found as well."""
    still = np.repeat(video(50)[:1], 16, axis=0)
    found = find(planted={1: still, 30: copied(still, "flipped")})
    assert found.pairs.tolist() == [[1, 30]]


def test_a_clip_is_not_a_duplicate_of_itself(find):
    """Rows in both sets are reported separately."""
    assert not len(find(seen=np.arange(VIDEOS)).pairs)


def test_few_or_no_seen_clips(find):
    """Having nothing to compare with is not an error."""
    assert not len(find(seen=np.zeros(0, np.int64)).pairs)
    assert not len(find(seen=SEEN[:1]).pairs)
