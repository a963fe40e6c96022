"""Hashes of clips: what they survive, and that a kept file is never another data set's."""

import os

import numpy as np
import pytest

from tests.planted_clips import clip_of, texture, video, write_arrays
from utils.data.clips import open_clips
from utils.leaks import hashes as clip_hashes
from utils.leaks.hashes import hash_pictures, hashes_of, mirror_signs, small_grey, unpacked


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    return small_grey(np.stack([texture(rng, 40, 48) for _ in range(20)]))


@pytest.fixture
def folder(tmp_path):
    paths = [f"{'ab'[number % 2]}/{number}.avi" for number in range(6)]
    return write_arrays(tmp_path / "arrays", [clip_of(video(number)) for number in range(6)], sorted(paths))


def opened(folder):
    return open_clips(folder / "frames.npy", folder / "labels.npy")


def test_a_mirrored_hash_is_the_hash_of_the_mirrored_picture(pictures):
    """Otherwise flipped copies, the commonest of all, are missed."""
    mirrored = hash_pictures(np.ascontiguousarray(pictures[:, :, ::-1]), least=1)
    np.testing.assert_allclose(mirrored, hash_pictures(pictures, least=1) * mirror_signs(), atol=1)


def test_brightness_and_contrast_drop_out(pictures):
    """Copies are often brightened."""
    np.testing.assert_array_equal(hash_pictures(0.5 * pictures + 20, least=1), hash_pictures(pictures, least=1))


def test_hashes_are_the_low_frequencies(pictures):
    """Against OpenCV's cosine transform; too coarse a rounding would lose what tells a shared background's clips."""
    import cv2

    expected = cv2.dct(pictures[3])[:16, :16].ravel()[1:]
    np.testing.assert_allclose(
        unpacked(hash_pictures(pictures, least=1))[3], expected / np.linalg.norm(expected), atol=0.01
    )


def test_a_flat_picture_has_no_hash(pictures):
    """Black frames and fades are in many videos: as equal hashes they would make duplicates of all of these."""
    flat = np.stack([np.full((32, 32), 90.0), 90 + 0.01 * pictures[0]]).astype(np.float32)
    assert not hash_pictures(flat, least=4).any()
    assert hash_pictures(pictures, least=4).any(axis=1).all()


def test_hashes_are_computed_once(folder, monkeypatch):
    """A second evaluation has not to read the whole file again."""
    first = hashes_of(opened(folder))
    assert (first.frames.shape, first.motion.shape) == ((6, 16, 255), (6, 15, 255))
    assert (folder / "frames_hashes.npz").is_file()
    monkeypatch.setattr(clip_hashes, "compute_hashes", None)
    again = hashes_of(opened(folder))
    np.testing.assert_array_equal(again.frames, first.frames)
    np.testing.assert_array_equal(again.motion, first.motion)


def test_hashes_of_other_arrays_are_not_used(folder):
    """Leaks of the clips that were there before would be reported, and those of these clips not."""
    first = hashes_of(opened(folder))
    frames = np.load(folder / "frames.npy")
    frames[2, 5:] = clip_of(video(99))[5:]  # a frame that the arrays' fingerprint does not sample
    np.save(folder / "frames.npy", frames)
    os.utime(folder / "frames.npy", ns=(1, 1))
    changed = hashes_of(opened(folder))
    assert (changed.frames != first.frames).any(axis=(1, 2)).tolist() == [False, False, True, False, False, False]
    np.testing.assert_array_equal(hashes_of(opened(folder)).frames, changed.frames)


@pytest.mark.parametrize("left", [b"", b"no archive", None])
def test_a_spoilt_file_of_hashes_is_made_anew(folder, left):
    """A cut file must not end an evaluation. None: a folder in the way, which cannot be replaced either."""
    path = folder / "frames_hashes.npz"
    if left is None:
        path.mkdir()
    else:
        path.write_bytes(left)
    assert hashes_of(opened(folder)).frames.any(axis=2).all()
    assert path.is_dir() if left is None else path.stat().st_size > 6 * 31 * 255
    assert not list(folder.glob(".*"))


def test_a_folder_that_cannot_be_written(folder, monkeypatch, capsys):
    """Arrays on a read-only disk are evaluated too."""

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(clip_hashes, "written_beside", refuse)
    assert hashes_of(opened(folder)).frames.any(axis=2).all()
    assert "the hashes are not kept" in capsys.readouterr().err


def test_clips_of_one_frame(folder):
    """They have no motion, and must not end in an error."""
    np.save(folder / "frames.npy", np.load(folder / "frames.npy")[:, :1])
    assert hashes_of(opened(folder)).motion.shape == (6, 0, 255)
