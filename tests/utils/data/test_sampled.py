"""Fingerprints of earlier versions: models and scores with them stay usable, and still identify their clips."""

import hashlib

import numpy as np
import pytest

from utils.data.clips import open_clips
from utils.data.sampled import same_arrays, sampled_fingerprint


@pytest.fixture
def folder(make_arrays):
    """Arrays of 90 clips, of which earlier versions sampled 64."""
    return make_arrays(classes=3, groups=5, clips=6, length=10, height=20, width=20)


def opened(folder):
    return open_clips(folder / "frames.npy", folder / "labels.npy")


@pytest.mark.parametrize("whole_clips", [False, True])
def test_the_earlier_form(folder, whole_clips):
    """Every model of an earlier version would seem to be of other arrays."""
    frames, labels = np.load(folder / "frames.npy"), np.load(folder / "labels.npy")
    paths = "\n".join(np.load(folder / "video_file_paths.npy"))
    rows = sorted({int(k * 89 / 63) for k in range(64)})
    assert len(rows) == 64
    sampled = frames[rows] if whole_clips else frames[rows, 0]
    assert sampled_fingerprint(opened(folder), whole_clips=whole_clips) == {
        "shape": [90, 10, 20, 20, 3],
        "labels": hashlib.sha256(labels.tobytes()).hexdigest(),
        "paths": hashlib.sha256(paths.encode()).hexdigest(),
        "frames": hashlib.sha256(sampled.tobytes()).hexdigest(),
    }


def test_arrays_are_compared_by_the_form_that_was_stored(folder):
    """A record of either form must identify its arrays; only the new form covers all frames."""
    stored = {"new": opened(folder).fingerprint(), "earlier": sampled_fingerprint(opened(folder))}
    assert stored["new"].keys() ^ stored["earlier"].keys() == {"content", "frames"}
    assert [same_arrays(known, opened(folder)) for known in stored.values()] == [True, True]
    frames = np.load(folder / "frames.npy")
    frames[3, 9, 0, 0, 0] ^= 1  # not in the sample of the earlier form
    np.save(folder / "frames.npy", frames)
    assert {form: same_arrays(known, opened(folder)) for form, known in stored.items()} == {
        "new": False,
        "earlier": True,
    }
    np.save(folder / "frames.npy", 255 - frames)
    assert not any(same_arrays(known, opened(folder)) for known in stored.values())
    assert not same_arrays({}, opened(folder))
