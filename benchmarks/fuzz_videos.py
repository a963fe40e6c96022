"""Read hundreds of damaged videos; check that the run ends, intact ones are right and others have a reason.

    python benchmarks/fuzz_videos.py --input_path VIDEOS --files 500

Copies of VIDEOS are damaged: truncated, with flipped bits, with overwritten or zeroed headers, spliced from two files,
or given the suffix of another container. Others cannot be read at all (empty, a folder named like a video, dangling
links, a FIFO, no permission) or are intact. The memory of all processes is sampled. Prints a JSON object.
"""

import argparse
import contextlib
import csv
import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import sampled_memory
from utils.extraction.discovery import find_videos
from utils.extraction.extract import extract
from utils.extraction.video import VideoError, read_clip

SIZE = {"sequence_length": 16, "frame_height": 64, "frame_width": 64}
HEADER = 2048  # bytes at the start of a file that hold most of the metadata of a container
HUGE = (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\x00\x00\x01\x00", b"\x00\x00\x00\x00")


@dataclass(frozen=True)
class FuzzedVideo:
    """A file to read. readable: None if unknown. origin: the intact video that it is a copy of, if any."""

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


def copy_without_permission(path: Path, source: Path) -> None:
    shutil.copyfile(source, path)
    path.chmod(0)


MUTATIONS = (truncated, flipped, header_overwritten, zeroed, spliced, noise)
UNREADABLE = {
    "empty": lambda path, source: path.touch(),
    "folder": lambda path, source: path.mkdir(),
    "dangling link": lambda path, source: path.symlink_to(path.with_suffix(".nowhere")),
    "looping link": lambda path, source: path.symlink_to(path),
    "fifo": lambda path, source: os.mkfifo(path),
    "no permission": copy_without_permission,
}


def make_videos(folder: Path, sources: list[Path], files: int, seed: int) -> list[FuzzedVideo]:
    """Fill `folder` with class folders of damaged, unreadable and intact videos, the same ones for the same seed."""
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
            kind = choose.choice(list(UNREADABLE))
            UNREADABLE[kind](path, source)
            readable = None if kind == "no permission" and os.access(path, os.R_OK) else False  # root may read it
        else:  # FFmpeg looks at the content, so a copy with the suffix of another container is readable too
            shutil.copyfile(source, path)
            readable, origin = True, source
        videos.append(FuzzedVideo(path.relative_to(folder).as_posix(), kind, readable, origin))
    return videos


def skipped(output: Path) -> dict[str, str]:
    """Return the reason for each skipped video, by path."""
    with open(output / "skipped_videos.csv", newline="", encoding="utf-8") as file:
        return dict(list(csv.reader(file))[1:])


def faults(videos: list[FuzzedVideo], output: Path) -> list[str]:
    """Describe each video that has no row and no reason, or not the expected one of them, or the wrong frames."""
    paths = np.load(output / "video_file_paths.npy").tolist()
    rows, reasons = dict(zip(paths, np.load(output / "frames.npy", mmap_mode="r"))), skipped(output)
    found = []
    for video in videos:
        if (video.path in rows) == (video.path in reasons):
            problem = "must be a row or have a reason"
        elif video.readable is False and not reasons.get(video.path):
            problem = "must have a reason"
        elif video.readable and video.path not in rows:
            problem = f"must be a row, got: {reasons[video.path]}"
        elif video.origin and not np.array_equal(rows[video.path], read_clip(video.origin, **SIZE)):
            problem = "must equal its origin"
        else:
            continue
        found.append(f"{video.path} ({video.kind}) {problem}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--input_path", type=Path, required=True, help="folder of class folders of videos to damage")
    parser.add_argument("--files", type=int, default=500, help="number of files to read")
    parser.add_argument("--seed", type=int, default=0, help="seed of the damage")
    parser.add_argument("--video_timeout", type=float, default=20.0, help="seconds before a video is skipped")
    parser.add_argument("--memory_limit", type=float, default=1000.0, help="MB that all processes may use")
    args = parser.parse_args()
    sources = []
    for video in find_videos(args.input_path):
        with contextlib.suppress(VideoError):
            read_clip(args.input_path / video.path, **SIZE)
            sources.append(args.input_path / video.path)
    with tempfile.TemporaryDirectory() as name:
        folder, output = Path(name) / "videos", Path(name) / "out"
        videos = make_videos(folder, sources, args.files, args.seed)
        start = time.monotonic()
        with sampled_memory() as memory:
            summary = extract(folder, output, video_timeout=args.video_timeout, **SIZE)
        seconds, found = time.monotonic() - start, faults(videos, output)
        reasons = Counter(re.sub(r"\d", "", reason) for reason in skipped(output).values())
    if max(memory) > args.memory_limit:
        found.append(f"memory must stay below {args.memory_limit:.0f} MB, reached {max(memory):.0f}")
    result = {
        "files": len(videos),
        "kinds": Counter(video.kind for video in videos),
        "rows": summary.clips,
        "skipped": summary.skipped,
        "reasons": reasons,
        "seconds": round(seconds, 1),
        "peak_memory_mb": round(max(memory)),
        "faults": found,
    }
    print(json.dumps(result, indent=1))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
