"""Damaged and malicious .npy files: one line, no allocation of what a header merely states."""

import os
import struct

import numpy as np
import pytest

from utils.base.array_files import open_array
from utils.base.errors import UserError

HUGE = 10**12  # bytes of a sparse file


def npy(header: str, values: bytes = b"", version=(1, 0)) -> bytes:
    """Return the content of a .npy file with any text as its header."""
    text = header.encode("latin1").ljust(118) + b"\n"
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text + values


def header(shape, descr="'|u1'", order=False) -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6),
        np.arange(6, dtype=">i8").reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(["a", "bcd"]),
        np.float32(3),
        np.zeros((3, 0, 2)),
        np.array([True, False]),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_plain_arrays_are_opened_unchanged(tmp_path, array):
    """Arrays of other programs, in another byte order or memory order, would be refused or misread."""
    np.save(tmp_path / "a.npy", array)
    found = open_array(tmp_path / "a.npy", "--data")
    np.testing.assert_array_equal(found, array)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.flags.f_contiguous == np.asarray(array).flags.f_contiguous


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must be a complete .npy array without pickle ("),
        (b"\x93NUM", "must be a complete .npy array without pickle ("),
        (b"hello" * 50_000, "must be a complete .npy array without pickle ("),
        (b"PK\x03\x04rest", "must be a .npy array, found an archive of several files"),
        (npy(header("(7,)"), bytes(6)), "shape (7,) of uint8 takes 7 bytes, found 6"),
        (npy(header("(7,)"), bytes(8)), "shape (7,) of uint8 takes 7 bytes, found 8"),
        (npy(header("(10**15,)"), bytes(8)), "must be a complete .npy array without pickle ("),
        (npy(header("(1000000000000000,)"), bytes(8)), "takes 1,000,000,000,000,000 bytes, found 8"),
        (npy(header("(-1,)"), bytes(8)), "its header states the shape (-1,)"),
        (npy(header("(-2, -4)"), bytes(8)), "its header states the shape (-2, -4)"),
        (npy(header(f"(0, {10**25})")), f"its header states the shape (0, {10**25})"),
        (npy(header(f"({10**99}, 0)")), "its header states the shape with sides beyond 10^30"),
        (npy(header(f"(0, {2**62}, {2**62})")), "must be a .npy array that can be mapped"),
        (npy(header(f"({'1,' * 40})"), b"1"), None),
        (npy(header("(" + "1," * 70 + ")"), b"1"), "must be a .npy array that can be mapped"),
        (npy(header("(1.5,)"), bytes(8)), "must be a complete .npy array without pickle ("),
        (npy(header("7"), bytes(8)), "must be a complete .npy array without pickle ("),
        (npy(header("(2,)", "'|O'"), bytes(16)), "without pickle and of plain values, found object"),
        (npy(header("(1,)", "[('a', '<i8')]"), bytes(8)), "of plain values, found [('a', '<i8')]"),
        (npy(header("(1,)", "[('a', '|O')]"), bytes(8)), "of plain values, found [('a', 'O')]"),
        (npy(header("(1,)", "('<i4', (2,))"), bytes(8)), "of plain values, found ('<i4', (2,))"),
        (npy(header(f"({10**12},)", "'<U0'")), "of plain values, found <U0"),
        (npy(header("(1,)", "'nonsense'"), bytes(8)), "must be a complete .npy array without pickle ("),
        (npy(header("(1,)", "7"), bytes(8)), "must be a complete .npy array without pickle ("),
        (npy("(" * 9_000), "must be a complete .npy array without pickle ("),
        (npy("[" * 90_000, version=(2, 0)), "must be a complete .npy array without pickle ("),
        (npy("{" + "'a': 1, " * 9_000 + "}", version=(2, 0)), "Header info length"),
        (npy("\x00\x01\x02"), "must be a complete .npy array without pickle ("),
        (npy("import os"), "must be a complete .npy array without pickle ("),
        (npy(header("(1,)"), b"1", version=(3, 0)), "(format version 3.0)"),
        (npy(header("(1,)"), b"1", version=(9, 9)), "must be a complete .npy array without pickle ("),
    ],
)
@pytest.mark.filterwarnings("error", "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_files_that_are_not_one_plain_array_are_refused(tmp_path, content, message):
    """NumPy would allocate terabytes, or end with one of a dozen exceptions."""
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    if message is None:
        assert open_array(path, "--data").shape == (1,) * 40
        return
    with pytest.raises(UserError) as error:
        open_array(path, "--data")
    assert str(error.value).startswith(f"--data: {path} must be a ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 250


def test_a_file_larger_than_the_memory_is_opened_without_being_read(tmp_path):
    """The caller compares the shape first; reading a terabyte would end the process."""
    path = tmp_path / "labels.npy"
    content = npy(header(f"({HUGE},)"))
    path.write_bytes(content)
    os.truncate(path, len(content) + HUGE)
    assert open_array(path, "--annotations").shape == (HUGE,)


def test_only_regular_files_are_opened(tmp_path):
    """Opening a pipe without a writer would never return."""
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "folder.npy").mkdir()
    for name, message in (
        ("pipe.npy", "must be a regular file, found a pipe, socket or device"),
        ("folder.npy", "must be a regular file, found a folder"),
        ("none.npy", "does not exist"),
        ("/dev/zero", "must be a regular file, found a pipe, socket or device"),
        ("a\0b", "cannot be read: embedded null byte"),
    ):
        with pytest.raises(UserError) as error:
            open_array(tmp_path / name, "--data")
        assert str(error.value) == f"--data: {tmp_path / name} {message}"
