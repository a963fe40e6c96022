"""Compare the speed of the input pipeline with that of training the student, both on one core.

    python benchmarks/input.py                              clips of noise, 3 minutes on an idle machine
    python benchmarks/input.py --sparse_gigabytes 20        also memory, with a file of that size

The pipeline is that of `fit`: rows of frames.npy in random order, resized to 112x112, as tf.data batches. The process
is bound to one core. Reading and training the full-width student take turns, --repeats times; the table shows medians.
"clips/s per core" is by CPU time, which other programs do not change; "clips/s" is by the clock and includes waiting
for the disk. A cold file is removed from the system's cache first. Memory is measured in separate processes, which
read --memory_clips clips of a small file and of a sparse one.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import in_turn, printed_json
from utils.base.devices import jit_compile, start_tensorflow
from utils.base.options import ViewOptions
from utils.data.clips import ClipDataset, open_clips
from utils.evaluation.tables import markdown_table

INPUT_SHAPE = (16, 112, 112, 3)
BATCH_SIZE = 8
SIDES = (112, 224)  # of stored frames
AIM = 10  # times the training rate
TRAINING = "training of the student"


def make_arrays(folder: Path, clips: int, side: int, *, sparse: bool = False) -> ClipDataset:
    """Write arrays of noise to `folder`; a sparse file holds zeros and takes no space on the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = (clips, INPUT_SHAPE[0], side, side, 3)
    frames, rng = np.lib.format.open_memmap(folder / "frames.npy", "w+", np.uint8, shape), np.random.default_rng(0)
    if not sparse:
        for clip in frames:
            clip[:] = rng.integers(0, 256, shape[1:], np.uint8)
    frames.flush()  # pages that are not on the disk stay in the cache
    np.save(folder / "labels.npy", np.arange(clips) % 2)
    return open_clips(folder / "frames.npy", folder / "labels.npy")


def read_clips(dataset: ClipDataset, clips: int, views: int) -> None:
    """Read `clips` clips from the pipeline, as training does."""
    from utils.data.batches import clip_reader, training_batches

    reader, targets = clip_reader(dataset, INPUT_SHAPE, ViewOptions(views=views)), {"labels": dataset.labels}
    batches = training_batches(reader, np.arange(len(dataset)), targets, batch_size=BATCH_SIZE, seed=0)
    for _ in batches.take(clips // BATCH_SIZE).as_numpy_iterator():
        pass


def training_of_student(steps: int) -> Callable[[], None]:
    """Return a function that trains the full-width student for `steps` steps on one batch in memory."""
    import keras

    from models.student import build_student

    keras.utils.set_random_seed(0)
    student = build_student(101, input_shape=INPUT_SHAPE)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    student.compile(keras.optimizers.Adam(1e-4), loss, jit_compile=jit_compile())
    clips = np.random.default_rng(0).integers(0, 256, (BATCH_SIZE, *INPUT_SHAPE), np.uint8)
    student.train_on_batch(clips, np.arange(BATCH_SIZE))  # builds the graph

    def run() -> None:
        for _ in range(steps):
            student.train_on_batch(clips, np.arange(BATCH_SIZE))

    return run


def rates(run: Callable[[], None], clips: int, *, cold: ClipDataset | None = None) -> tuple[float, float]:
    """Return clips per second of CPU time and of the clock; the frames of `cold` are not in the cache."""
    if cold is not None:
        with open(cold.frames.path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    clock, processor = time.perf_counter(), time.process_time()
    run()
    return clips / (time.process_time() - processor), clips / (time.perf_counter() - clock)


def measure_speed(folder: Path, args: argparse.Namespace) -> dict[str, list[float]]:
    """Return the median rates of each way, training last."""
    ways = {}
    for side in SIDES:
        dataset = make_arrays(folder / str(side), args.clips, side)
        for views, name in ((0, "view 0"), (8, "views 0 to 8")):
            run = partial(read_clips, dataset, args.clips, views)
            for state, cold in (("warm", None), ("cold", dataset)):
                ways[f"{side}x{side}, {name}, {state}"] = partial(rates, run, args.clips, cold=cold)
    ways[TRAINING] = partial(rates, training_of_student(args.steps), args.steps * BATCH_SIZE)
    in_turn(ways, 1)  # fills the cache and builds the graphs
    return {name: [statistics.median(c) for c in zip(*found)] for name, found in in_turn(ways, args.repeats).items()}


def peak_memory(folder: Path, clips: int) -> None:
    """Print the peak resident megabytes of this process after 16 clips and after `clips` more."""
    start_tensorflow()
    dataset = open_clips(folder / "frames.npy", folder / "labels.npy")
    found = {"gigabytes": dataset.frames.path.stat().st_size / 1e9}
    for name, count in (("before", 2 * BATCH_SIZE), ("after", clips)):
        read_clips(dataset, count, 8)
        found[name] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


def print_memory(folder: Path, args: argparse.Namespace) -> None:
    """Print a table of the peak memory with a small file and with a sparse one of the requested size."""
    rows = []
    for clips in (200, int(args.sparse_gigabytes * 1e9 / np.prod((INPUT_SHAPE[0], SIDES[0], SIDES[0], 3)))):
        make_arrays(folder / str(clips), clips, SIDES[0], sparse=True)
        row = printed_json(__file__, "--memory_of", folder / str(clips), "--memory_clips", args.memory_clips)
        rows.append([f"{value:.1f}" for value in row.values()])
    header = ["frames.npy (GB)", "peak MB after 16 clips", f"after {args.memory_clips} more"]
    print(markdown_table(header, rows), "\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200, help="clips per file and pass")
    parser.add_argument("--steps", type=int, default=4, help="training steps per repeat")
    parser.add_argument("--repeats", type=int, default=3, help="number of rounds")
    parser.add_argument("--sparse_gigabytes", type=float, help="also measure memory, with a sparse file of this size")
    parser.add_argument("--memory_clips", type=int, default=2000, help="clips that are read to measure memory")
    parser.add_argument("--folder", type=Path, help="folder for temporary files, by default that of the system")
    parser.add_argument("--memory_of", type=Path, help=argparse.SUPPRESS)  # for the processes of `print_memory`
    args = parser.parse_args()
    if args.memory_of is not None:
        peak_memory(args.memory_of, args.memory_clips)
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        if args.sparse_gigabytes is not None:
            print_memory(Path(folder), args)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before TensorFlow counts the cores
        start_tensorflow()
        found = measure_speed(Path(folder), args)
    training = found[TRAINING][0]
    rows = [[way, f"{core:.1f}", f"{core / training:.1f}", f"{clock:.1f}"] for way, (core, clock) in found.items()]
    print(markdown_table(["way", "clips/s per core", "x training", "clips/s"], rows))
    slow = [way for way, (core, _) in found.items() if way != TRAINING and core < AIM * training]
    print(f"below {AIM} x training: {'; '.join(slow) or 'none'}")


if __name__ == "__main__":
    main()
