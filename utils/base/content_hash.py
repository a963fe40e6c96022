"""The hash of the rows of a large array, computed once and remembered in NAME.hash.json next to the file.

The hash is XXH3 with 128 bits (https://xxhash.com) of the hashes of all rows, so that the processes that make rows can
hash them. It reads files at the speed of the disk and detects every accidental change; it is no protection against
forgery.
"""

import os
import re
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import xxhash

from utils.base.errors import UserError
from utils.base.files import read_json, write_json
from utils.base.progress import progress

ALGORITHM = "xxh3_128"
CLOCK_TICK = 20 * 10**6  # ns; the resolution of modification times is one tick of the kernel's clock, at most 10 ms

_lock = threading.Lock()
_known: dict[tuple, str] = {}  # digests of this process, for files in folders that are not writable


def content_digest(file: BinaryIO, path: Path, *, start: int, row_bytes: int, what: str) -> str:
    """Return the digest of the rows of an open file from byte `start`, as "xxh3_128:" and 32 hexadecimal digits.

    The file is read only if neither this process nor `hash_path(path)` knows the digest of a file with the same size,
    modification time and inode. If it takes longer than a second, progress is shown. If the digest cannot be written
    next to the file, a note says so, once per process. Raises UserError that starts with `what` if the file changes
    while it is read.
    """
    with _lock:
        status = settled(file)
        about = description(status, start, row_bytes)
        key = (status.st_dev, *about.values())
        if key not in _known:
            digest = remembered(path, about)
            if digest is None:
                digest = _hashed(file, path, about, what)
                _remember_if_writable(path, about, digest)
            _known[key] = f"{ALGORITHM}:{digest}"
        return _known[key]


def hash_path(path: Path) -> Path:
    """Return the path of the file that remembers the hash of `path`."""
    return path.with_name(f"{path.name}.hash.json")


def row_digest(row) -> str:
    """Return the digest of one row, bytes or a contiguous array, as 32 hexadecimal digits."""
    return xxhash.xxh3_128_hexdigest(row)


def digest_of_rows(digests: Iterable[str]) -> str:
    """Return the digest of all rows, given those of the rows."""
    content = xxhash.xxh3_128()
    for digest in digests:
        content.update(bytes.fromhex(digest))
    return content.hexdigest()


def remember(file: BinaryIO, path: Path, digest: str, *, start: int, row_bytes: int) -> None:
    """Remember the digest of the rows of a file that is completely written. Raises OSError."""
    os.fsync(file.fileno())  # a network file system may set the modification time as late as this
    _write(path, description(settled(file), start, row_bytes), digest)


def description(status: os.stat_result, start: int, row_bytes: int) -> dict:
    """Return what has to be equal for a remembered hash to be valid."""
    return {
        "algorithm": ALGORITHM,
        "start": start,
        "row_bytes": row_bytes,
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "inode": status.st_ino,
    }


def settled(file: BinaryIO) -> os.stat_result:
    """Return the status of an open file once a later change will get a later modification time."""
    status = os.fstat(file.fileno())
    remaining = status.st_mtime_ns + CLOCK_TICK - time.time_ns()
    if 0 < remaining <= CLOCK_TICK:
        time.sleep(remaining / 1e9)
    return status


def remembered(path: Path, about: dict) -> str | None:
    """Return the remembered hash of `path`; None if there is none, or if it is damaged or of another description."""
    try:
        found = read_json(hash_path(path))
    except (OSError, UserError):
        return None
    digest = found.pop("digest", None) if isinstance(found, dict) else None
    is_complete = isinstance(digest, str) and re.fullmatch("[0-9a-f]{32}", digest)
    return digest if is_complete and found == about else None


def _hashed(file: BinaryIO, path: Path, about: dict, what: str) -> str:
    row, starts = bytearray(about["row_bytes"]), range(about["start"], about["size"], about["row_bytes"])
    digests, complete = [], True
    with progress(len(starts), unit=f"rows of {path.name} hashed", delay=1) as advance:
        for start in starts:
            complete = complete and os.preadv(file.fileno(), [row], start) == len(row)
            digests.append(row_digest(row))
            advance()
    if not complete or description(os.fstat(file.fileno()), about["start"], about["row_bytes"]) != about:
        raise UserError(f"{what} was changed or truncated while in use")
    return digest_of_rows(digests)


def _remember_if_writable(path: Path, about: dict, digest: str) -> None:
    try:
        _write(path, about, digest)
    except OSError as error:
        reason = f"{hash_path(path)}: {error.strerror}"
        note = f"note: the fingerprint of {path} cannot be stored, so every run computes it again: {reason}"
        print(note, file=sys.stderr)


def _write(path: Path, about: dict, digest: str) -> None:
    write_json(hash_path(path), about | {"digest": digest})
