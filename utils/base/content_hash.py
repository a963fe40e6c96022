"""The hash of a large file's content, computed once and remembered in NAME.hash.json next to the file.

The hash is XXH3 with 128 bits (https://xxhash.com). It reads files at the speed of the disk and detects every
accidental change; it is no protection against forgery.
"""

import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO

import xxhash

from utils.base.errors import UserError
from utils.base.files import read_json, write_json
from utils.base.progress import progress

ALGORITHM = "xxh3_128"
BLOCK = 2**20  # bytes per read; fits in the processor's cache
CLOCK_TICK = 20 * 10**6  # ns; the resolution of modification times is one tick of the kernel's clock, at most 10 ms

_lock = threading.Lock()
_known: dict[tuple, str] = {}  # digests of this process, for files in folders that are not writable


def content_digest(file: BinaryIO, path: Path, *, start: int, what: str) -> str:
    """Return the digest of an open file from byte `start` to its end, as "xxh3_128:" and 32 hexadecimal digits.

    The file is read only if neither this process nor `hash_path(path)` knows the digest of a file with the same size,
    modification time and inode. If it takes longer than a second, progress is shown. If the digest cannot be written
    next to the file, a note says so, once per process. Raises UserError that starts with `what` if the file changes
    while it is read.
    """
    with _lock:
        status = settled(file)
        about = description(status, start)
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


def new_hash() -> xxhash.xxh3_128:
    """Return an empty hash, to be updated with the content of a file while it is written."""
    return xxhash.xxh3_128()


def update_from_file(content: xxhash.xxh3_128, file: BinaryIO, start: int, end: int, name: str) -> bool:
    """Update a hash with the bytes `start` to `end` of an open file; return False if the file is shorter.

    If it takes longer than a second, progress is shown with the name of the file.
    """
    buffer = memoryview(bytearray(BLOCK))
    with progress(-(-(end - start) // BLOCK), unit=f"MiB of {name} hashed", delay=1) as advance:
        while start < end:
            count = os.preadv(file.fileno(), [buffer[: end - start]], start)
            if count == 0:
                return False
            content.update(buffer[:count])
            start += count
            advance()
    return True


def remember(file: BinaryIO, path: Path, content: xxhash.xxh3_128, *, start: int) -> None:
    """Remember the hash of the bytes from `start` of a file that is completely written. Raises OSError."""
    os.fsync(file.fileno())  # a network file system may set the modification time as late as this
    _write(path, description(settled(file), start), content.hexdigest())


def description(status: os.stat_result, start: int) -> dict:
    """Return what has to be equal for a remembered hash to be valid."""
    return {
        "algorithm": ALGORITHM,
        "start": start,
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
    content = new_hash()
    is_complete = update_from_file(content, file, about["start"], about["size"], path.name)
    if not is_complete or description(os.fstat(file.fileno()), about["start"]) != about:
        raise UserError(f"{what} was changed or truncated while in use")
    return content.hexdigest()


def _remember_if_writable(path: Path, about: dict, digest: str) -> None:
    try:
        _write(path, about, digest)
    except OSError as error:
        reason = f"{hash_path(path)}: {error.strerror}"
        note = f"note: the fingerprint of {path} cannot be stored, so every run computes it again: {reason}"
        print(note, file=sys.stderr)


def _write(path: Path, about: dict, digest: str) -> None:
    write_json(hash_path(path), about | {"digest": digest})
