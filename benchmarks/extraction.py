"""Compare speed and memory of reading videos into arrays with a plain method and with decoding only.

    python benchmarks/extraction.py --input_path VIDEOS
    python benchmarks/extraction.py --short                       synthetic videos, a minute

The plain method seeks to each sampled frame and keeps all clips in memory, in one process. Decoding only grabs the
frames up to the last sampled one. Each run is a separate process; the methods take turns, --repeats times, and the
table shows medians. The time of an extraction includes starting its workers, that of decoding only does not; CPU time
always does. For more clips than VIDEOS holds, videos are read several
times.
"""

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.base.devices import memory_of_tree
from utils.evaluation.tables import markdown_table
from utils.video.discovery import find_videos
from utils.video.extract import extract
from utils.video.synthetic import render_dataset
from utils.video.video import sampled_indices, use_one_thread

OURS, PLAIN, DECODING = "video_to_frames.py", "plain", "decoding only"
LENGTH, SIDE = 16, 224


def opened(path: Path):
    """Open a video for decoding by one thread; return it and the indices of its sampled frames."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    return capture, sampled_indices(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), LENGTH).tolist()


def resized(frame: np.ndarray) -> np.ndarray:
    """Return a decoded frame as RGB, (SIDE, SIDE, 3)."""
    return cv2.cvtColor(cv2.resize(frame, (SIDE, SIDE)), cv2.COLOR_BGR2RGB)


def read_by_seeks(path: Path) -> np.ndarray:
    """Return the clip of a video, read with a seek per sampled frame."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    for index in sampled_indices(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), LENGTH).tolist():
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        frames.append(resized(capture.read()[1]))
    return np.array(frames)


def decode_only(path: Path) -> None:
    """Grab the frames of a video up to the last sampled one."""
    capture, wanted = opened(path)
    for _ in range(wanted[-1] + 1):
        capture.grab()


def run_one(way: str, workers: int, folder: Path, output: Path) -> None:
    """Read a folder with a method; print its speed, without imports, and its CPU time as JSON."""
    paths = [folder / video.path for video in find_videos(folder)]
    if way == DECODING:
        with multiprocessing.get_context("spawn").Pool(workers, initializer=use_one_thread) as pool:
            pool.map(decode_only, paths[: 2 * workers], chunksize=1)  # starts the processes
            start = time.monotonic()
            clips = len(pool.map(decode_only, paths, chunksize=2))
            seconds = time.monotonic() - start
            pool.close()
            pool.join()
    else:
        start = time.monotonic()
        if way == PLAIN:
            clips = len(np.array([read_by_seeks(path) for path in paths]))
        else:
            size = {"sequence_length": LENGTH, "frame_height": SIDE, "frame_width": SIDE}
            clips = extract(folder, output, workers=workers, follow_links=True, **size).clips
        seconds = time.monotonic() - start
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(own.ru_utime + own.ru_stime for own in used)
    print(json.dumps({"clips": clips, "clips_per_second": clips / seconds, "cpu_ms_per_clip": 1000 * cpu / clips}))


@contextlib.contextmanager
def sampled_memory(process: int) -> Iterator[list[float]]:
    """Yield a list to which the memory of a process and its children is added, in MB."""
    samples, end = [0.0], threading.Event()

    def sample() -> None:
        while not end.wait(0.2):
            samples.append(memory_of_tree(process))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        end.set()
        thread.join()


def measure(way: str, workers: int, folder: Path, output: Path) -> dict:
    """Run a method in a separate process; return its speed and the peak memory of its process tree."""
    command = [sys.executable, __file__, "--run", json.dumps([way, workers, str(folder), str(output)])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, sampled_memory(process.pid) as memory:
        printed = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"{way} with {workers} workers failed with exit code {process.returncode}")
    result = {"way": way, "workers": workers, **json.loads(printed)}
    return {**result, "peak_memory_mb": max(memory), "load": os.getloadavg()[0]}


def make_set(videos: list[Path], clips: int, folder: Path) -> Path:
    """Fill a folder of ten classes with `clips` links to the videos, repeated as needed."""
    for number, path in zip(range(clips), itertools.cycle(videos)):
        link = folder / f"class{number % 10}" / f"{number:05d}{path.suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
    return folder


def medians(results: list[dict]) -> dict[tuple[str, int, int], dict[str, float]]:
    """Return the medians of the numbers of all repeats, by (way, workers, clips)."""
    repeats = defaultdict(list)
    for result in results:
        repeats[result["way"], result["workers"], result["clips"]].append(result)
    fields = ("clips_per_second", "cpu_ms_per_clip", "peak_memory_mb")
    return {
        key: {name: statistics.median(run[name] for run in runs) for name in fields} for key, runs in repeats.items()
    }


def table(found: dict) -> str:
    """Return the medians as a table, a row per method, number of workers and number of clips."""
    rows = []
    for (way, workers, clips), own in sorted(found.items(), key=lambda item: item[0][2]):
        rate = own["clips_per_second"]
        row = [way, str(workers), str(clips), f"{rate:.1f}"]
        for other in ((PLAIN, 1, clips), (DECODING, workers, clips)):
            row.append(f"{rate / found[other]['clips_per_second']:.2f}" if other in found else "-")
        rows.append([*row, f"{own['cpu_ms_per_clip']:.1f}", f"{own['peak_memory_mb']:.0f}"])
    header = ["method", "workers", "clips", "clips/s", "x plain", "x decoding only", "CPU ms per clip", "peak MB"]
    return markdown_table(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--input_path", type=Path, help="folder of class folders of videos, by default synthetic ones")
    parser.add_argument("--clips", type=int, nargs="+", default=[100, 200, 500, 1000, 2000], help="sizes of the sets")
    parser.add_argument("--plain_up_to", type=int, default=500, help="largest set that the plain method reads")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of worker processes")
    parser.add_argument("--repeats", type=int, default=3, help="number of runs of each method")
    parser.add_argument("--short", action="store_true", help="60 clips, once")
    parser.add_argument("--run", type=json.loads, help=argparse.SUPPRESS)  # for the processes of `measure`
    args = parser.parse_args()
    if args.short:
        args.clips, args.repeats = [60], 1
    if args.run is not None:
        way, workers, folder, output = args.run
        run_one(way, workers, Path(folder), Path(output))
        return
    with tempfile.TemporaryDirectory() as name:
        scratch, results = Path(name), []
        size = {"frame_height": 240, "frame_width": 320}
        source = args.input_path or render_dataset(scratch / "synthetic", subjects=2, clips=1, **size).folder
        videos = [source / video.path for video in find_videos(source)]

        for clips in args.clips:
            folder, output = make_set(videos, clips, scratch / f"set{clips}"), scratch / "output"
            ways = [(way, workers) for way in (OURS, DECODING) for workers in args.workers]
            ways += [(PLAIN, 1)] if clips <= args.plain_up_to else []
            for way, workers in args.repeats * ways:
                results.append(measure(way, workers, folder, output))
                print(json.dumps(results[-1]), flush=True)
                if results[-1]["clips"] != clips:
                    raise SystemExit(f"{way}: expected {clips} clips, got {results[-1]['clips']}")
                shutil.rmtree(output, ignore_errors=True)
    print(table(medians(results)))


if __name__ == "__main__":
    main()
