"""Arrays as a dataset: rows are read correctly, and errors name the array."""

import os

import numpy as np
import pytest
import xxhash

from utils.base.errors import UserError
from utils.base.options import ViewOptions
from utils.data.clips import FrameFile, class_names_of, open_clips, with_unlabelled
from utils.data.views import whole_view, window_frames


def open_folder(folder):
    return open_clips(folder / "frames.npy", folder / "labels.npy")


def test_rows_are_those_of_the_array(make_arrays):
    """With a wrong offset, clips would be trained with the labels of other clips."""
    folder = make_arrays()
    stored = np.load(folder / "frames.npy")
    dataset = open_folder(folder)
    for row in (0, 7, len(stored) - 1):
        np.testing.assert_array_equal(dataset.frames.read(row), stored[row])
        np.testing.assert_array_equal(dataset.frames.read(row, np.array([1, 4, 15])), stored[row][[1, 4, 15]])
    assert dataset.class_names == ("Class0", "Class1", "Class2")


def test_view_zero_is_evenly_spaced_whole_frames_at_the_models_size(make_arrays):
    """Models with shorter or smaller input must still see the whole clip."""
    folder = make_arrays(length=40, height=64, width=96)
    stored = np.load(folder / "frames.npy")
    view = open_folder(folder).view_zero(np.array([3, 5]), (16, 32, 48, 3))
    assert view.shape == (2, 16, 32, 48, 3)
    assert view.dtype == np.uint8
    frames = [1, 3, 6, 8, 11, 13, 16, 18, 21, 23, 26, 28, 31, 33, 36, 38]
    halved = stored[5][frames].reshape(16, 32, 2, 48, 2, 3).mean(axis=(2, 4))  # area averaging by hand
    assert np.abs(view[1] - halved).max() <= 0.5 + 1e-6


def test_view_zero_of_the_stored_size_is_unchanged():
    clip = np.random.default_rng(0).integers(0, 256, (16, 20, 30, 3), np.uint8)
    assert whole_view(clip, height=20, width=30) is clip
    assert whole_view(clip, height=40, width=30).shape == (16, 40, 30, 3)
    np.testing.assert_array_equal(window_frames(16, 16), np.arange(16))
    with pytest.raises(ValueError, match="at least 17 frames, got 16"):
        window_frames(16, 17)


def test_arrays_without_paths_name_classes_by_number(make_arrays):
    folder = make_arrays()
    (folder / "video_file_paths.npy").unlink()
    dataset = open_folder(folder)
    assert dataset.paths is None
    assert dataset.class_names == ("0", "1", "2")


def test_fingerprint_changes_with_the_frames(make_arrays):
    """Results of other data must never be taken for results of this data."""
    folder = make_arrays()
    before = open_folder(folder).fingerprint()
    assert open_folder(folder).fingerprint() == before

    frames = np.load(folder / "frames.npy")
    frames[3, 9, -1, -1, -1] ^= 1
    np.save(folder / "frames.npy", frames)
    after = open_folder(folder).fingerprint()
    assert [name for name in before if after[name] != before[name]] == ["content"]
    rows = b"".join(xxhash.xxh3_128_digest(clip.tobytes()) for clip in frames)
    assert after["content"] == f"xxh3_128:{xxhash.xxh3_128_hexdigest(rows)}"


def test_arrays_that_change_after_they_are_opened_have_no_fingerprint(make_arrays):
    """A training would be saved under the fingerprint of other clips than it has read."""
    folder = make_arrays()
    dataset = open_folder(folder)
    np.save(folder / "frames.npy", np.load(folder / "frames.npy"))
    with pytest.raises(UserError, match=r"^--data: .*frames.npy was changed or truncated while in use$"):
        dataset.fingerprint()


def corrupt_count(folder):
    np.save(folder / "labels.npy", np.load(folder / "labels.npy")[:-1])


def corrupt_gap(folder):
    np.save(folder / "labels.npy", np.load(folder / "labels.npy") * 2)


def corrupt_kind(folder):
    np.save(folder / "labels.npy", np.eye(3)[np.load(folder / "labels.npy")])


def corrupt_dtype(folder):
    np.save(folder / "frames.npy", np.load(folder / "frames.npy").astype(np.float32))


def corrupt_length(folder):
    content = (folder / "frames.npy").read_bytes()
    (folder / "frames.npy").write_bytes(content[: len(content) // 2])


def corrupt_pickle(folder):
    np.save(folder / "labels.npy", np.load(folder / "labels.npy").astype(object))


def corrupt_paths(folder):
    np.save(folder / "video_file_paths.npy", np.roll(np.load(folder / "video_file_paths.npy"), 1))


def corrupt_archive(folder):
    labels = np.load(folder / "labels.npy")
    with open(folder / "labels.npy", "wb") as file:
        np.savez(file, labels)


def corrupt_order(folder):
    np.save(folder / "frames.npy", np.asfortranarray(np.load(folder / "frames.npy")))


def corrupt_one_class(folder):
    np.save(folder / "labels.npy", np.zeros_like(np.load(folder / "labels.npy")))


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (corrupt_count, r"frames.npy holds 30 clips but --annotations holds 29 labels"),
        (corrupt_gap, r"--annotations: .* must use every label from 0 to C-1, found \[0, 2, 4\]"),
        (corrupt_kind, r"--annotations: .* must hold integers \(N,\), found float64 of shape \(30, 3\)"),
        (corrupt_dtype, r"--data: .* must hold uint8 clips \(N, T, H, W, 3\), found float32"),
        (corrupt_length, r"--data: .* must be a complete .npy array"),
        (corrupt_pickle, r"--annotations: .* without pickle"),
        (corrupt_paths, r"--paths: .* must give label 0 one class folder, found Class0, Class2$"),
        (corrupt_archive, r"--annotations: .* must be a .npy array, found an archive of several files"),
        (corrupt_order, r"--data: .* must hold uint8 clips .*, found uint8 of shape \(30, .*\) in Fortran order"),
        (corrupt_one_class, r"--annotations: .* at least 2 classes, found 1"),
    ],
)
def test_errors_are_one_line(make_arrays, corrupt, message):
    """A user must see which file is wrong, what was expected and what was found."""
    folder = make_arrays()
    corrupt(folder)
    with pytest.raises(UserError, match=message) as error:
        open_folder(folder)
    assert "\n" not in str(error.value)


def sparse(path, dtype, count):
    """Write a .npy array of `count` zeros that takes no space on the disk."""
    with open(path, "wb") as file:
        content = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": (count,)}
        np.lib.format.write_array_header_2_0(file, content)
        file.truncate(file.tell() + count * np.dtype(dtype).itemsize)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(30) % 2 * 1.0, r"must hold integers \(N,\), found float64 of shape \(30,\)"),
        (np.arange(30) % 2 == 0, r"must hold integers \(N,\), found bool of shape \(30,\)"),
        (np.zeros(30, "M8[s]"), r"must hold integers \(N,\), found datetime64"),
        (np.array(7), r"must hold integers \(N,\), found int64 of shape \(\)"),
        (np.arange(30)[:, None], r"must hold integers \(N,\), found int64 of shape \(30, 1\)"),
        (np.arange(30) % 2 + (2**63 - 2), r"must use every label from 0 to C-1, found \[9223372036854775806, 92233"),
        (
            np.arange(30, dtype=np.uint64) % 2 + np.uint64(2**64 - 2),
            r"from 0 to C-1, found \[18446744073709551614, 18446",
        ),
        (np.arange(30) % 2 - 1, r"must use every label from 0 to C-1, found \[-1, 0\]"),
        (np.zeros(0, int), r"holds 30 clips but --annotations holds 0 labels"),
        (("i1", 10**12), r"holds 30 clips but --annotations holds 1000000000000 labels"),
    ],
)
def test_labels_that_are_not_class_numbers_are_refused(make_arrays, labels, message):
    """Large numbers would wrap around to valid labels, and a file of a terabyte be read to the end."""
    folder = make_arrays(height=20, width=20)
    if isinstance(labels, tuple):
        sparse(folder / "labels.npy", *labels)
    else:
        np.save(folder / "labels.npy", labels)
    with pytest.raises(UserError, match=message) as error:
        open_folder(folder)
    assert "\n" not in str(error.value)


def test_labels_and_paths_in_another_byte_order_are_the_same(make_arrays):
    """Arrays that were written on another machine would have other fingerprints."""
    folder = make_arrays(height=20, width=20)
    expected = open_folder(folder)
    for name, dtype in (("labels", ">u4"), ("video_file_paths", expected.paths.dtype.newbyteorder(">"))):
        np.save(folder / f"{name}.npy", np.load(folder / f"{name}.npy").astype(dtype))
    found = open_folder(folder)
    assert found.fingerprint() == expected.fingerprint()
    assert (found.labels.dtype, found.paths.dtype) == (np.int64, expected.paths.dtype)
    assert found.class_names == expected.class_names


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (np.array([b"a/b"] * 30), r"must hold strings \(N,\), found \|S3"),
        (np.full(30, 2**31 - 1, np.int32).view("<U1"), r"must hold valid Unicode \("),
        (("<U5000", 30), r"must hold paths of at most 4096 characters, found <U5000"),
        (("<U4000000", 30), r"must hold paths of at most 4096 characters, found <U4000000"),
        (("<U1", 10**11), r"holds 30 clips but .* holds 100000000000 paths"),
    ],
)
def test_paths_that_are_not_text_are_refused(make_arrays, paths, message):
    """Training would end with an error of the codec, or for lack of memory."""
    folder = make_arrays(height=20, width=20)
    if isinstance(paths, tuple):
        sparse(folder / "video_file_paths.npy", *paths)
    else:
        np.save(folder / "video_file_paths.npy", paths)
    with pytest.raises(UserError, match=message) as error:
        open_folder(folder)
    assert "\n" not in str(error.value)


def test_many_classes_are_named_in_linear_time(make_arrays):
    """With a class per clip the names of 100,000 clips would take hours."""
    labels = np.arange(100_000)
    names = class_names_of(labels, np.array([f"class{label}/a.avi" for label in labels.tolist()]), "paths.npy")
    assert (len(names), names[0], names[-1]) == (100_000, "class0", "class99999")


def test_truncation_while_in_use_is_an_error(make_arrays):
    """Missing rows must not be read as zeros."""
    folder = make_arrays()
    frames = FrameFile(folder / "frames.npy")
    with open(folder / "frames.npy", "rb+") as file:
        file.truncate(1000)
    with pytest.raises(UserError, match="changed or truncated while in use"):
        frames.read(29)


def test_changes_while_in_use_are_an_error(make_arrays):
    """Otherwise training would continue unnoticed on clips that do not belong to the labels."""
    folder = make_arrays()
    frames = FrameFile(folder / "frames.npy")
    frames.read(29)
    status = os.stat(folder / "frames.npy")
    with open(folder / "frames.npy", "rb+") as file:
        file.seek(1000)
        file.write(b"1")
    later = status.st_mtime_ns + 2 * 10**9  # some file systems store whole seconds
    os.utime(folder / "frames.npy", ns=(status.st_atime_ns, later))
    with pytest.raises(UserError, match="changed or truncated while in use"):
        frames.read(29)


@pytest.fixture
def folders(make_arrays):
    """Arrays of 30 clips, and of 6 and 4 further clips."""
    more = [make_arrays("more", classes=1, groups=3, seed=1), make_arrays("most", classes=2, groups=1, seed=2)]
    return make_arrays(), *more


def test_views_of_unlabelled_clips_equal_those_of_one_large_file(folders, tmp_path):
    """The targets of an unlabelled clip would be those of another clip or view."""
    dataset = with_unlabelled(open_folder(folders[0]), [folder / "frames.npy" for folder in folders[1:]])
    assert (len(dataset), dataset.row_count, dataset.unlabelled_rows.tolist()) == (30, 40, list(range(30, 40)))
    assert [part.labels.tolist() for part in dataset.unlabelled] == [[-1] * 6, [-1] * 4]
    for name in ("frames", "labels"):
        np.save(tmp_path / f"{name}.npy", np.concatenate([np.load(folder / f"{name}.npy") for folder in folders]))
    together, rows = open_folder(tmp_path), np.array([3, 29, 30, 35, 36, 39])
    for view in (0, 1, 7):
        found, expected = (
            one.view(rows, np.full(6, view), (12, 32, 24, 3), ViewOptions(view_seed=5)) for one in (dataset, together)
        )
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(IndexError, match="expected a row below 40"):
        dataset.locate(40)


def test_unlabelled_clips_may_have_another_frame_size(folders, make_arrays):
    """Extractions of other videos would have to be repeated at the size of the labelled clips."""
    folder = make_arrays("larger", height=64, width=64)
    dataset = with_unlabelled(open_folder(folders[0]), [folder / "frames.npy"])
    found = dataset.view_zero(np.array([2, 31]), (16, 24, 24, 3))
    np.testing.assert_array_equal(found[0], open_folder(folders[0]).view_zero(np.array([2]), (16, 24, 24, 3))[0])
    np.testing.assert_array_equal(found[1], open_folder(folder).view_zero(np.array([1]), (16, 24, 24, 3))[0])


def corrupt_paths_length(folder):
    np.save(folder / "video_file_paths.npy", np.load(folder / "video_file_paths.npy")[1:])


def corrupt_frame_count(folder):
    np.save(folder / "frames.npy", np.load(folder / "frames.npy")[:, 1:])


@pytest.mark.parametrize(
    ("files", "corrupt", "message"),
    [
        (["more", "./more"], None, r"more/frames.npy must be named once and must not be --data"),
        (["arrays"], None, r"arrays/frames.npy must be named once and must not be --data"),
        (["more"], corrupt_frame_count, r"must hold clips of 16 frames, as --data does, found 15"),
        (["more"], corrupt_paths_length, r"frames.npy holds 6 clips but .*video_file_paths.npy holds 5 paths"),
        (["more"], corrupt_dtype, r"must hold uint8 clips \(N, T, H, W, 3\), found float32"),
        (["more"], corrupt_length, r"must be a complete .npy array"),
        (["nowhere"], None, r"nowhere/frames.npy does not exist"),
    ],
)
def test_unusable_unlabelled_clips_are_refused(folders, tmp_path, files, corrupt, message):
    """Clips would be used twice, or the error name a file that the user did not give."""
    if corrupt:
        corrupt(folders[1])
    with pytest.raises(UserError, match=rf"^--unlabelled: .*{message}") as error:
        with_unlabelled(open_folder(folders[0]), [tmp_path / name / "frames.npy" for name in files])
    assert "\n" not in str(error.value)
