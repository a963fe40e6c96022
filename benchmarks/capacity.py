"""Predict time and disk space of the stages for a number of clips, and check the prediction by runs.

    python benchmarks/capacity.py                                            table of large data sets
    python benchmarks/capacity.py --input_path DIR                           check at several numbers of videos

A stage takes its start-up time plus its work divided by its rate; docs/scale.md states the work. The second form reads
real videos with small networks (C3D of width 0.25 and a student of width 0.5, 48x48 pixels), fits both numbers to the
two smallest of --sizes, and predicts the others. Videos are repeated if there are fewer. Weights are random, since they
do not affect speed. The last line is JSON.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.base.devices import start_tensorflow

SET_SIZES = {"UCF101": 13_320, "Kinetics-400": 306_245, "10 million clips": 10_000_000}
SET_CLASSES = {"UCF101": 101, "Kinetics-400": 400, "10 million clips": 700}
SET_EPOCHS = {"UCF101": 100, "Kinetics-400": 30, "10 million clips": 5}
# Pixels decoded per video relative to UCF101, 186 frames of 320x240: Kinetics has 300 frames of 340x256.
SET_PIXELS = {"UCF101": 1.0, "Kinetics-400": 1.8, "10 million clips": 1.8}
HOURS_OF = {  # whose hours `Sizes.work` divided by a rate are
    "extraction": "core hours",
    "hash of the frames": "hours",
    "teacher logits": "device hours",
    "student": "device hours",
    "hashes of the leak report": "core hours",
    "pairs of the leak report": "core hours",
}
LENGTH, SIDE, VIEWS = 16, 48, 2  # of the runs that check the model
EPOCHS = 3


@dataclass(frozen=True)
class Sizes:
    """What the cost of a run depends on.

    clips: all clips; train, validation, test: clips of the sets. views: augmented views with teacher logits, in
    addition to the original. epochs: of the student. pixels: pixels decoded per video, relative to those of the videos
    whose rate is known.
    """

    clips: int
    train: int
    validation: int
    test: int
    views: int
    epochs: int
    classes: int
    clip_bytes: int
    pixels: float = 1.0

    @property
    def work(self) -> dict[str, float]:
        """The units of each stage: videos, bytes, clips or pairs."""
        seen = self.train + self.validation
        return {
            "extraction": self.clips * self.pixels,
            "hash of the frames": self.clips * self.clip_bytes,
            "teacher logits": self.train * (self.views + 1) + self.validation,
            "student": self.epochs * (self.train + self.validation / 3),  # a forward pass is a third of a step
            "hashes of the leak report": self.clips,
            "pairs of the leak report": self.test * seen,
        }

    @property
    def stored(self) -> dict[str, int]:
        """The bytes of each large file."""
        return {
            "frames.npy": self.clips * self.clip_bytes,
            "teacher logits": 4 * self.clips * (self.views + 1) * self.classes,
        }


@dataclass(frozen=True)
class Speed:
    """Start-up time in seconds, and units of `Sizes.work` per second."""

    rate: float
    start: float = 0.0

    def seconds(self, work: float) -> float:
        return self.start + work / self.rate


def seconds_of(sizes: Sizes, speeds: Mapping[str, Speed]) -> dict[str, float]:
    """Return the predicted seconds of each stage in `speeds`."""
    return {stage: speeds[stage].seconds(work) for stage, work in sizes.work.items() if stage in speeds}


def speeds_of(measured: Sequence[tuple[Sizes, Mapping[str, float]]]) -> dict[str, Speed]:
    """Return the line through two measurements for each stage; without start-up time if the line is not plausible."""
    (small, before), (large, after) = measured
    speeds = {}
    for stage, seconds in after.items():
        work = small.work[stage], large.work[stage]
        start = before[stage] - work[0] * (seconds - before[stage]) / (work[1] - work[0])
        start = start if 0 < start < before[stage] else 0.0  # noise of short stages
        speeds[stage] = Speed(work[1] / (seconds - start), start)
    return speeds


def link_videos(videos: Sequence[str], source: Path, target: Path, count: int) -> None:
    """Make class folders with `count` links to the videos, evenly chosen; each copy of a video has another name."""
    shutil.rmtree(target, ignore_errors=True)
    for number in range(count):
        video = videos[number * len(videos) // count]
        link = target / Path(video).with_stem(f"{Path(video).stem}_{number}")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((source / video).resolve())


def timed(seconds: dict[str, float], stage: str, call: Callable):
    """Return `call()` and add its duration to `seconds`."""
    start = time.perf_counter()
    result = call()
    seconds[stage] = time.perf_counter() - start
    return result


def measure(videos: Path, folder: Path) -> tuple[Sizes, dict[str, float]]:
    """Run extraction, teacher logits, a student and the leak report; return the sizes and the seconds by stage."""
    import numpy as np

    from models.c3d import build_c3d
    from utils.base.files import file_fingerprint
    from utils.base.options import (
        DataOptions,
        DistillationOptions,
        NetworkOptions,
        OutputOptions,
        TrainingOptions,
        ViewOptions,
    )
    from utils.data.clip_hashes import compute_hashes
    from utils.data.loading import load
    from utils.data.near_duplicates import find_near_duplicates
    from utils.networks.recognizer import save_model
    from utils.training.cache import cached_logits
    from utils.training.question import Question
    from utils.training.stages import train_student
    from utils.training.teacher import Teacher
    from utils.video.extract import extract

    shutil.rmtree(folder, ignore_errors=True)
    arrays, seconds = folder / "arrays", {}
    summary = extract(
        videos, arrays, sequence_length=LENGTH, frame_height=112, frame_width=112, workers=None, follow_links=True
    )
    seconds["extraction"] = summary.seconds
    data = DataOptions(data=arrays / "frames.npy", annotations=arrays / "labels.npy", split="random")
    network, views = NetworkOptions(width=0.5, input_size=(SIDE, SIDE)), ViewOptions(views=VIEWS)
    (arrays / "frames.npy.hash.json").unlink(missing_ok=True)
    loaded = timed(seconds, "hash of the frames", lambda: load(data, network.input_shape))
    path = folder / "teacher.keras"
    save_model(build_c3d(len(loaded.dataset.class_names), input_shape=network.input_shape, width=0.25), path)
    teacher = Teacher(path, file_fingerprint(path))
    timed(seconds, "teacher logits", lambda: cached_logits(teacher, Question(loaded, views)))
    trained = train_student(
        data=data,
        training=TrainingOptions(epochs=EPOCHS, keep_going=True),
        network=network,
        distillation=DistillationOptions(source=(path,)),
        output=OutputOptions(output_path=folder / "student.keras", log_path=folder / "student"),
        views=views,
    )
    seconds["student"] = float(trained.history["seconds"].sum())
    hashes = timed(seconds, "hashes of the leak report", lambda: compute_hashes(loaded.dataset))
    split = loaded.split
    seen = np.concatenate([split.train, split.validation])
    timed(seconds, "pairs of the leak report", lambda: find_near_duplicates(hashes, split.test, seen))
    counts = (len(rows) for rows in (loaded.dataset, split.train, split.validation, split.test))
    classes = len(loaded.dataset.class_names)
    sizes = Sizes(*counts, views=VIEWS, epochs=EPOCHS, classes=classes, clip_bytes=LENGTH * 112 * 112 * 3)
    return sizes, seconds


def check(source: Path, folder: Path, wanted: Sequence[int]) -> list[dict]:
    """Measure each number of videos, and predict all but the two smallest from those two."""
    from utils.video.discovery import find_videos

    found = [video.path for video in find_videos(source) if video.problem is None]
    measured, rows = [], []
    for count in sorted(wanted):
        link_videos(found, source, folder / "videos", count)
        sizes, seconds = measure(folder / "videos", folder / "run")
        predicted = seconds_of(sizes, speeds_of(measured[:2])) if len(measured) > 1 else {}
        measured.append((sizes, seconds))
        rows += [
            {"clips": count, "stage": stage, "seconds": taken, "predicted": predicted.get(stage)}
            for stage, taken in seconds.items()
        ]
    return rows


def large_sets(speeds: Mapping[str, Speed], clip_bytes: int, views: int) -> list[dict]:
    """Return sizes, bytes and hours by stage of each large data set, with 72 % training and 24 % test clips."""
    rows = []
    for name, clips in SET_SIZES.items():
        train, validation = round(0.72 * clips), round(0.04 * clips)
        sizes = Sizes(
            clips,
            train,
            validation,
            clips - train - validation,
            views=views,
            epochs=SET_EPOCHS[name],
            classes=SET_CLASSES[name],
            clip_bytes=clip_bytes,
            pixels=SET_PIXELS[name],
        )
        hours = {stage: seconds / 3600 for stage, seconds in seconds_of(sizes, speeds).items()}
        rows.append({"set": name, **asdict(sizes), "bytes": sizes.stored, "hours": hours})
    return rows


def print_check(rows: Sequence[Mapping]) -> None:
    print("| clips | stage | measured (s) | predicted (s) | predicted / measured |\n|---:|---|---:|---:|---:|")
    for row in rows:
        predicted, found = row["predicted"], row["seconds"]
        shown = f"{predicted:.1f} | {predicted / found:.2f}" if predicted is not None else "- | -"
        print(f"| {row['clips']} | {row['stage']} | {found:.1f} | {shown} |")


def print_large_sets(rows: Sequence[Mapping]) -> None:
    print("| | " + " | ".join(row["set"] for row in rows) + " |\n|---|" + "---:|" * len(rows))
    lines = {f"{name} (GB)": [row["bytes"][name] / 1e9 for row in rows] for name in rows[0]["bytes"]}
    lines["epochs"] = [row["epochs"] for row in rows]
    lines |= {f"{stage} ({HOURS_OF[stage]})": [row["hours"][stage] for row in rows] for stage in rows[0]["hours"]}
    for name, values in lines.items():
        shown = (f"{value:,.0f}" if value >= 100 else f"{value:.2g}" for value in values)
        print(f"| {name} | {' | '.join(shown)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input_path", type=Path, help="class folders of videos, to check the prediction")
    parser.add_argument("--output_path", type=Path, default=Path("bench/capacity"), help="folder for all output")
    parser.add_argument("--sizes", type=int, nargs="+", default=[250, 500, 1000, 2000], help="numbers of videos")
    parser.add_argument("--decoding", type=float, default=48.0, help="UCF101 videos read per second and core")
    parser.add_argument("--teacher", type=float, default=5.6, help="clips per second of the teacher")
    parser.add_argument("--student", type=float, default=17.8, help="training clips per second of the student")
    parser.add_argument("--hashing", type=float, default=1e9, help="bytes per second")
    parser.add_argument("--leak_hashes", type=float, default=800.0, help="clips per second")
    parser.add_argument("--pairs", type=float, default=1e5, help="pairs of clips per second")
    parser.add_argument("--clip_bytes", type=int, default=16 * 112 * 112 * 3, help="bytes of a stored clip")
    parser.add_argument("--views", type=int, default=8, help="augmented views with teacher logits")
    args = parser.parse_args()
    if args.input_path is None:
        given = (args.decoding, args.hashing, args.teacher, args.student, args.leak_hashes, args.pairs)
        stages = Sizes(*[1] * 8).work
        rows = large_sets({stage: Speed(rate) for stage, rate in zip(stages, given)}, args.clip_bytes, args.views)
        print_large_sets(rows)
    else:
        start_tensorflow()
        args.output_path.mkdir(parents=True, exist_ok=True)
        rows = check(args.input_path, args.output_path, args.sizes)
        print_check(rows)
        print(f"load {os.getloadavg()[0]:.1f}")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
