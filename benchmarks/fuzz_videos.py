"""Read thousands of damaged videos; check that the run ends, intact ones are right and others have a reason.

    python benchmarks/fuzz_videos.py --input_path VIDEOS --output_path fuzz --files 10000

Copies of VIDEOS are damaged: truncated, with flipped bits, with overwritten or zeroed headers, spliced from two files,
or given the suffix of another container. Others must not be read (empty, a folder named like a video, dangling links,
links and scripts that name a video elsewhere, a FIFO, no permission) or are intact. The memory of all processes is
sampled. Before the first part, faults are planted in the results of a small run, to show that the checks find them.

The files are made, read and deleted in parts. The result of each part is a file in the output folder; the same command
continues an interrupted run. Videos with a fault are kept in the folder `faulty`. Prints a JSON object.
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
from utils.base.errors import first_line
from utils.base.files import read_json, write_json
from utils.video.discovery import find_videos
from utils.video.extract import extract
from utils.video.video import VideoError, read_clip

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


def script_of(path: Path, source: Path) -> None:
    path.write_text(f"ffconcat version 1.0\nfile '{source.resolve()}'\n")


def script_with_bytes_of(path: Path, source: Path) -> None:
    """Write a script that does not look like text, by a comment in front of it."""
    path.write_bytes(b"ffconcat version 1.0\n#\x00\xff\n" + f"file '{source.resolve()}'\n".encode())


def copy_without_permission(path: Path, source: Path) -> None:
    shutil.copyfile(source, path)
    path.chmod(0)


MUTATIONS = (truncated, flipped, header_overwritten, zeroed, spliced, noise)
UNREADABLE = {
    "empty": lambda path, source: path.touch(),
    "folder": lambda path, source: path.mkdir(),
    "dangling link": lambda path, source: path.symlink_to(path.with_suffix(".nowhere")),
    "looping link": lambda path, source: path.symlink_to(path),
    "link out of the folder": lambda path, source: path.symlink_to(source.resolve()),
    "script": script_of,
    "script with bytes": script_with_bytes_of,
    "fifo": lambda path, source: os.mkfifo(path),
    "no permission": copy_without_permission,
}


def make_videos(folder: Path, sources: list[Path], files: int, seed: str) -> list[FuzzedVideo]:
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


def faults(videos: list[FuzzedVideo], output: Path) -> dict[str, str]:
    """Return by path what is wrong with a video: no row and no reason, not the expected one, or other frames."""
    paths = np.load(output / "video_file_paths.npy").tolist()
    rows, reasons = dict(zip(paths, np.load(output / "frames.npy", mmap_mode="r"))), skipped(output)
    found = {}
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
        found[video.path] = f"({video.kind}) {problem}"
    return found


def flip_a_bit(output: Path) -> None:
    frames = np.load(output / "frames.npy")
    np.save(output / "frames.npy", frames ^ 1)


def drop_reasons(output: Path) -> None:
    (output / "skipped_videos.csv").write_text("path,reason\n")


def swap_rows(output: Path) -> None:
    paths = np.load(output / "video_file_paths.npy")
    np.save(output / "video_file_paths.npy", np.roll(paths, 1))


PLANTED = (flip_a_bit, drop_reasons, swap_rows)


def planted_faults_missed(sources: list[Path], video_timeout: float) -> list[str]:
    """Plant faults in the results of a run of 40 files; return the names of those that `faults` does not find."""
    missed = []
    with tempfile.TemporaryDirectory() as name:
        folder, output, changed = (Path(name) / part for part in ("videos", "out", "changed"))
        videos = make_videos(folder, sources, 40, seed="planted")
        extract(folder, output, video_timeout=video_timeout, **SIZE)
        if faults(videos, output):
            return ["none: the run without a planted fault has faults"]
        for plant in PLANTED:
            shutil.copytree(output, changed)
            plant(changed)
            if not faults(videos, changed):
                missed.append(plant.__name__)
            shutil.rmtree(changed)
    return missed


def run_part(sources: list[Path], files: int, seed: str, args: argparse.Namespace) -> dict:
    """Make, read and check the files of one part; keep those with a fault in `faulty`."""
    with tempfile.TemporaryDirectory() as name:
        folder, output = Path(name) / "videos", Path(name) / "out"
        videos = make_videos(folder, sources, files, seed)
        start, rows, reasons = time.monotonic(), 0, Counter()
        with sampled_memory() as memory:
            try:
                rows = extract(folder, output, video_timeout=args.video_timeout, **SIZE).clips
                found = faults(videos, output)
                reasons = Counter(re.sub(r"\d", "", reason) for reason in skipped(output).values())
            except Exception as error:  # one part must not end the others
                found = {"": f"the run ended with {type(error).__name__}: {first_line(error)}"}
        for path in found:
            kept = args.output_path / "faulty" / seed / path
            kept.parent.mkdir(parents=True, exist_ok=True)
            if path and (folder / path).is_file():
                shutil.copy(folder / path, kept)
        if not all(found):
            shutil.copytree(folder, args.output_path / "faulty" / seed, dirs_exist_ok=True, symlinks=True)
    problems = [f"part {seed}: {path} {problem}" for path, problem in found.items()]
    if max(memory) > args.memory_limit:
        problems.append(f"part {seed}: memory must stay below {args.memory_limit:.0f} MB, reached {max(memory):.0f}")
    return {
        "files": len(videos),
        "kinds": Counter(video.kind for video in videos),
        "rows": rows,
        "skipped": sum(reasons.values()),
        "reasons": reasons,
        "seconds": round(time.monotonic() - start, 1),
        "peak_memory_mb": round(max(memory)),
        "faults": problems,
    }


def total(parts: list[dict]) -> dict:
    """Return the sums over all parts, and the largest memory."""
    sums = {name: sum(part[name] for part in parts) for name in ("files", "rows", "skipped")}
    counts = {name: dict(sum((Counter(part[name]) for part in parts), Counter())) for name in ("kinds", "reasons")}
    seconds = round(sum(part["seconds"] for part in parts), 1)
    peak = max(part["peak_memory_mb"] for part in parts)
    found = [fault for part in parts for fault in part["faults"]]
    return {**sums, **counts, "seconds": seconds, "peak_memory_mb": peak, "faults": found}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--input_path", type=Path, required=True, help="folder of class folders of videos to damage")
    parser.add_argument("--output_path", type=Path, required=True, help="folder for the results of the parts")
    parser.add_argument("--files", type=int, default=500, help="number of files to read")
    parser.add_argument("--part", type=int, default=250, help="number of files that exist at a time")
    parser.add_argument("--seed", type=int, default=0, help="seed of the damage")
    parser.add_argument("--video_timeout", type=float, default=20.0, help="seconds before a video is skipped")
    parser.add_argument("--memory_limit", type=float, default=1000.0, help="MB that all processes may use")
    args = parser.parse_args()
    settings = {"input_path": str(args.input_path.resolve()), "part": args.part, "seed": args.seed}
    record = args.output_path / "settings.json"
    if record.exists() and read_json(record) != settings:
        parser.error(f"--output_path: {args.output_path} holds a run with {read_json(record)}, asked for {settings}")
    write_json(record, settings)
    return args


def main() -> int:
    args = parse_arguments()
    sources = []
    for video in find_videos(args.input_path):
        with contextlib.suppress(VideoError):
            read_clip(args.input_path / video.path, **SIZE)
            sources.append(args.input_path / video.path)
    if not sources:
        raise SystemExit(f"--input_path: {args.input_path} must hold class folders of videos, found none to read")
    if missed := planted_faults_missed(sources, args.video_timeout):
        raise SystemExit(f"the checks must find each planted fault, they missed {', '.join(missed)}")
    print(f"planted faults found: {', '.join(plant.__name__ for plant in PLANTED)}", file=sys.stderr)
    parts, starts = [], range(0, args.files, args.part)
    for number, start in enumerate(starts):
        files = min(args.part, args.files - start)
        path = args.output_path / f"part_{number:04}.json"
        if not path.exists() or read_json(path)["files"] < files:  # the last part of a smaller run is repeated
            write_json(path, run_part(sources, files, f"{args.seed}-{number}", args))
        parts.append(read_json(path))
        summary = ", ".join(f"{parts[-1][name]} {name}" for name in ("files", "rows", "skipped", "seconds"))
        print(f"part {number + 1}/{len(starts)}: {summary}, {len(parts[-1]['faults'])} faults", file=sys.stderr)
    result = total(parts)
    print(json.dumps(result, indent=1))
    return 1 if result["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
