"""Atomic file writes, reading within limits, fingerprints, and checks of free disk space."""

import codecs
import contextlib
import contextvars
import csv
import errno
import glob
import hashlib
import io
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import pydantic_core

from utils.base.errors import UserError, first_line

_DELAYED = contextvars.ContextVar("renames that replaced_together delays", default=None)
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS)
JSON_BYTES = 64 * 2**20  # largest JSON file that is read; the record of a million clips has about 8 MB


@contextlib.contextmanager
def written_beside(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it to `path` if the block succeeds, otherwise delete it.

    The temporary name keeps the suffix of `path`, by which Keras and NumPy choose the format. Missing parent folders
    are created. The data is flushed to disk before the rename, so `path` holds a complete file even after a power
    failure. The OSError of a full disk names `path`. Within `replaced_together` the rename is delayed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = ".weights.h5" if path.name.endswith(".weights.h5") else path.suffix
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{suffix}")
    delayed, is_delayed = _DELAYED.get(), False
    try:
        with naming(path):
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            if delayed is None:
                os.replace(temporary, path)
            else:
                delayed.append((temporary, path))
                is_delayed = True
    finally:
        if not is_delayed:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name `path` in the OSError of a write to an open file, such as that of a full disk, which names no file."""
    try:
        yield
    except OSError as error:
        is_short = str(error).endswith(" written")  # NumPy's "N requested and M written" has no errno
        number = errno.ENOSPC if error.errno is None and is_short else error.errno
        if number is None or error.filename is not None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


@contextlib.contextmanager
def replaced_together() -> Iterator[None]:
    """Delay the renames of `written_beside` to the end of the block, so that all of its files are replaced or none.

    All files are complete before the first rename. If the block or a rename raises an exception, the former files are
    restored. The file that is written first is renamed last: if the process is killed between two renames, its presence
    shows that the others are there. An inner block joins the outer one.
    """
    if _DELAYED.get() is not None:
        yield
        return
    delayed: list[tuple[Path, Path]] = []
    token = _DELAYED.set(delayed)
    try:
        try:
            yield
        finally:
            _DELAYED.reset(token)
        _replace_all(delayed[::-1])
    finally:
        for temporary, _ in delayed:
            temporary.unlink(missing_ok=True)


def _replace_all(renames: Sequence[tuple[Path, Path]]) -> None:
    """Rename all temporary files to their final paths; after an exception, restore the former files and raise it."""
    former = {path: path.with_name(f".{path.stem}.{os.getpid()}.former.partial{path.suffix}") for _, path in renames}
    try:
        for path, kept in former.items():
            kept.unlink(missing_ok=True)
            if os.path.lexists(path):
                _link_or_copy(path, kept)
        try:
            for temporary, path in renames:
                os.replace(temporary, path)
        except BaseException:
            for temporary, path in renames:
                if not temporary.exists() and former[path].exists():
                    os.replace(former[path], path)
                elif not temporary.exists():
                    path.unlink(missing_ok=True)
            raise
    finally:
        for kept in former.values():
            kept.unlink(missing_ok=True)


def _link_or_copy(path: Path, other: Path) -> None:
    try:
        os.link(path, other, follow_symlinks=False)
    except OSError:  # some file systems have no hard links
        shutil.copy2(path, other)


def disk_error(error: OSError) -> str | None:
    """Describe an error that the user can fix (full disk, missing permission) in one line; None for other errors."""
    if error.errno not in DISK_ERRORS:
        return None
    return f"{error.filename}: {os.strerror(error.errno)}" if error.filename else os.strerror(error.errno)


def remove_partial(path: str | os.PathLike) -> None:
    """Delete the temporary files that killed processes left for `path`. No other process may be writing `path`."""
    path = Path(path)
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}.*.partial{glob.escape(path.suffix)}"):
        leftover.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Write a binary file atomically."""
    with written_beside(path) as temporary:
        temporary.write_bytes(content)


def write_at(file_number: int, content, offset: int) -> None:
    """Write all bytes of `content`, such as bytes or a contiguous array, at `offset` of an open file.

    Raises OSError, for example if the disk is full; a write to a memory map would end the process without a message.
    """
    remaining = memoryview(content).cast("B")
    while remaining:
        written = os.pwrite(file_number, remaining, offset)
        remaining, offset = remaining[written:], offset + written


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file atomically, as UTF-8; what UTF-8 cannot encode, as in some file names, is escaped."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_csv(path: str | os.PathLike, header: Sequence[str], rows: Sequence[Sequence]) -> None:
    """Write a CSV file atomically, as UTF-8; what UTF-8 cannot encode, as in some file names, is escaped."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_bytes(path, text.getvalue().encode(errors="backslashreplace"))


def write_json(path: str | os.PathLike, content) -> None:
    """Write `plain(content)` as indented JSON, with each list of numbers on one line, atomically."""
    text = json.dumps(plain(content), indent=2, allow_nan=False)
    number_lists = re.compile(r"\[\n\s*(-?\d[^\[\]{}\"]*?)\n\s*\]")  # JSON strings contain no line breaks
    write_text(path, number_lists.sub(lambda match: f"[{' '.join(match[1].split())}]", text) + "\n")


def read_json(path: str | os.PathLike, *, what: str | None = None, limit: int = JSON_BYTES):
    """Read a JSON file without a schema. Raises UserError that starts with `what`, by default the path, if it is none.

    See `read_limited` and `pydantic_core.from_json` for what is refused.
    """
    what = what or str(path)
    content = read_limited(path, what=what, limit=limit).removeprefix(codecs.BOM_UTF8)
    try:
        return pydantic_core.from_json(content, allow_inf_nan=False)
    except ValueError as error:
        raise UserError(f"{what} is not a JSON file: {first_line(error)}") from None


def read_limited(path: str | os.PathLike, *, what: str, limit: int) -> bytes:
    """Read a file of at most `limit` bytes. Raises UserError that starts with `what` if it is larger or unreadable."""
    size = regular_size(path, what=what)
    if size > limit:
        raise UserError(f"{what} must have at most {limit:,} bytes, found {size:,}")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{what} cannot be read: {error.strerror}") from None


def regular_size(path: str | os.PathLike, *, what: str) -> int:
    """Return the size of a file in bytes.

    Raises UserError that starts with `what` unless it is a regular file: opening a pipe or a device could block.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise UserError(f"{what} does not exist") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise UserError(f"{what} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(status.st_mode):
        found = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise UserError(f"{what} must be a regular file, found {found}")
    return status.st_size


def file_fingerprint(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file's content as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_free_space(folder: str | os.PathLike, needed_bytes: int, *, what: str) -> None:
    """Raise UserError if the disk of `folder` has less than `needed_bytes` free; `folder` need not exist yet."""
    existing = Path(folder).absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise UserError(f"{what} needs {needed_bytes / 1e9:.2f} GB but {existing} has {free / 1e9:.2f} GB free")


def digest(content: bytes) -> str:
    """Return the SHA-256 of `content` as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def escaped(text: str) -> str:
    """Return a text with escapes for what UTF-8 cannot encode, as in some file names."""
    return text.encode(errors="backslashreplace").decode()


def plain(value):
    """Return a copy of `value` as in JSON: paths become strings, tuples become lists.

    NaN and infinities, which JSON does not have, become None, and texts that are no Unicode are escaped.
    """
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return escaped(str(value)) if isinstance(value, (Path, str)) else value


def beside_history(log_path: Path, suffix: str) -> Path:
    """Return the path next to the history at `log_path` that has this suffix; `log_path` may end in .npy or not."""
    stem = log_path.with_suffix("") if log_path.suffix == ".npy" else log_path
    return stem.with_name(stem.name + suffix)
