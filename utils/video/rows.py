"""The rows of a frames.npy while it is written."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from utils.base.files import write_at


def header_bytes(rows: int, clip_shape: tuple[int, ...]) -> bytes:
    """Return the header of frames.npy. Its length does not depend on `rows`: NumPy pads it for a growing first axis."""
    parts = []
    content = {"descr": "|u1", "fortran_order": False, "shape": (rows, *clip_shape)}
    np.lib.format.write_array_header_1_0(SimpleNamespace(write=parts.append), content)
    return b"".join(parts)


class Rows:
    """The rows of a frames.npy, which is created if it does not exist; `rows` of them are complete."""

    def __init__(self, path: Path, clip_shape: tuple[int, ...]):
        self.frames_path, self.clip_shape, self.rows = path, clip_shape, 0
        self.header_size = len(header_bytes(0, clip_shape))
        self.row_size = int(np.prod(clip_shape))
        self.frames_path.touch()
        self.frames = open(self.frames_path, "rb+", buffering=0)  # noqa: SIM115, closed by close()

    def offset(self, row: int) -> int:
        """Return the position of a row, in bytes."""
        return self.header_size + row * self.row_size

    def read(self, row: int) -> bytes:
        return os.pread(self.frames.fileno(), self.row_size, self.offset(row))

    def write(self, row: int, clip) -> None:
        write_at(self.frames.fileno(), clip, self.offset(row))

    def close(self) -> None:
        self.frames.close()
