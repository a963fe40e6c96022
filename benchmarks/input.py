"""Whether input keeps up with training: the pipeline alone, on one core, against the student's training there.

    python benchmarks/input.py                              made-up clips, 3 minutes on a quiet machine
    python benchmarks/input.py --sparse_gigabytes 20        and memory, with a file of that size

The pipeline is what `fit` reads from: rows of frames.npy in a random order, resized to 112x112, as tf.data batches. The
process is kept on one core. Its ways and the training of the full-width student take turns, --repeats times; the table
shows medians. "clips/s a core" counts the core's own seconds (CPU time), which other programs do not change; "clips/s"
counts those of the clock, with waiting for the disk. A cold file has been put out of the system's cache before.
Memory: processes of their own read --memory_clips clips of a small file and of a sparse one.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.data.clips import ClipDataset, open_clips
from utils.evaluation.tables import markdown_table
from utils.runtime.devices import jit_compile, start_tensorflow
from utils.settings.options import ViewOptions

INPUT_SHAPE = (16, 112, 112, 3)
BATCH_SIZE = 8
CLASSES = 101
SIDES = (112, 224)  # of stored frames
AIM = 10  # times the training rate
TRAINING = "training of the student"


def make_arrays(folder: Path, clips: int, side: int, *, sparse: bool = False) -> ClipDataset:
    """Arrays of noise in `folder`; a sparse file holds zeros and takes no room on the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = (clips, INPUT_SHAPE[0], side, side, 3)
    rng = np.random.default_rng(0)
    with open(folder / "frames.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        if sparse:
            file.truncate(file.tell() + int(np.prod(shape)))
        else:
            for _ in range(clips):
                file.write(rng.integers(0, 256, shape[1:], np.uint8).tobytes())
        os.fsync(file.fileno())
    np.save(folder / "labels.npy", np.arange(clips) % 2)
    return open_clips(folder / "frames.npy", folder / "labels.npy")


def make_cold(dataset: ClipDataset) -> None:
    """Puts the file out of the system's cache."""
    with open(dataset.frames.path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_clips(dataset: ClipDataset, clips: int, views: int) -> Callable[[], None]:
    """A pass over `clips` clips of the pipeline, as training reads them."""
    from utils.data.batches import clip_reader, training_batches

    reader = clip_reader(dataset, INPUT_SHAPE, ViewOptions(views=views))
    targets = {"labels": dataset.labels}

    def run() -> None:
        batches = training_batches(reader, np.arange(len(dataset)), targets, batch_size=BATCH_SIZE, seed=0)
        for _ in batches.take(clips // BATCH_SIZE).as_numpy_iterator():
            pass

    return run


def train_student(steps: int) -> Callable[[], None]:
    """Steps of the full-width student on one batch in memory."""
    import keras

    from models.student import build_student

    keras.utils.set_random_seed(0)
    student = build_student(CLASSES, input_shape=INPUT_SHAPE)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    student.compile(keras.optimizers.Adam(1e-4), loss, jit_compile=jit_compile())
    clips = np.random.default_rng(0).integers(0, 256, (BATCH_SIZE, *INPUT_SHAPE), np.uint8)
    labels = np.arange(BATCH_SIZE)
    student.train_on_batch(clips, labels)  # builds the graph

    def run() -> None:
        for _ in range(steps):
            student.train_on_batch(clips, labels)

    return run


def timed(run: Callable[[], None], clips: int) -> tuple[float, float]:
    """Clips per second of the processor's time, and of the clock's."""
    clock, processor = time.perf_counter(), time.process_time()
    run()
    return clips / (time.process_time() - processor), clips / (time.perf_counter() - clock)


def measure_speed(folder: Path, args: argparse.Namespace) -> list[dict]:
    """One row a way: medians over the repeats."""
    ways = {}
    for side in SIDES:
        dataset = make_arrays(folder / str(side), args.clips, side)
        for views, name in ((0, "view 0"), (8, "views 0..8")):
            run = read_clips(dataset, args.clips, views)
            for state in ("warm", "cold"):
                ways[f"{side}x{side}, {name}, {state}"] = (run, args.clips, dataset if state == "cold" else None)
    ways[TRAINING] = (train_student(args.steps), args.steps * BATCH_SIZE, None)
    rates = {name: [] for name in ways}
    for repeat in range(args.repeats + 1):
        for name, (run, clips, to_cool) in ways.items():
            if to_cool is not None:
                make_cold(to_cool)
            rate = timed(run, clips)
            if repeat > 0:  # the first round warms the cache and the graphs
                rates[name].append(rate)
    medians = {name: [statistics.median(column) for column in zip(*found)] for name, found in rates.items()}
    return [{"way": name, "per_core": per_core, "clock": clock} for name, (per_core, clock) in medians.items()]


def peak_memory(folder: Path, clips: int) -> None:
    """Prints this process's peak resident megabytes before and after it reads `clips` of the clips in `folder`."""
    start_tensorflow()
    dataset = open_clips(folder / "frames.npy", folder / "labels.npy")
    read_clips(dataset, 2 * BATCH_SIZE, 8)()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    read_clips(dataset, clips, 8)()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"gigabytes": dataset.frames.path.stat().st_size / 1e9, "before": before, "after": after}))


def measure_memory(folder: Path, args: argparse.Namespace) -> list[dict]:
    """One row a file: a small one, and a sparse one of the size asked for."""
    side = SIDES[0]
    many = int(args.sparse_gigabytes * 1e9 / np.prod((INPUT_SHAPE[0], side, side, 3)))
    rows = []
    for name, clips in (("small", 200), ("sparse", many)):
        make_arrays(folder / name, clips, side, sparse=True)
        command = [sys.executable, __file__, "--memory_of", folder / name, "--memory_clips", args.memory_clips]
        printed = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True).stdout
        rows.append(json.loads(printed.splitlines()[-1]))
    return rows


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200, help="clips a file and pass")
    parser.add_argument("--steps", type=int, default=4, help="training steps a repeat")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sparse_gigabytes", type=float, help="measures memory with a sparse file of this size too")
    parser.add_argument("--memory_clips", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="where the files lie while it runs; by default the system's own")
    parser.add_argument("--memory_of", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    if args.memory_of is not None:
        peak_memory(args.memory_of, args.memory_clips)
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        if args.sparse_gigabytes is not None:
            rows = measure_memory(Path(folder), args)
            header = ["frames.npy (GB)", "peak MB after 16 clips", f"after {args.memory_clips} more"]
            print(markdown_table(header, [[f"{row[name]:.1f}" for name in row] for row in rows]), "\n", flush=True)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before TensorFlow counts the cores
        start_tensorflow()
        rows = measure_speed(Path(folder), args)
    training = rows[-1]["per_core"]
    cells = [
        [row["way"], f"{row['per_core']:.1f}", f"{row['per_core'] / training:.1f}", f"{row['clock']:.1f}"]
        for row in rows
    ]
    print(markdown_table(["way", "clips/s a core", "x training", "clips/s"], cells))
    slow = [row["way"] for row in rows[:-1] if row["per_core"] < AIM * training]
    print(f"below {AIM} x training: {'; '.join(slow) or 'none'}")


if __name__ == "__main__":
    main()
