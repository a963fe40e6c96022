"""Measure the overhead of a Dask cluster with one worker, and the efficiency of two, on this machine.

    python benchmarks/scaling.py --input_path VIDEOS --output_path bench/scaling
    python benchmarks/scaling.py --short                          synthetic videos, a few minutes

Two stages are measured: the extraction of VIDEOS, repeated as needed up to --clips, and the logits of a C3D teacher for
--views views of noise. Each runs on one worker process without Dask, on a started cluster of one worker, and on one of
two workers; every worker has one thread. The ways take turns, --repeats times, and the table shows medians. "start" is
the time to the first result, in which workers import their packages. Rates count the results after the first tenth, so
that they do not depend on the start. Overhead compares the times per result of one worker with and without Dask;
efficiency is the rate of two workers divided by twice that of one. Scheduler and workers share the cores of the machine
with the process that writes. Writes results.jsonl (a line per run, with the load before it) and table.txt. Exits with
code 1 if arrays or logits differ.
"""

import argparse
import contextlib
import itertools
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import printed_json, write_noise_clips
from benchmarks.dask_cluster import dask_cluster
from benchmarks.extraction import LENGTH, SIDE, make_set
from utils.base.files import file_fingerprint
from utils.evaluation.tables import markdown_table
from utils.video.discovery import find_videos
from utils.video.synthetic import render_dataset

EXTRACTION, LOGITS = "extraction", "teacher logits"
WAYS = {"one machine": 0, "Dask, 1 worker": 1, "Dask, 2 workers": 2}  # workers of the cluster
TEACHER_SHAPE, CLIPS_WITH_LOGITS = (16, 56, 56, 3), 250


def run_extraction(folder: Path, output: Path, scheduler: str | None, times: list[float]) -> Path:
    """Extract a folder of links to videos; return the array."""
    from utils.video import extract

    extract.progress = noting(times)
    size = {"sequence_length": LENGTH, "frame_height": SIDE, "frame_width": SIDE}
    workers = {} if scheduler else {"workers": 1}
    extract.extract(folder, output, follow_links=True, scheduler=scheduler, **workers, **size)
    return output / "frames.npy"


def run_logits(folder: Path, output: Path, scheduler: str | None, times: list[float]) -> Path:
    """Compute the logits of the teacher in `folder` for the clips and the number of views there."""
    from utils.base.devices import start_tensorflow

    start_tensorflow()
    from utils.base.options import DataOptions, ViewOptions
    from utils.data.loading import load
    from utils.training import cache
    from utils.training.question import Question
    from utils.training.teacher import Teacher

    cache.progress = noting(times)
    data = load(DataOptions(folder / "frames.npy", folder / "labels.npy"), TEACHER_SHAPE)
    teacher = Teacher(folder / "teacher.keras", file_fingerprint(folder / "teacher.keras"))
    views = ViewOptions(views=int((folder / "views").read_text()))
    output.mkdir()
    times.append(time.monotonic())  # importing TensorFlow and loading the clips is not compared
    cache.cached_logits(teacher, Question(data, views), cache=output / "logits.npy", scheduler=scheduler)
    return output / "logits.npy"


STAGES = {EXTRACTION: run_extraction, LOGITS: run_logits}


def noting(times: list[float]) -> Callable:
    """Return a stand-in for `progress` that notes the time of each result."""

    @contextlib.contextmanager
    def progress(*_, **__) -> Iterator[Callable[[], None]]:
        yield lambda: times.append(time.monotonic())

    return progress


def run_one(stage: str, folder: Path, output: Path, scheduler: str | None) -> None:
    """Run a stage once; print its times and the digest of its result as JSON."""
    times = [time.monotonic()]
    result = STAGES[stage](folder, output, scheduler, times)
    end = time.monotonic()
    if stage == LOGITS:
        del times[0]
    begin, *results = times
    skipped = max(1, len(results) // 10)
    found = {"seconds": end - begin, "start": results[0] - begin}
    found["rate"] = (len(results) - skipped) / (results[-1] - results[skipped - 1])
    print(json.dumps(found | {"results": len(results), "digest": file_fingerprint(result)}))


def measure(stage: str, way: str, folder: Path, scratch: Path) -> dict:
    """Run a stage in a separate process, with a cluster that has started."""
    output = scratch / "output"
    shutil.rmtree(output, ignore_errors=True)
    load = os.getloadavg()[0]
    with contextlib.ExitStack() as stack:
        scheduler = None
        if workers := WAYS[way]:
            cluster = stack.enter_context(dask_cluster(scratch / "dask", workers=workers))
            cluster.wait_for_workers(workers)
            scheduler = cluster.address
        found = printed_json(__file__, "--run", json.dumps([stage, str(folder), str(output), scheduler]))
    shutil.rmtree(scratch / "dask", ignore_errors=True)
    return {"stage": stage, "way": way, **found, "load": load}


def write_teacher(folder: Path, *, width: float, views: int) -> None:
    """Write noise clips, a C3D that has not been trained, and the number of views."""
    write_noise_clips(folder, classes=2, clips=CLIPS_WITH_LOGITS // 2, size=TEACHER_SHAPE[1:3])
    (folder / "views").write_text(str(views))
    from utils.base.devices import start_tensorflow

    start_tensorflow()
    from models.c3d import build_c3d
    from utils.networks.recognizer import save_model

    save_model(build_c3d(2, input_shape=TEACHER_SHAPE, width=width), folder / "teacher.keras")


def table(results: list[dict]) -> str:
    """Return the medians as a table, a row per stage and way."""
    runs = defaultdict(list)
    for result in results:
        runs[result["stage"], result["way"]].append(result)
    found = {
        key: {name: statistics.median(run[name] for run in own) for name in ("results", "seconds", "start", "rate")}
        for key, own in runs.items()
    }
    rows = []
    plain, one, two = WAYS
    for (stage, way), own in found.items():
        compared = "-"
        if way == one:
            paired = [a["rate"] / b["rate"] for a, b in zip(runs[stage, plain], runs[stage, one])]
            compared = f"overhead {100 * (statistics.median(paired) - 1):.1f} %"
        elif way == two:
            paired = [b["rate"] / a["rate"] / 2 for a, b in zip(runs[stage, one], runs[stage, two])]
            compared = f"efficiency {100 * statistics.median(paired):.0f} %"
        unit = "clips" if stage == EXTRACTION else "parts"
        row = [stage, way, f"{own['results']:.0f} {unit}", f"{own['seconds']:.1f}", f"{own['start']:.1f}"]
        rows.append([*row, f"{own['rate']:.2f} {unit}/s", compared])
    return markdown_table(["stage", "way", "size", "seconds", "start (s)", "rate after the start", "compared"], rows)


def main() -> int | str:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input_path", type=Path, help="folder of class folders of videos, by default synthetic ones")
    parser.add_argument("--output_path", type=Path, default=Path("bench/scaling"), help="output folder")
    parser.add_argument("--clips", type=int, default=1000, help="videos of an extraction")
    parser.add_argument("--views", type=int, default=19, help="views of 200 clips for which logits are computed")
    parser.add_argument("--width", type=float, default=0.25, help="width of the teacher")
    parser.add_argument("--repeats", type=int, default=3, help="number of rounds")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=[*STAGES], help="what to measure")
    parser.add_argument("--short", action="store_true", help="100 clips, 3 views, once")
    parser.add_argument("--run", type=json.loads, help=argparse.SUPPRESS)  # for the processes of `measure`
    args = parser.parse_args()
    if args.run is not None:
        stage, folder, output, scheduler = args.run
        run_one(stage, Path(folder), Path(output), scheduler)
        return 0
    if args.short:
        args.clips, args.views, args.repeats = 100, 3, 1
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}  # one core per worker
    args.output_path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, open(args.output_path / "results.jsonl", "w") as lines:
        scratch, results, digests = Path(name), [], defaultdict(set)
        folders = {EXTRACTION: scratch / "videos", LOGITS: scratch / "clips"}
        if EXTRACTION in args.stages:
            size = {"frame_height": 240, "frame_width": 320}
            source = args.input_path or render_dataset(scratch / "synthetic", subjects=2, clips=1, **size).folder
            make_set([source / video.path for video in find_videos(source)], args.clips, folders[EXTRACTION])
        if LOGITS in args.stages:
            write_teacher(folders[LOGITS], width=args.width, views=args.views)
        for _, stage, way in itertools.product(range(args.repeats), args.stages, WAYS):
            results.append(measure(stage, way, folders[stage], scratch))
            digests[stage].add(results[-1].pop("digest"))
            for file in (lines, sys.stdout):
                print(json.dumps(results[-1]), file=file, flush=True)
    text = table(results)
    (args.output_path / "table.txt").write_text(text + "\n")
    print(text)
    return 0 if all(len(found) == 1 for found in digests.values()) else "arrays or logits differ"


if __name__ == "__main__":
    sys.exit(main())
