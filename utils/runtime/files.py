"""Files that are either complete or absent: write beside then rename, locks, fingerprints, free space."""

import contextlib
import csv
import errno
import fcntl
import glob
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from utils.runtime.errors import UserError

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def written_beside(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to `path` when the block ends well and removed when it does not.

    The temporary name keeps the suffix of `path` (Keras and NumPy choose a format by it). A missing folder is made.
    The bytes reach the disk before the rename, so a file under its final name is complete even after a power cut.
    The OSError of a full disk names `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        is_short = str(error).endswith(" written")  # NumPy's "N requested and M written" tells no number
        number = errno.ENOSPC if error.errno is None and is_short else error.errno
        if number is None or error.filename is not None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def disk_error(error: OSError) -> str | None:
    """What a user can mend (a full disk, a file that may not be written) in one line; None for other errors."""
    if error.errno not in DISK_ERRORS:
        return None
    return f"{error.filename}: {os.strerror(error.errno)}" if error.filename else os.strerror(error.errno)


def remove_partial(path: str | os.PathLike) -> None:
    """Removes what killed processes were writing for `path`; to be called where no other process writes it."""
    path = Path(path)
    for left in path.parent.glob(f".{glob.escape(path.stem)}.*.partial{glob.escape(path.suffix)}"):
        left.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Writes bytes under their final name at once or not at all."""
    with written_beside(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes UTF-8 text under its final name at once or not at all."""
    write_bytes(path, text.encode())


def write_csv(path: str | os.PathLike, header: Sequence[str], rows: Sequence[Sequence]) -> None:
    """Writes a CSV file, complete or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_json(path: str | os.PathLike, content) -> None:
    """Writes `content` as indented JSON, a list of numbers on one line; NaN is refused, since JSON has none."""
    text = json.dumps(content, indent=2, allow_nan=False)
    number_lists = re.compile(r"\[\n\s*(-?\d[^\[\]{}\"]*?)\n\s*\]")  # no text holds a line break
    write_text(path, number_lists.sub(lambda match: f"[{' '.join(match[1].split())}]", text) + "\n")


def read_json(path: str | os.PathLike):
    """Reads a JSON file. Raises UserError with the file's name if it is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a JSON file: {error}") from None


def file_fingerprint(path: str | os.PathLike) -> str:
    """SHA-256 of the file's bytes, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def exclusive_lock(path: str | os.PathLike, *, what: str) -> Iterator[None]:
    """Holds a lock on the file `path` while the block runs; the system releases it however the process dies.

    The file is removed at the end. `what` names the guarded thing in the error. Raises UserError at once if another
    process holds the lock.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with open(path, "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{what} is in use by another run (lock file {path})") from None
            if not is_at(file, path):  # its owner removed it between the two calls above
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def is_at(file, path: Path) -> bool:
    """Whether the open `file` is the one that `path` names now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def require_free_space(folder: str | os.PathLike, needed_bytes: int, *, what: str) -> None:
    """Raises UserError if the disk of `folder`, or of its nearest existing parent, has less than that free."""
    existing = Path(folder).absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise UserError(f"{what} needs {needed_bytes / 1e9:.2f} GB but {existing} has {free / 1e9:.2f} GB free")


def digest(content: bytes) -> str:
    """SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def plain(value):
    """`value` with paths as text, so that JSON can hold it."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def beside_history(log_path: Path, suffix: str) -> Path:
    """The file with this suffix at `--log_path`, which may or may not end in .npy."""
    stem = log_path.with_suffix("") if log_path.suffix == ".npy" else log_path
    return stem.with_name(stem.name + suffix)
