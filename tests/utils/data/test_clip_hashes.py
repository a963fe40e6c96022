"""Hashes of clips: what they are invariant to, and that cached hashes always belong to the data set."""

import os

import cv2
import numpy as np
import pytest

from tests.planted_clips import clip_of, texture, video, write_arrays
from utils.data import clip_hashes
from utils.data.clip_hashes import hash_images, hashes_of, mirror_signs, small_grey, unpacked
from utils.data.clips import open_clips


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return small_grey(np.stack([texture(rng, 40, 48) for _ in range(20)]))


@pytest.fixture
def folder(tmp_path):
    paths = [f"{'ab'[number % 2]}/{number}.avi" for number in range(6)]
    return write_arrays(tmp_path / "arrays", [clip_of(video(number)) for number in range(6)], sorted(paths))


def opened(folder):
    return open_clips(folder / "frames.npy", folder / "labels.npy")


def test_the_hash_of_a_flipped_image_is_the_flipped_hash(images):
    """Otherwise flipped copies, the most common ones, would be missed."""
    flipped = hash_images(np.ascontiguousarray(images[:, :, ::-1]), least=1)
    np.testing.assert_allclose(flipped, hash_images(images, least=1) * mirror_signs(), atol=1)


def test_hashes_do_not_depend_on_brightness_and_contrast(images):
    """Copies often differ in brightness."""
    np.testing.assert_array_equal(hash_images(0.5 * images + 20, least=1), hash_images(images, least=1))


def test_hashes_are_low_frequencies(images):
    """Compared with OpenCV's cosine transform; coarse rounding would lose small differences between clips."""
    expected = cv2.dct(images[3])[:16, :16].ravel()[1:]
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(unpacked(hash_images(images, least=1))[3], expected, atol=0.01)


def test_a_flat_image_has_no_hash(images):
    """Black frames and fades are common; with equal hashes, all videos with them would be duplicates."""
    flat = np.stack([np.full((32, 32), 90.0), 90 + 0.01 * images[0]]).astype(np.float32)
    assert not hash_images(flat, least=4).any()
    assert hash_images(images, least=4).any(axis=1).all()


def test_hashes_are_computed_once(folder, monkeypatch):
    """A second evaluation must not read the whole file again."""
    first = hashes_of(opened(folder))
    assert (first.frames.shape, first.motion.shape) == ((6, 16, 255), (6, 15, 255))
    assert (folder / "frames_hashes.npz").is_file()
    monkeypatch.setattr(clip_hashes, "compute_hashes", None)
    again = hashes_of(opened(folder))
    np.testing.assert_array_equal(again.frames, first.frames)
    np.testing.assert_array_equal(again.motion, first.motion)


def test_hashes_of_other_arrays_are_not_used(folder):
    """Otherwise leaks of the previous clips would be reported instead of those of the current clips."""
    first = hashes_of(opened(folder))
    frames = np.load(folder / "frames.npy")
    frames[2, 5:] = clip_of(video(99))[5:]  # a frame that the arrays' fingerprint does not sample
    np.save(folder / "frames.npy", frames)
    os.utime(folder / "frames.npy", ns=(1, 1))
    changed = hashes_of(opened(folder))
    assert (changed.frames != first.frames).any(axis=(1, 2)).tolist() == [False, False, True, False, False, False]
    np.testing.assert_array_equal(hashes_of(opened(folder)).frames, changed.frames)


@pytest.mark.parametrize("left", [b"", b"no archive", None])
def test_damaged_cached_hashes_are_recomputed(folder, left):
    """A truncated file must not end an evaluation. None: a folder of that name, which cannot be replaced."""
    path = folder / "frames_hashes.npz"
    if left is None:
        path.mkdir()
    else:
        path.write_bytes(left)
    assert hashes_of(opened(folder)).frames.any(axis=2).all()
    assert path.is_dir() if left is None else path.stat().st_size > 6 * 31 * 255
    assert not list(folder.glob(".*"))


def test_hashes_are_used_without_cache_if_the_folder_is_read_only(folder, monkeypatch, capsys):
    """Arrays on a read-only disk must be evaluated as well."""

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(clip_hashes, "written_beside", refuse)
    assert hashes_of(opened(folder)).frames.any(axis=2).all()
    assert "note: the hashes could not be cached" in capsys.readouterr().err


def test_clips_of_one_frame(folder):
    """They have no motion, which must not be an error."""
    np.save(folder / "frames.npy", np.load(folder / "frames.npy")[:, :1])
    assert hashes_of(opened(folder)).motion.shape == (6, 0, 255)
