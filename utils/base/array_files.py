"""Reading of .npy files whose headers may be damaged, edited or malicious."""

import math
import os
import warnings
from pathlib import Path

import numpy as np

from utils.base.errors import UserError, first_line
from utils.base.files import regular_size

ARCHIVE = b"PK"  # first bytes of .npz


def open_array(path: str | os.PathLike, argument: str) -> np.ndarray:
    """Open a .npy array as a read-only memory map; its values are not read yet.

    Raises UserError that names `argument` unless the file is one complete array of plain values: the header must state
    the length of the file exactly, so that no file makes the caller allocate more memory than it has values.
    """
    what = f"{argument}: {path}"
    size = regular_size(path, what=what)
    shape, is_fortran, dtype, offset = _header(Path(path), what)
    if dtype.hasobject or dtype.names is not None or dtype.subdtype is not None or not dtype.itemsize:
        raise UserError(f"{what} must be a complete .npy array without pickle and of plain values, found {dtype}")
    if not all(0 <= side < 2**63 for side in shape):
        raise UserError(f"{what} must be a complete .npy array, but its header states the shape {_short(shape)}")
    expected, found = math.prod(shape) * dtype.itemsize, size - offset
    if expected != found:
        raise UserError(
            f"{what} must be a complete .npy array: shape {_short(shape)} of {dtype} takes {expected:,} bytes, found "
            f"{found:,}"
        )
    try:
        if not expected:
            return np.empty(shape, dtype)
        return np.memmap(path, dtype, "r", offset, shape, "F" if is_fortran else "C")
    except (ValueError, OverflowError, OSError) as error:  # more dimensions than NumPy has, a file system without maps
        raise UserError(f"{what} must be a .npy array that can be mapped to memory ({first_line(error)})") from None


def _header(path: Path, what: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Return shape, whether the order is Fortran's, dtype and the position of the values."""
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            if file.read(len(ARCHIVE)) == ARCHIVE:
                raise UserError(f"{what} must be a .npy array, found an archive of several files")
            file.seek(0)
            version = np.lib.format.read_magic(file)
            readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in readers:  # 3.0 is for names of fields
                raise ValueError(f"format version {version[0]}.{version[1]}")
            return *readers[version](file), file.tell()
    except UserError:
        raise
    except Exception as error:  # the header is a Python literal; its parser raises many types
        reason = first_line(error).split(". ")[0][:100]
        raise UserError(f"{what} must be a complete .npy array without pickle ({reason})") from None


def _short(shape: tuple[int, ...]) -> str:
    text = str(tuple(shape[:6])) if all(abs(side) < 10**30 for side in shape[:6]) else "with sides beyond 10^30"
    return text if len(shape) <= 6 else f"{text} and {len(shape) - 6} further sides"
