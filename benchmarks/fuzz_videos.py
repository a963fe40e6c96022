"""Reads hundreds of damaged videos and checks that the run ends, good ones are right and bad ones have a reason.

    python benchmarks/fuzz_videos.py --input_path VIDEOS --files 500

VIDEOS are mutated: truncated, bytes flipped, headers overwritten or zeroed, halves of two files joined, names of
another container; among them are files that cannot be read at all (empty, a folder named like a video, links that lead
nowhere, a FIFO, no permission) and untouched copies. Memory of all processes is watched. Prints one JSON line.
"""

import argparse
import csv
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.extraction.discovery import find_videos
from utils.extraction.extract import extract
from utils.extraction.video import VideoError, read_clip
from utils.runtime.devices import memory_of_tree

SIZE = {"sequence_length": 16, "frame_height": 64, "frame_width": 64}
HEADER = 2048  # bytes at a file's start that hold most of what a container says of itself
HUGE = (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\x00\x00\x01\x00", b"\x00\x00\x00\x00")


@dataclass(frozen=True)
class FuzzedVideo:
    """A file to read: `origin` is the untouched video if it is a copy of one; `readable` is None if either may be."""

    path: str
    kind: str
    readable: bool | None
    origin: Path | None = None


def truncated(data: bytearray, choose: random.Random, _) -> bytes:
    return bytes(data[: choose.randrange(len(data))])


def flipped(data: bytearray, choose: random.Random, _) -> bytes:
    for _ in range(choose.choice((1, 10, 100, 1000))):
        data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
    return bytes(data)


def header_overwritten(data: bytearray, choose: random.Random, _) -> bytes:
    for _ in range(choose.choice((1, 2, 4))):
        start = 4 * choose.randrange(min(len(data), HEADER) // 4)
        data[start : start + 4] = choose.choice(HUGE)
    return bytes(data)


def zeroed(data: bytearray, choose: random.Random, _) -> bytes:
    start = choose.randrange(min(len(data), HEADER))
    length = choose.choice((16, 256, 4096))
    data[start : start + length] = bytes(len(data[start : start + length]))
    return bytes(data)


def spliced(data: bytearray, choose: random.Random, other: bytes) -> bytes:
    return bytes(data[: choose.randrange(len(data))] + other[choose.randrange(len(other)) :])


def noise(data: bytearray, choose: random.Random, _) -> bytes:
    return choose.randbytes(min(len(data), 100_000))


MUTATIONS = (truncated, flipped, header_overwritten, zeroed, spliced, noise)
UNREADABLE = ("empty", "folder", "dangling link", "looping link", "fifo", "no permission")


def make_videos(folder: Path, sources: list[Path], files: int, seed: int) -> list[FuzzedVideo]:
    """Fills `folder` with class folders of damaged, unreadable and untouched videos; the same for the same seed."""
    choose = random.Random(seed)
    videos = []
    for number in range(files):
        source = choose.choice(sources)
        kind = choose.choices(("mutated", "unreadable", "renamed", "copy"), (12, 3, 1, 4))[0]
        suffix = choose.choice((".avi", ".mp4", ".mkv", ".mpg", ".gif")) if kind == "renamed" else source.suffix
        path = folder / f"class{number % 3}" / f"{number:04d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        readable, origin = None, None
        if kind == "mutated":
            mutate = choose.choice(MUTATIONS)
            kind = mutate.__name__
            path.write_bytes(mutate(bytearray(source.read_bytes()), choose, choose.choice(sources).read_bytes()))
        elif kind == "unreadable":
            kind = choose.choice(UNREADABLE)
            readable = make_unreadable(path, source, kind)
        else:  # FFmpeg looks at the content, so a copy under another container's name is read as well
            shutil.copyfile(source, path)
            readable, origin = True, source
        videos.append(FuzzedVideo(path.relative_to(folder).as_posix(), kind, readable, origin))
    return videos


def make_unreadable(path: Path, source: Path, kind: str) -> bool | None:
    """Makes a file that cannot be read; returns False, or None where it can be after all (by root)."""
    if kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind == "dangling link":
        path.symlink_to(path.with_suffix(".nowhere"))
    elif kind == "looping link":
        path.symlink_to(path)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        shutil.copyfile(source, path)
        path.chmod(0)
        if os.access(path, os.R_OK):
            return None
    return False


def faults(videos: list[FuzzedVideo], output: Path) -> list[str]:
    """What is wrong with the outcome: a file that is lost, a good one that is not right, a bad one without reason."""
    paths = np.load(output / "video_file_paths.npy").tolist()
    rows = dict(zip(paths, np.load(output / "frames.npy", mmap_mode="r")))
    with open(output / "skipped_videos.csv", newline="", encoding="utf-8") as file:
        reasons = dict(list(csv.reader(file))[1:])
    found = []
    for video in videos:
        if (video.path in rows) == (video.path in reasons):
            found.append(f"{video.path} ({video.kind}) must be a row or have a reason")
        elif video.readable is False and not reasons.get(video.path):
            found.append(f"{video.path} ({video.kind}) must have a reason")
        elif video.readable and video.path not in rows:
            found.append(f"{video.path} ({video.kind}) must be a row, got: {reasons[video.path]}")
        elif video.origin and not np.array_equal(rows[video.path], read_clip(video.origin, **SIZE)):
            found.append(f"{video.path} ({video.kind}) must equal its origin")
    return found


def readable_sources(folder: Path) -> list[Path]:
    """The videos of a folder that give a clip when untouched."""
    sources = []
    for video in find_videos(folder):
        try:
            read_clip(folder / video.path, **SIZE)
        except VideoError:
            continue
        sources.append(folder / video.path)
    return sources


class MemoryWatch:
    """The most memory that this process and all below it were seen to take while the block ran, in MB."""

    def __enter__(self):
        self.peak, self._end = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.1):
            self.peak = max(self.peak, memory_of_tree())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--input_path", type=Path, required=True, help="class folders of videos to mutate")
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--video_timeout", type=float, default=20.0)
    parser.add_argument("--memory_limit", type=float, default=1000.0, help="MB, of all processes")
    options = parser.parse_args()
    sources = readable_sources(options.input_path)
    with tempfile.TemporaryDirectory() as name:
        folder, output = Path(name) / "videos", Path(name) / "out"
        videos = make_videos(folder, sources, options.files, options.seed)
        start = time.monotonic()
        with MemoryWatch() as memory:
            summary = extract(folder, output, video_timeout=options.video_timeout, **SIZE)
        found = faults(videos, output)
        with open(output / "skipped_videos.csv", newline="", encoding="utf-8") as file:
            reasons = Counter("".join(c for c in row[1] if not c.isdigit()) for row in list(csv.reader(file))[1:])
    if memory.peak > options.memory_limit:
        found.append(f"memory must stay below {options.memory_limit:.0f} MB, reached {memory.peak:.0f}")
    result = {
        "files": len(videos),
        "kinds": Counter(video.kind for video in videos),
        "rows": summary.clips,
        "skipped": summary.skipped,
        "reasons": reasons,
        "seconds": round(time.monotonic() - start, 1),
        "peak_memory_mb": round(memory.peak),
        "faults": found,
    }
    print(json.dumps(result, indent=1))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
