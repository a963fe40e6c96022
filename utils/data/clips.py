"""The three arrays of stage 1 as one ClipDataset."""

import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from utils.base.array_files import open_array
from utils.base.content_hash import content_digest
from utils.base.errors import UserError, first_line
from utils.base.files import digest, escaped
from utils.base.options import PATHS_FILE, ViewOptions
from utils.data.views import render, view_of, window_frames

LONGEST_PATH = 4096  # characters, the limit of Linux


class FrameFile:
    """Clips of a frames.npy, read on demand; `shape` is `(N, T, H, W, 3)`. Reads are thread-safe.

    Plain reads keep memory constant; with a memory map every page ever touched would count as resident. Raises
    UserError that names `argument` if the file is not a complete uint8 array of RGB clips.
    """

    def __init__(self, path: str | os.PathLike, argument: str = "--data"):
        self.path, self.argument = Path(path), argument
        array = open_array(self.path, argument)
        if array.dtype != np.uint8 or array.ndim != 5 or array.shape[-1] != 3 or not array.flags.c_contiguous:
            raise UserError(
                f"{argument}: {path} must hold uint8 clips (N, T, H, W, 3), found {array.dtype} of shape {array.shape}"
                + ("" if array.flags.c_contiguous else " in Fortran order")
            )
        if 0 in array.shape:
            raise UserError(f"{argument}: {path} must hold at least one clip, found shape {array.shape}")
        self.shape = array.shape
        self._offset = os.path.getsize(self.path) - array.nbytes
        self._file = open(self.path, "rb")  # noqa: SIM115 - closed with this object
        self._written = self._last_written()

    def read(self, row: int, frames: np.ndarray | None = None) -> np.ndarray:
        """Return a clip, uint8 `(T, H, W, 3)`, or only its frames of the given ascending numbers."""
        _, length, *frame_shape = self.shape
        frame_bytes = int(np.prod(frame_shape))
        start = self._offset + int(row) * length * frame_bytes
        if frames is None or len(frames) == length:
            return self._read(start, length * frame_bytes).reshape(length, *frame_shape)
        return np.stack([self._read(start + int(f) * frame_bytes, frame_bytes).reshape(frame_shape) for f in frames])

    @cached_property
    def content(self) -> str:
        """The digest of all frames; see utils/base/content_hash.py. The first use may read the whole file."""
        what = f"{self.argument}: {self.path}"
        digest = content_digest(
            self._file, self.path, start=self._offset, row_bytes=math.prod(self.shape[1:]), what=what
        )
        self._require_unchanged()
        return digest

    def fingerprint(self) -> dict[str, str | list[int]]:
        """Return what identifies the clips: `shape`, and `content`, the digest of all frames."""
        return {"shape": [int(side) for side in self.shape], "content": self.content}

    def _last_written(self) -> int:
        return os.fstat(self._file.fileno()).st_mtime_ns

    def _read(self, start: int, size: int) -> np.ndarray:
        buffer = np.empty(size, np.uint8)
        view, done = memoryview(buffer), 0
        while done < size:  # one call reads at most 2 GB
            count = os.preadv(self._file.fileno(), [view[done:]], start + done)
            self._require_unchanged(count == 0)
            done += count
        return buffer

    def _require_unchanged(self, is_truncated: bool = False) -> None:
        if is_truncated or self._last_written() != self._written:
            raise UserError(f"{self.argument}: {self.path} was changed or truncated while in use")


@dataclass(frozen=True)
class ClipDataset:
    """Clips, labels and paths of one extraction, and the clips of further extractions without labels.

    labels: int64 `(N,)`, 0..C-1. paths: unicode `(N,)`, or None. class_names: C names, by label. unlabelled: datasets
    whose labels are -1; their M clips have the row numbers N..N+M-1, in order. Views can be read of all rows, all else
    concerns the N clips with labels.
    """

    frames: FrameFile
    labels: np.ndarray
    paths: np.ndarray | None
    class_names: tuple[str, ...]
    unlabelled: "tuple[ClipDataset, ...]" = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def unlabelled_rows(self) -> np.ndarray:
        """Row numbers of the clips without labels, int64 `(M,)`."""
        return np.arange(len(self), len(self) + sum(map(len, self.unlabelled)))

    @property
    def row_count(self) -> int:
        """Number of clips with and without labels, N + M."""
        return len(self) + len(self.unlabelled_rows)

    def clip_names(self, rows: np.ndarray) -> list[str]:
        """Return a name for each labelled clip, also among other arrays: its path; without paths, digest and row."""
        if self.paths is not None:
            return self.paths[rows].tolist()
        return [f"{self.frames.content} {row}" for row in rows]

    def locate(self, row: int) -> tuple[FrameFile, int]:
        """Return the file that holds the clip `row`, and the number of its row there."""
        for part in (self, *self.unlabelled):
            if row < len(part):
                return part.frames, row
            row -= len(part)
        raise IndexError(f"expected a row below {self.row_count}")

    def view_zero(self, rows: np.ndarray, input_shape: tuple[int, int, int, int]) -> np.ndarray:
        """Return view 0 of clips at a model's input size: uint8 `(len(rows), *input_shape)`."""
        return self.view(rows, np.zeros(len(rows), np.int64), input_shape, ViewOptions())

    def view(
        self, rows: np.ndarray, numbers: np.ndarray, input_shape: tuple[int, int, int, int], options: ViewOptions
    ) -> np.ndarray:
        """Return view `numbers[k]` of clip `rows[k]` at a model's input size: uint8 `(len(rows), *input_shape)`."""
        length, height, width, _ = input_shape
        clips = np.empty((len(rows), *input_shape), np.uint8)
        for position, (row, number) in enumerate(zip(rows, numbers)):
            view = view_of(row, number, options)
            frames, stored_row = self.locate(row)
            stored = frames.read(stored_row, window_frames(frames.shape[1], length, view))
            clips[position] = render(stored, view, height=height, width=width)
        return clips

    def fingerprint(self) -> dict[str, str | list[int]]:
        """Return what identifies these arrays: `shape`, and digests of `labels`, `paths` and all frames (`content`).

        Two extractions of the same videos at different sizes have equal `labels` and `paths`, so their row numbers
        refer to the same clips.
        """
        return self.frames.fingerprint() | {
            "labels": digest(self.labels.astype("<i8").tobytes()),
            "paths": digest("\n".join(self.paths).encode(errors="surrogatepass")) if self.paths is not None else "",
        }


def open_clips(
    data: str | os.PathLike, annotations: str | os.PathLike, paths: str | os.PathLike | None = None
) -> ClipDataset:
    """Open and check the arrays of stage 1.

    `paths` defaults to video_file_paths.npy next to `data`; if it is missing, classes are named by their labels. Raises
    UserError that names the argument whose array has a wrong dtype, shape, length or value.
    """
    frames = FrameFile(data)
    clips = frames.shape[0]
    labels = open_array(annotations, "--annotations")
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(
            f"--annotations: {annotations} must hold integers (N,), found {labels.dtype} of shape {labels.shape}"
        )
    if len(labels) != clips:
        raise UserError(f"--data: {data} holds {clips} clips but --annotations holds {len(labels)} labels")
    present = np.unique(labels)  # before the conversion, in which large uint64 would become negative
    if not np.array_equal(present, np.arange(len(present))):
        raise UserError(
            f"--annotations: {annotations} must use every label from 0 to C-1, found {present[:10].tolist()}"
            + (" ..." if len(present) > 10 else "")
        )
    if len(present) < 2:
        raise UserError(f"--annotations: {annotations} must hold at least 2 classes, found 1")

    labels = labels.astype(np.int64)
    if paths is None:
        paths = Path(data).with_name(PATHS_FILE)
        if not paths.is_file():
            return ClipDataset(frames, labels, None, tuple(str(label) for label in present))
    names = read_paths(paths, frames, "--paths")
    return ClipDataset(frames, labels, names, class_names_of(labels, names, paths))


def with_unlabelled(dataset: ClipDataset, files: Sequence[str | os.PathLike]) -> ClipDataset:
    """Return `dataset` with the clips of further frames.npy as unlabelled clips.

    The paths of a file are read from video_file_paths.npy next to it, if it exists. Raises UserError if a file is not
    a frames.npy, if its clips are shorter or longer than those of `dataset`, or if it is named twice or is --data.
    """
    parts, known = [], {dataset.frames.path.resolve()}
    for path in map(Path, files):
        frames = FrameFile(path, "--unlabelled")
        if path.resolve() in known:
            raise UserError(f"--unlabelled: {path} must be named once and must not be --data")
        known.add(path.resolve())
        if frames.shape[1] != dataset.frames.shape[1]:
            raise UserError(
                f"--unlabelled: {path} must hold clips of {dataset.frames.shape[1]} frames, as --data does, "
                f"found {frames.shape[1]}"
            )
        names = path.with_name(PATHS_FILE)
        names = read_paths(names, frames, "--unlabelled") if names.is_file() else None
        parts.append(ClipDataset(frames, np.full(frames.shape[0], -1, np.int64), names, ()))
    return replace(dataset, unlabelled=tuple(parts))


def read_paths(path: str | os.PathLike, frames: FrameFile, argument: str) -> np.ndarray:
    """Read the paths of the clips in `frames`. Raises UserError unless they are strings, one per clip."""
    names = open_array(path, argument)
    if names.ndim != 1 or names.dtype.kind != "U":
        raise UserError(f"{argument}: {path} must hold strings (N,), found {names.dtype} of shape {names.shape}")
    if len(names) != frames.shape[0]:
        raise UserError(
            f"{frames.argument}: {frames.path} holds {frames.shape[0]} clips but {path} holds {len(names)} paths"
        )
    if names.dtype.itemsize > 4 * LONGEST_PATH:
        raise UserError(f"{argument}: {path} must hold paths of at most {LONGEST_PATH} characters, found {names.dtype}")
    try:
        names = np.array([escaped(name) for name in names])
    except (ValueError, SystemError) as error:  # SystemError: a code point that does not exist
        raise UserError(f"{argument}: {path} must hold valid Unicode ({first_line(error)})") from None
    return names


def class_of(path: str) -> str:
    """Return the class of a clip, the first folder of its path."""
    return path.partition("/")[0]


def class_names_of(labels: np.ndarray, paths: np.ndarray, source: str | os.PathLike) -> tuple[str, ...]:
    """Return the first part of each path by label. Raises UserError unless labels and names correspond one to one."""
    folders = defaultdict(set)
    for label, path in zip(labels.tolist(), paths.tolist()):
        folders[label].add(class_of(path))
    names = []
    for label in sorted(folders):
        found = sorted(folders[label])
        if len(found) != 1:
            raise UserError(f"--paths: {source} must give label {label} one class folder, found {', '.join(found[:3])}")
        names.append(found[0])
    if len(set(names)) != len(names):
        raise UserError(f"--paths: {source} must give each label its own class folder, found labels that share one")
    return tuple(names)
