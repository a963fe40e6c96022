"""Compare speed and memory of reading videos into arrays with a plain method and with decoding only.

    python benchmarks/extraction.py --input_path VIDEOS --clips 400
    python benchmarks/extraction.py --clips 60 --repeats 1        synthetic videos, a minute
    python benchmarks/extraction.py --input_path VIDEOS --clips 40 --seconds 300

The plain method seeks to each sampled frame and keeps all clips in memory, in one process. Decoding only grabs the
frames up to the last sampled one. Each run is a separate process; the methods take turns, --repeats times, and the
table shows medians. The time of an extraction includes starting its workers, that of decoding only does not; CPU time
always does. Videos are read several times if VIDEOS holds fewer than --clips. Memory is that of the largest process.
With --seconds, each of ten videos is repeated without encoding it again until it is as long.
"""

import itertools
import json
import math
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import in_turn
from utils.base import argument_types, cli
from utils.base.parser import ArgumentParser
from utils.evaluation.tables import markdown_table
from utils.video.discovery import find_videos
from utils.video.extract import extract
from utils.video.synthetic import render_dataset
from utils.video.video import sampled_indices, use_one_thread

OURS, PLAIN, DECODING = "video_to_frames.py", "plain", "decoding only"
LENGTH, SIDE = 16, 224


def opened(path: Path, *options):
    """Open a video; return it and the indices of its sampled frames."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, options)
    return capture, sampled_indices(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), LENGTH).tolist()


def read_by_seeks(path: Path) -> np.ndarray:
    """Return the clip of a video, read with a seek per sampled frame."""
    capture, wanted = opened(path)
    frames = []
    for index in wanted:
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        frames.append(cv2.cvtColor(cv2.resize(capture.read()[1], (SIDE, SIDE)), cv2.COLOR_BGR2RGB))
    return np.array(frames)


def decode_only(path: Path) -> None:
    """Grab the frames of a video up to the last sampled one, by one thread."""
    capture, wanted = opened(path, cv2.CAP_PROP_N_THREADS, 1)
    for _ in range(wanted[-1] + 1):
        capture.grab()


def run_one(way: str, workers: int, folder: Path, output: Path) -> None:
    """Read a folder with a method; print clips/s without imports, CPU ms per clip and peak MB as JSON."""
    paths = [folder / video.path for video in find_videos(folder, follow_links=True)]
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
    print(json.dumps([clips / seconds, 1000 * cpu / clips, max(own.ru_maxrss for own in used) / 1024]))


def measure(way: str, workers: int, folder: Path) -> list[float]:
    """Run a method in a separate process; return what `run_one` prints."""
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, __file__, "--run", json.dumps([way, workers, str(folder), output])]
        printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(printed.splitlines()[-1])


def repeat(video: Path, seconds: float, path: Path) -> Path:
    """Write a video of at least `seconds` to `path`, of copies of another one."""
    with av.open(str(video)) as source, av.open(str(path), "w") as output:
        stream = source.streams.video[0]
        packets = [(bytes(each), each.pts, each.dts, each.is_keyframe) for each in source.demux(stream) if each.size]
        length = max(pts for _, pts, _, _ in packets) + round(1 / (stream.average_rate * stream.time_base))
        copied = output.add_stream_from_template(stream)
        for start in range(0, math.ceil(seconds / stream.time_base), length):
            for content, pts, dts, is_keyframe in packets:
                packet = av.Packet(content)
                packet.pts, packet.dts, packet.is_keyframe = start + pts, start + dts, is_keyframe
                packet.time_base, packet.stream = stream.time_base, copied
                output.mux(packet)
    return path


def make_set(videos: list[Path], clips: int, folder: Path) -> Path:
    """Fill a folder of ten classes with `clips` links to the videos, repeated as needed."""
    for number, path in zip(range(clips), itertools.cycle(videos)):
        link = folder / f"class{number % 10}" / f"{number:05d}{path.suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
    return folder


def main() -> None:
    if sys.argv[1:2] == ["--run"]:  # in a process of `measure`
        way, workers, folder, output = json.loads(sys.argv[2])
        run_one(way, workers, Path(folder), Path(output))
        return
    parser, count = ArgumentParser(__doc__.splitlines()[0]), argument_types.positive_int
    parser.add_argument("--input_path", type=Path, help="folder of class folders of videos, by default synthetic ones")
    parser.add_argument("--clips", type=count, default=400, help="number of clips")
    parser.add_argument("--seconds", type=argument_types.positive_float, help="length to which videos are repeated")
    parser.add_argument("--workers", type=count, nargs="+", default=[1, 2], help="numbers of worker processes")
    parser.add_argument("--repeats", type=count, default=3, help="number of runs of each method")
    args = parser.parse_args()
    ways = [(way, workers) for way in (OURS, DECODING) for workers in {1, *args.workers}] + [(PLAIN, 1)]
    with tempfile.TemporaryDirectory() as name:
        size = {"frame_height": 240, "frame_width": 320}
        source = args.input_path or render_dataset(Path(name) / "synthetic", subjects=2, clips=1, **size).folder
        videos = [source / video.path for video in find_videos(source)]
        if args.seconds:
            made = (Path(name) / f"{number}.mp4" for number in range(10))
            videos = [repeat(video, args.seconds, path) for video, path in zip(videos[:: len(videos) // 10], made)]
        folder = make_set(videos, args.clips, Path(name) / "set")
        found = in_turn({way: partial(measure, *way, folder) for way in ways}, args.repeats)
    medians = {way: [statistics.median(column) for column in zip(*runs)] for way, runs in found.items()}
    rows = []
    for (way, workers), (rate, cpu, memory) in medians.items():
        ratios = [f"{rate / medians[other][0]:.2f}" for other in ((PLAIN, 1), (DECODING, workers))]
        rows.append([way, str(workers), f"{rate:.1f}", *ratios, f"{cpu:.1f}", f"{memory:.0f}"])
    header = ["method", "workers", "clips/s", "x plain", "x decoding only", "CPU ms per clip", "peak MB"]
    print(markdown_table(header, rows))


if __name__ == "__main__":
    cli.run(main)
