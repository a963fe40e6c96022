"""Measure how many copies of test clips among training clips the leak report finds, and how many false alarms it gives.

    python benchmarks/leaks.py --videos Datasets/UCF11

Splits the videos with `--split group` and plants copies of half of the test videos among the training videos: encoded
again at three quarters of the size, flipped, trimmed by 20 to 40 %, made brighter or darker, and all of that at once.
Reads all videos with stage 1 and runs the leak report. A false alarm is a test clip that is reported as a copy of a
clip of another group.
"""

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.base import argument_types, cli
from utils.base.parser import ArgumentParser
from utils.data.clips import class_of


def encoded(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.stack([cv2.resize(frame, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA) for frame in frames])


def trimmed(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    lost = rng.uniform(0.2, 0.4)
    start = rng.uniform(0, lost)
    kept = frames[int(start * len(frames)) : len(frames) - int((lost - start) * len(frames))]
    return kept if len(kept) >= 16 else frames


def brightened(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    gain, offset = rng.choice([0.7, 1.35]), rng.choice([-15, 20])
    return np.clip(np.arange(256) * gain + offset, 0, 255).astype(np.uint8)[frames]


KINDS = {"smaller": encoded, "flipped": lambda frames, rng: frames[:, :, ::-1], "trimmed": trimmed}
KINDS["brightened"] = brightened
KINDS["all at once"] = lambda frames, rng: encoded(brightened(trimmed(frames[:, :, ::-1], rng), rng), rng)


def write_video(path: Path, frames: np.ndarray) -> None:
    """Write frames (n, H, W, 3), BGR, as H.264 of low quality (constant rate factor 30), which needs even sides."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = (side - side % 2 for side in frames.shape[1:3])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "30", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames[:, :height, :width]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "bgr24")))
        container.mux(stream.encode())


def plant(folder: Path, path: str, *, seed: list[int]) -> None:
    """Write a copy of each kind of the video `path` as CLASS/KIND/NAME.mp4; by its name it is in the same group."""
    capture, frames = cv2.VideoCapture(str(folder / path)), []
    while (read := capture.read())[0]:
        frames.append(read[1])
    for kind, change in KINDS.items():
        target = folder / class_of(path) / kind / f"{Path(path).stem}.mp4"
        write_video(target, change(np.stack(frames), np.random.default_rng(seed)))


def run(videos: Path, folder: Path, split_seed: int, group_pattern: str | None) -> dict:
    """Return the counts of one split: copies planted, copies found by kind, false alarms, seconds."""
    from utils.data.clips import open_clips
    from utils.data.leak_finder import LeakFinder
    from utils.data.leak_report import NEAR
    from utils.data.protocols import make_split
    from utils.video.extract import extract

    for action in sorted(entry for entry in videos.iterdir() if entry.is_dir()):
        (folder / "mixed" / action.name).mkdir(parents=True)
        (folder / "mixed" / action.name / "original").symlink_to(action.resolve())

    def arrays(name: str):
        size = {"sequence_length": 16, "frame_height": 112, "frame_width": 112}
        extract(folder / "mixed", folder / name, follow_links=True, **size)
        return open_clips(folder / name / "frames.npy", folder / name / "labels.npy")

    before = arrays("before")
    settings = {"class_names": before.class_names, "split_seed": split_seed, "group_pattern": group_pattern}
    split = make_split(before.labels, before.paths, protocol="group", **settings)
    order = np.random.default_rng(split_seed).permutation(split.test)
    planted = set(before.paths[order[: len(order) // 2]].tolist())
    for path in sorted(planted):
        plant(folder / "mixed", path, seed=[split_seed, *path.encode()])

    mixed = arrays("arrays")
    rows = {path: row for row, path in enumerate(mixed.paths.tolist())}
    test, validation = (np.sort([rows[path] for path in before.paths[part]]) for part in (split.test, split.validation))
    train = np.setdiff1d(np.arange(len(mixed)), np.concatenate([test, validation]))
    start = time.perf_counter()
    report = LeakFinder(mixed).find(test, train, validation, group_pattern=group_pattern)
    seconds = time.perf_counter() - start

    pairs, keys = report.pairs[NEAR], report.group_keys
    named = [(str(mixed.paths[one]), *str(mixed.paths[other]).split("/")[1:]) for one, other in pairs.tolist()]
    found = Counter(kind for path, kind, *rest in named if path in planted and Path(path).stem == Path(rest[-1]).stem)
    wrong = pairs[keys[pairs[:, 0]] != keys[pairs[:, 1]]]
    return {
        "planted": len(planted),
        "found": {kind: found[kind] for kind in KINDS},
        "test_clips": len(test),
        "flagged_wrongly": len(np.unique(wrong[:, 0])),
        "clips": len(mixed),
        "seconds": seconds,
    }


def row(title: str, results: list[dict]) -> list[str]:
    """Return the share of copies found by kind, and the false alarms, in some splits together."""
    names = ("planted", "flagged_wrongly", "test_clips")
    planted, flagged, clips = (sum(each[name] for each in results) for name in names)
    recall = [sum(each["found"][kind] for each in results) / planted for kind in KINDS]
    return [title, str(planted), *(f"{100 * share:.0f} %" for share in recall), f"{flagged} of {clips}"]


def main() -> None:
    parser = ArgumentParser(__doc__.splitlines()[0])
    seed, existing = argument_types.seed, argument_types.existing_folder
    parser.add_argument("--videos", type=existing, required=True, help="folder of class folders of videos")
    parser.add_argument("--split_seeds", type=seed, nargs="+", default=[0, 1, 2], help="seeds of the splits to test")
    parser.add_argument("--group_pattern", help="regular expression that captures the group of a clip in its path")
    args = parser.parse_args()
    from utils.evaluation.tables import markdown_table

    results = []
    for split_seed in args.split_seeds:
        with tempfile.TemporaryDirectory() as folder:
            results.append(run(args.videos, Path(folder), split_seed, args.group_pattern))
    rows = [row(str(split_seed), [each]) for split_seed, each in zip(args.split_seeds, results)]
    header = ["split seed", "copies of each", *KINDS, "test clips flagged wrongly"]
    print(markdown_table(header, [*rows, row("all", results)]))
    clips, seconds = (sum(each[name] for each in results) for name in ("clips", "seconds"))
    print(f"hashing and comparing: {clips / seconds:.0f} clips/s")


if __name__ == "__main__":
    cli.run(main)
