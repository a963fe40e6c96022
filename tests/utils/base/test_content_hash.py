"""Hashes of large files: equal to those of xxHash, computed once, and never those of another content."""

import errno
import io
import json
import multiprocessing
import os
import sys

import pytest
import xxhash

from utils.base import content_hash
from utils.base.content_hash import content_digest, hash_path
from utils.base.errors import UserError

START, ROW = 100, 2**18
CONTENT = bytes(START) + bytes(range(256)) * 5 * 2**10  # five rows


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "clips.npy"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture(autouse=True)
def new_process(monkeypatch):
    """Return a function that forgets the hashes which this process knows, as if a new process were started."""

    def forget():
        monkeypatch.setattr(content_hash, "_known", {})

    forget()
    return forget


@pytest.fixture
def reads(monkeypatch):
    """The list of reads of the hashed file."""
    found, read = [], os.preadv
    monkeypatch.setattr(os, "preadv", lambda *arguments: found.append(arguments) or read(*arguments))
    return found


def digest(path, start=START):
    with open(path, "rb") as file:
        return content_digest(file, path, start=start, row_bytes=ROW, what=f"--data: {path}")


def expected(content=CONTENT):
    rows = (content[start : start + ROW] for start in range(START, len(content), ROW))
    return f"xxh3_128:{xxhash.xxh3_128_hexdigest(b''.join(xxhash.xxh3_128_digest(row) for row in rows))}"


def test_the_hash_is_that_of_the_bytes_and_is_remembered(path, reads, new_process):
    """Every command would read the whole file again, which may hold 20 GB."""
    assert digest(path) == expected()
    assert sum(len(buffers[0]) for _, buffers, _ in reads) == len(CONTENT) - START
    reads.clear()
    assert digest(path) == expected()
    new_process()
    assert digest(path) == expected()
    assert reads == []
    status = path.stat()
    assert json.loads(hash_path(path).read_text()) == {
        "algorithm": "xxh3_128",
        "start": START,
        "row_bytes": ROW,
        "size": len(CONTENT),
        "mtime_ns": status.st_mtime_ns,
        "inode": status.st_ino,
        "digest": expected().partition(":")[2],
    }


def rewritten(path):
    path.write_bytes(CONTENT[:-1] + b"\0")


def replaced(path):
    status = path.stat()
    path.with_name("new").write_bytes(CONTENT[:-1] + b"\0")
    os.utime(path.with_name("new"), ns=(status.st_atime_ns, status.st_mtime_ns))
    path.with_name("new").rename(path)


def shortened(path):
    status = path.stat()
    path.write_bytes(CONTENT[:-ROW])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("is_new_process", [True, False])
@pytest.mark.parametrize("change", [rewritten, replaced, shortened])
def test_a_changed_file_is_hashed_again(path, new_process, change, is_new_process):
    """Results of the old content would be used for the new one: each change keeps two of size, date and inode."""
    digest(path)
    change(path)
    if is_new_process:
        new_process()
    assert digest(path) == expected(path.read_bytes()) != expected()
    new_process()
    assert digest(path) == expected(path.read_bytes())


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:40],
        lambda text: "\xff",
        lambda text: "[]",
        lambda text: json.dumps(json.loads(text) | {"algorithm": "blake3", "digest": "0" * 32}),
        lambda text: json.dumps(json.loads(text) | {"start": 0, "digest": "0" * 32}),
        lambda text: json.dumps(json.loads(text) | {"digest": "0" * 31}),
        lambda text: json.dumps(json.loads(text) | {"digest": 7}),
        lambda text: json.dumps({"digest": "0" * 32}),
    ],
)
def test_a_damaged_remembered_hash_is_ignored_and_replaced(path, new_process, damage):
    """A truncated file would end a run, or a hash of another kind be compared with this one."""
    digest(path)
    whole = hash_path(path).read_text()
    hash_path(path).write_text(damage(whole), encoding="latin-1")
    new_process()
    assert digest(path) == expected()
    assert hash_path(path).read_text() == whole


def test_a_read_only_folder_gives_one_note(path, new_process, monkeypatch, capsys, reads):
    """Arrays on a read-only disk could not be used, or would be read for each training of an experiment."""

    def refuse(path, content):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(content_hash, "write_json", refuse)
    assert [digest(path) for _ in range(3)] == [expected()] * 3
    assert sum(len(buffers[0]) for _, buffers, _ in reads) == len(CONTENT) - START
    assert capsys.readouterr().err == (
        f"note: the fingerprint of {path} cannot be stored, so every run computes it again: "
        f"{path}.hash.json: Read-only file system\n"
    )
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("change", [rewritten, lambda path: os.truncate(path, 2 * START)])
def test_a_change_while_the_file_is_hashed_is_an_error(path, monkeypatch, change):
    """The hash would be that of a mixture of two contents."""
    read = os.preadv

    def read_and_change(*arguments):
        count = read(*arguments)
        change(path)
        return count

    monkeypatch.setattr(os, "preadv", read_and_change)
    with pytest.raises(UserError, match=r"^--data: .*clips.npy was changed or truncated while in use$"):
        digest(path)
    assert not hash_path(path).exists()


def hash_often(path, count, results):
    for _ in range(count):
        content_hash._known.clear()
        hash_path(path).unlink(missing_ok=True)
        results.put(digest(path))


def test_processes_that_hash_at_the_same_time(path):
    """Two trainings started together would leave an incomplete file, or fail."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=hash_often, args=(path, 20, results)) for _ in range(2)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in range(40)]
    for process in processes:
        process.join()
    assert found == [expected()] * 40
    assert digest(path) == expected()
    assert {file.name for file in path.parent.iterdir()} == {path.name, hash_path(path).name}


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_only_a_long_computation_shows_progress(path, monkeypatch, seconds):
    """Small arrays would clutter the output, or 20 GB seem to hang."""
    clock, read = [100.0], os.preadv

    def slow_read(*arguments):
        clock[0] += seconds / 5
        return read(*arguments)

    monkeypatch.setattr("tqdm.std.time", lambda: clock[0])
    monkeypatch.setattr(os, "preadv", slow_read)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert digest(path) == expected()
    shown = sys.stderr.getvalue()
    assert ("5/5" in shown and "rows of clips.npy hashed" in shown) if seconds > 1 else shown == ""
