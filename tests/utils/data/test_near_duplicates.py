"""Copies of test clips among training clips: all kinds are found, without false alarms for similar clips."""

import numpy as np
import pytest

from tests.planted_clips import COPIES, clip_of, copied, video, write_arrays
from utils.data import near_duplicates
from utils.data.clip_hashes import compute_hashes, mirror_signs, unpacked
from utils.data.clips import open_clips
from utils.data.near_duplicates import Whitening, find_near_duplicates

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


@pytest.mark.parametrize(("members", "probes"), [(1024, 64), (4, 3)])
def test_the_search_equals_a_comparison_of_all_pairs(tmp_path, monkeypatch, members, probes):
    """Leaks would go unnoticed in large data sets, where not all pairs are compared, or appear where there are none."""
    monkeypatch.setattr(near_duplicates, "MEMBERS", members)
    monkeypatch.setattr(near_duplicates, "PROBES", probes)
    copies = [copied(video(row), COPIES[row % len(COPIES)]) for row in range(20)]
    clips = [clip_of(frames) for frames in [*map(video, range(40)), *copies]]
    folder = write_arrays(tmp_path / "arrays", clips, [f"{'ab'[number % 2]}/{number:02}.avi" for number in range(60)])
    hashes = compute_hashes(open_clips(folder / "frames.npy", folder / "labels.npy"))
    test, seen = np.arange(20), np.arange(20, 60)
    near, moved = (all_distances(packed, test, seen) for packed in (hashes.frames, hashes.motion))
    expected = np.argwhere((near < 0.45) & (moved < 0.75)) + np.array([0, 20])
    found = find_near_duplicates(hashes, test, seen)
    assert len(expected) >= 20
    assert sorted(found.pairs.tolist()) == expected.tolist()
    np.testing.assert_allclose(found.distances, np.sort(near[expected[:, 0], expected[:, 1] - 20]), atol=1e-5)


def all_distances(packed, test, seen):
    """Return the relative distances of all pairs, one pair at a time."""
    whiten, signs = Whitening.of(packed), mirror_signs()

    def similarity(one, other):
        cosines = one @ other.T
        return max(np.sort(cosines.max(axis=axis))[cosines.shape[0] // 2] for axis in (0, 1))

    found = np.empty((len(test), len(seen)))
    for i, row in enumerate(test):
        images = unpacked(packed[row])
        for j, other in enumerate(seen):
            both = [similarity(whiten(values), whiten(unpacked(packed[other]))) for values in (images, images * signs)]
            found[i, j] = max(1 - max(both), 0) / 2
    return found / np.sort(found, axis=1)[:, [max(len(seen) // 10, 3)]]


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
