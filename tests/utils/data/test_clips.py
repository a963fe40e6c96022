"""The arrays as one dataset: rows read right, mistakes named in one line."""

import os

import numpy as np
import pytest

from utils.data.clips import FrameFile, open_clips
from utils.data.views import whole_view, window_frames
from utils.runtime.errors import UserError


def open_folder(folder):
    return open_clips(folder / "frames.npy", folder / "labels.npy")


def test_rows_are_those_of_the_array(make_arrays):
    """A row read at a wrong offset would train every clip with its neighbour's label."""
    folder = make_arrays()
    stored = np.load(folder / "frames.npy")
    dataset = open_folder(folder)
    for row in (0, 7, len(stored) - 1):
        np.testing.assert_array_equal(dataset.frames.read(row), stored[row])
        np.testing.assert_array_equal(dataset.frames.read(row, np.array([1, 4, 15])), stored[row][[1, 4, 15]])
    assert dataset.class_names == ("Class0", "Class1", "Class2")


def test_view_zero_is_evenly_spaced_whole_frames_at_the_models_size(make_arrays):
    """Longer stored clips and larger stored frames must serve a smaller model, each view the whole clip."""
    folder = make_arrays(length=40, height=64, width=96)
    stored = np.load(folder / "frames.npy")
    view = open_folder(folder).view_zero(np.array([3, 5]), (16, 32, 48, 3))
    assert view.shape == (2, 16, 32, 48, 3)
    assert view.dtype == np.uint8
    frames = [0, 2, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27, 30, 32, 35, 37]
    halved = stored[5][frames].reshape(16, 32, 2, 48, 2, 3).mean(axis=(2, 4))  # area averaging by hand
    assert np.abs(view[1] - halved).max() <= 0.5 + 1e-6


def test_a_view_of_the_stored_size_is_untouched():
    clip = np.random.default_rng(0).integers(0, 256, (16, 20, 30, 3), np.uint8)
    assert whole_view(clip, height=20, width=30) is clip
    assert whole_view(clip, height=40, width=30).shape == (16, 40, 30, 3)
    np.testing.assert_array_equal(window_frames(16, 16), np.arange(16))
    with pytest.raises(ValueError, match="cannot give 17"):
        window_frames(16, 17)


def test_arrays_without_paths_name_classes_by_number(make_arrays):
    folder = make_arrays()
    (folder / "video_file_paths.npy").unlink()
    dataset = open_folder(folder)
    assert dataset.paths is None
    assert dataset.class_names == ("0", "1", "2")


def test_fingerprint_changes_with_labels_paths_and_frames_alone(make_arrays):
    """Results of other data must never pass for those of these."""
    folder = make_arrays()
    before = open_folder(folder).fingerprint()
    assert open_folder(folder).fingerprint() == before

    frames = np.load(folder / "frames.npy")
    np.save(folder / "frames.npy", 255 - frames)
    after = open_folder(folder).fingerprint()
    assert after["frames"] != before["frames"]
    assert (after["labels"], after["paths"]) == (before["labels"], before["paths"])


def spoil_count(folder):
    np.save(folder / "labels.npy", np.load(folder / "labels.npy")[:-1])


def spoil_gap(folder):
    np.save(folder / "labels.npy", np.load(folder / "labels.npy") * 2)


def spoil_kind(folder):
    np.save(folder / "labels.npy", np.eye(3)[np.load(folder / "labels.npy")])


def spoil_dtype(folder):
    np.save(folder / "frames.npy", np.load(folder / "frames.npy").astype(np.float32))


def spoil_length(folder):
    content = (folder / "frames.npy").read_bytes()
    (folder / "frames.npy").write_bytes(content[: len(content) // 2])


def spoil_pickle(folder):
    np.save(folder / "labels.npy", np.load(folder / "labels.npy").astype(object))


def spoil_paths(folder):
    np.save(folder / "video_file_paths.npy", np.load(folder / "video_file_paths.npy")[::-1])


def spoil_archive(folder):
    labels = np.load(folder / "labels.npy")
    with open(folder / "labels.npy", "wb") as file:
        np.savez(file, labels)


def spoil_order(folder):
    np.save(folder / "frames.npy", np.asfortranarray(np.load(folder / "frames.npy")))


def spoil_one_class(folder):
    np.save(folder / "labels.npy", np.zeros_like(np.load(folder / "labels.npy")))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_count, r"frames.npy holds 30 clips but --annotations holds 29 labels"),
        (spoil_gap, r"--annotations: .* must use every label from 0 to C-1, found \[0, 2, 4\]"),
        (spoil_kind, r"--annotations: .* must hold integers \(N,\), found float64 of shape \(30, 3\)"),
        (spoil_dtype, r"--data: .* must hold uint8 clips \(N, T, H, W, 3\), found float32"),
        (spoil_length, r"--data: .* must be a complete .npy array"),
        (spoil_pickle, r"--annotations: .* without pickle"),
        (spoil_paths, r"gives label 0 several class folders|same class folder|label"),
        (spoil_archive, r"--annotations: .* must be a .npy array, found an archive of several files"),
        (spoil_order, r"--data: .* must hold uint8 clips .*, found uint8 of shape \(30, .*\) in Fortran order"),
        (spoil_one_class, r"--annotations: .* at least 2 classes, found 1"),
    ],
)
def test_mistakes_are_named_in_one_line(make_arrays, spoil, message):
    """A user sees which file is wrong, what was expected and what was found."""
    folder = make_arrays()
    spoil(folder)
    if spoil is spoil_paths:  # reversed paths still give one folder a label; a shift by one clip does not
        paths = np.load(folder / "video_file_paths.npy")
        np.save(folder / "video_file_paths.npy", np.roll(paths, 1))
    with pytest.raises(UserError, match=message) as error:
        open_folder(folder)
    assert "\n" not in str(error.value)


def test_a_file_cut_while_in_use_is_noticed(make_arrays):
    """Rows that are no longer there must not be read as zeros."""
    folder = make_arrays()
    frames = FrameFile(folder / "frames.npy")
    with open(folder / "frames.npy", "rb+") as file:
        file.truncate(1000)
    with pytest.raises(UserError, match="changed or cut while it was in use"):
        frames.read(29)


def test_a_file_changed_while_in_use_is_noticed(make_arrays):
    """Half an epoch on other clips than the labels are of would leave no trace."""
    folder = make_arrays()
    frames = FrameFile(folder / "frames.npy")
    frames.read(29)
    status = os.stat(folder / "frames.npy")
    with open(folder / "frames.npy", "rb+") as file:
        file.seek(1000)
        file.write(b"1")
    os.utime(
        folder / "frames.npy", ns=(status.st_atime_ns, status.st_mtime_ns + 2 * 10**9)
    )  # some file systems count in seconds
    with pytest.raises(UserError, match="changed or cut while it was in use"):
        frames.read(29)
