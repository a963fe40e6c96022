"""Fingerprints of earlier versions, which hold a digest of a sample of the frames instead of all frames.

They are in the records of models and in the views.json of class scores. These files stay usable, but a change of frames
outside the sample is not detected.
"""

import hashlib

import numpy as np

from utils.data.clips import ClipDataset, FrameFile

SAMPLED_CLIPS = 64


def is_sampled(fingerprint: dict) -> bool:
    """Return whether a stored fingerprint or key was made by an earlier version."""
    return "content" not in fingerprint and "frames" in fingerprint


def sampled_fingerprint(dataset: ClipDataset, *, whole_clips: bool = False) -> dict[str, str | list[int]]:
    """Return `dataset.fingerprint()` in its earlier form, with `frames` in place of `content`.

    `frames` is the SHA-256 of the first frames of up to 64 clips, spread over the file; with `whole_clips`, as in
    views.json, that of all frames of these clips.
    """
    fingerprint = dataset.fingerprint()
    frames = sample_digest(dataset.frames, whole_clips=whole_clips)
    return {name: fingerprint[name] for name in ("shape", "labels", "paths")} | {"frames": frames}


def sample_digest(frames: FrameFile, *, whole_clips: bool = False) -> str:
    """Return the SHA-256 of a sample of a frames.npy, see `sampled_fingerprint`."""
    sha = hashlib.sha256()
    for row in np.unique(np.linspace(0, frames.shape[0] - 1, SAMPLED_CLIPS).astype(int)):
        sha.update(frames.read(row, None if whole_clips else np.array([0])))
    return sha.hexdigest()


def same_arrays(known: dict, dataset: ClipDataset) -> bool:
    """Return whether a stored fingerprint, of this or an earlier version, is that of `dataset`."""
    return known == (sampled_fingerprint(dataset) if is_sampled(known) else dataset.fingerprint())
