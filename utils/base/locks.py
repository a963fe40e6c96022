"""Lock files, which the operating system releases if their process dies."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from utils.base.errors import UserError


@contextlib.contextmanager
def exclusive_lock(path: str | os.PathLike, *, what: str) -> Iterator[None]:
    """Hold a lock on the file `path` while the block runs, then delete the file, and new folders that stayed empty.

    The operating system releases the lock if the process dies.
    Raises UserError if another process holds the lock; the message starts with `what`.
    """
    path = Path(path)
    new_folders = [folder for folder in path.absolute().parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with open(path, "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{what} is in use by another run (lock file {path})") from None
            if not is_at(file, path):  # its owner deleted it between open() and flock()
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # not empty
                    for folder in new_folders:
                        folder.rmdir()
            return


def is_at(file, path: Path) -> bool:
    """Return whether the open `file` is still the file at `path`."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
