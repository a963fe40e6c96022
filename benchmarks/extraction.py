"""Speed and memory of reading videos into arrays, against the plain way and against decoding alone.

    python benchmarks/extraction.py --input_path VIDEOS --output_path bench/extraction
    python benchmarks/extraction.py --short                       made-up videos, a minute

The plain way seeks to each wanted frame and keeps all clips in RAM, on one process. Decoding alone grabs the frames up
to the last wanted one and looks at none. Every way runs in a process of its own, in turn, --repeats times; the table
shows medians. Our time includes starting the workers, that of decoding alone does not; CPU time always does.
A set of more clips than VIDEOS holds reads them several times. Writes results.jsonl (a line a run), table.txt and
curve.png; fails if a row is missing or a pixel differs.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.extraction.discovery import find_videos
from utils.extraction.extract import extract
from utils.extraction.video import sampled_indices, use_one_thread
from utils.runtime.devices import memory_of_tree

PLAIN, DECODING = "a seek per frame, in RAM", "decoding alone"


def plain_way(folder: Path, size: dict) -> np.ndarray:
    """Every clip by a seek per wanted frame, gathered in a list."""
    import cv2

    clips = []
    for video in find_videos(folder):
        capture = cv2.VideoCapture(str(folder / video.path))
        frames = []
        for index in sampled_indices(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), size["sequence_length"]):
            capture.set(cv2.CAP_PROP_POS_FRAMES, int(index))
            frame = cv2.resize(capture.read()[1], (size["frame_width"], size["frame_height"]))
            frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        capture.release()
        clips.append(np.array(frames))
    return np.array(clips)


def decode_alone(job: tuple[str, int]) -> None:
    """Grabs the frames of a video up to the last that a clip of that length needs."""
    import cv2

    path, sequence_length = job
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    for _ in range(sampled_indices(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), sequence_length)[-1] + 1):
        capture.grab()
    capture.release()


def sequential_clip(path: Path, size: dict) -> np.ndarray:
    """The clip of a plain decode of every frame, for comparing pixels."""
    import cv2

    capture, frames = cv2.VideoCapture(str(path)), []
    wanted = set(sampled_indices(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), size["sequence_length"]).tolist())
    for position in range(max(wanted) + 1):
        frame = capture.read()[1]
        if position in wanted:
            frame = cv2.resize(frame, (size["frame_width"], size["frame_height"]))
            frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    return np.array(frames)


def where_time_goes(folder: Path, output: Path, size: dict) -> dict[str, float]:
    """CPU milliseconds a clip that each step of reading takes, in one process without the engine around it."""
    import cv2

    use_one_thread()
    spent = dict.fromkeys(("open", "decode", "colour conversion", "resize", "swap to RGB", "write"), 0.0)
    last = time.process_time()

    def charge(step: str) -> None:
        nonlocal last
        now = time.process_time()
        spent[step] += now - last
        last = now

    clip = np.empty((size["sequence_length"], size["frame_height"], size["frame_width"], 3), np.uint8)
    videos = find_videos(folder)
    with open(output, "wb", buffering=0) as file:
        last = time.process_time()
        for video in videos:
            capture = cv2.VideoCapture(str(folder / video.path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
            wanted = sampled_indices(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), size["sequence_length"]).tolist()
            charge("open")
            position = 0
            for row, index in enumerate(wanted):
                while position <= index:
                    capture.grab()
                    position += 1
                charge("decode")
                frame = capture.retrieve()[1]
                charge("colour conversion")
                frame = cv2.resize(frame, (size["frame_width"], size["frame_height"]))
                charge("resize")
                cv2.cvtColor(frame, cv2.COLOR_BGR2RGB, dst=clip[row])
                charge("swap to RGB")
            file.write(clip.data)
            charge("write")
    output.unlink()
    return {step: round(1000 * seconds / len(videos), 2) for step, seconds in spent.items()}


def run_one(way: str, workers: int, folder: Path, output: Path, size: dict) -> None:
    """One way over one folder, timed from the moment that its modules are there; prints clips and seconds."""
    seconds = None
    if way == DECODING:
        jobs = [(str(folder / video.path), size["sequence_length"]) for video in find_videos(folder)]
        with multiprocessing.get_context("spawn").Pool(workers, initializer=use_one_thread) as pool:
            pool.map(decode_alone, jobs[: 2 * workers], chunksize=1)  # the processes are up, their libraries loaded
            start = time.monotonic()
            pool.map(decode_alone, jobs, chunksize=2)
            clips, seconds = len(jobs), time.monotonic() - start
            pool.close()
            pool.join()
    elif way == PLAIN:
        start = time.monotonic()
        clips = len(plain_way(folder, size))
    else:
        start = time.monotonic()
        clips = extract(folder, output, workers=workers, **size).clips
    seconds = seconds or time.monotonic() - start
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({"clips": clips, "seconds": seconds, "cpu": sum(u.ru_utime + u.ru_stime for u in used)}))


def measured(way: str, workers: int, folder: Path, output: Path, size: dict) -> dict:
    """A run of one way in a process of its own, and the most memory that its tree was seen to take."""
    order = json.dumps({"way": way, "workers": workers, "folder": str(folder), "output": str(output), "size": size})
    peak = 0.0
    with subprocess.Popen([sys.executable, __file__, "--run", order], stdout=subprocess.PIPE, text=True) as process:
        while True:
            peak = max(peak, memory_of_tree(process.pid))
            try:
                process.wait(0.3)
                break
            except subprocess.TimeoutExpired:
                continue
        printed = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"{way} with {workers} workers failed with exit code {process.returncode}")
    result = json.loads(printed)
    return {
        "way": way,
        "workers": workers,
        "clips": result["clips"],
        "clips_per_second": result["clips"] / result["seconds"],
        "cpu_ms_per_clip": 1000 * result["cpu"] / result["clips"],
        "peak_memory_mb": peak,
        "load": os.getloadavg()[0],
    }


def repeated_set(videos: list[Path], clips: int, folder: Path) -> Path:
    """A folder of `clips` videos in ten classes, links to those given, over and over."""
    for number, path in zip(range(clips), itertools.cycle(videos)):
        link = folder / f"class{number % 10}" / f"{number:05d}{path.suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
    return folder


def made_up_videos(folder: Path) -> list[Path]:
    """Twelve videos of 320x240 with moving noise, which decode like real ones of that size."""
    import cv2

    random = np.random.default_rng(0)
    folder.mkdir()
    paths = [folder / f"{number}.avi" for number in range(12)]
    for path in paths:
        picture = cv2.GaussianBlur(random.integers(0, 256, (300, 400, 3), np.uint8), (0, 0), 3)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FMP4"), 25, (320, 240))
        for k in range(90):
            writer.write(np.ascontiguousarray(picture[k % 60 : k % 60 + 240, k % 80 : k % 80 + 320]))
        writer.release()
    return paths


def compared_pixels(folder: Path, frames: Path, size: dict) -> dict:
    """How many rows equal a plain sequential decode, byte for byte."""
    rows = np.load(frames, mmap_mode="r")
    videos = find_videos(folder)
    equal = sum(np.array_equal(row, sequential_clip(folder / video.path, size)) for row, video in zip(rows, videos))
    return {"way": "pixels", "equal_to_sequential_decode": int(equal), "of": len(videos)}


def table_of(results: list[dict]) -> str:
    """Medians over the repeats, a line a way, number of workers and number of clips."""
    first = f"{'way':26}{'workers':>8}{'clips':>7}{'clips/s':>9}{'x plain':>9}{'of decoding':>13}"
    lines = [f"{first}{'CPU ms/clip':>13}{'peak MB':>9}"]
    for clips in sorted({result["clips"] for result in results}):
        own = [result for result in results if result["clips"] == clips]
        for way, workers in dict.fromkeys((result["way"], result["workers"]) for result in own):
            rate = median_of(own, way, workers, "clips_per_second")
            plain = rate / median_of(own, PLAIN, 1, "clips_per_second")
            decoding = rate / median_of(own, DECODING, workers, "clips_per_second")
            cpu, memory = (median_of(own, way, workers, field) for field in ("cpu_ms_per_clip", "peak_memory_mb"))
            lines.append(f"{way:26}{workers:8}{clips:7}{rate:9.1f}{plain:9.2f}{decoding:13.2f}{cpu:13.1f}{memory:9.0f}")
    return "\n".join(lines)


def median_of(results: list[dict], way: str, workers: int, field: str) -> float:
    """The median of a field over the repeats; NaN if this way was not run."""
    values = [result[field] for result in results if (result["way"], result["workers"]) == (way, workers)]
    return statistics.median(values) if values else float("nan")


def draw(results: list[dict], path: Path) -> None:
    """Speed and memory over the number of clips, a line a way."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    speed, memory = figure.subplots(1, 2)
    for key in sorted({(result["way"], result["workers"]) for result in results}):
        own = [result for result in results if (result["way"], result["workers"]) == key]
        counts = sorted({result["clips"] for result in own})
        label = f"{key[0]}, {key[1]} process{'es' * (key[1] > 1)}"
        for axes, field in ((speed, "clips_per_second"), (memory, "peak_memory_mb")):
            medians = [median_of([r for r in own if r["clips"] == count], *key, field) for count in counts]
            axes.plot(counts, medians, marker="o", label=label)
    speed.set(xlabel="clips", ylabel="clips/s", ylim=(0, None), title="Speed")
    memory.set(xlabel="clips", ylabel="MB, all processes", yscale="log", title="Peak memory")
    memory.axhline(400, color="grey", linestyle=":", linewidth=1)
    figure.legend(*speed.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    figure.savefig(path, dpi=130)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--input_path", type=Path, help="class folders of videos; made up if not given")
    parser.add_argument("--output_path", type=Path, default=Path("bench/extraction"))
    parser.add_argument("--clips", type=int, nargs="+", default=[100, 200, 500, 1000, 2000])
    parser.add_argument("--plain_up_to", type=int, default=500, help="clips above which the plain way is left out")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="60 clips, once")
    parser.add_argument("--run", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run is not None:
        order = options.run
        run_one(order["way"], order["workers"], Path(order["folder"]), Path(order["output"]), order["size"])
        return 0
    if options.short:
        options.clips, options.repeats = [60], 1
    size = {"sequence_length": 16, "frame_height": 224, "frame_width": 224}
    options.output_path.mkdir(parents=True, exist_ok=True)
    results, pixels = [], []
    with tempfile.TemporaryDirectory() as name, open(options.output_path / "results.jsonl", "w") as lines:
        scratch = Path(name)
        if options.input_path is None:
            videos = made_up_videos(scratch / "made_up")
        else:
            videos = [options.input_path / video.path for video in find_videos(options.input_path)]

        def note(result: dict) -> None:
            lines.write(json.dumps(result) + "\n")
            lines.flush()
            print(json.dumps(result), flush=True)

        expected = 0
        for clips in options.clips:
            folder = repeated_set(videos, clips, scratch / f"set{clips}")
            ways = [("one forward pass", workers) for workers in options.workers]
            ways += [(DECODING, workers) for workers in options.workers]
            ways += [(PLAIN, 1)] if clips <= options.plain_up_to else []
            expected += options.repeats * len(ways)
            for repeat, (way, workers) in itertools.product(range(options.repeats), ways):
                output = scratch / f"out{clips}_{workers}_{repeat}"
                results.append(measured(way, workers, folder, output, size))
                note(results[-1])
                if way == "one forward pass":
                    if repeat == 0 and clips == options.clips[0]:
                        pixels.append(compared_pixels(folder, output / "frames.npy", size) | {"workers": workers})
                        note(pixels[-1])
                    (output / "frames.npy").unlink()
        spent = where_time_goes(scratch / f"set{options.clips[0]}", scratch / "written", size)
        note({"way": "CPU ms/clip by step", **spent})
    table = table_of(results) + "\nCPU ms/clip by step, one process: "
    table += ", ".join(f"{step} {milliseconds}" for step, milliseconds in spent.items())
    (options.output_path / "table.txt").write_text(table + "\n")
    draw(results, options.output_path / "curve.png")
    print(table)
    complete = len(results) == expected and all(result["clips"] in options.clips for result in results)
    if not complete or any(result["equal_to_sequential_decode"] != result["of"] for result in pixels):
        print("a row is missing or a pixel differs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
