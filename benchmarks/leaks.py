"""How many copies of test clips among training clips the leak report finds, and how often it cries wolf.

    python benchmarks/leaks.py --videos Datasets/UCF11

Divides the videos by `--split group`, plants copies of half of the test videos among the training videos (encoded anew
at three quarters of the size, flipped, trimmed by 20 to 40 %, made brighter or darker, and all of that at once), reads
everything anew with stage 1, and asks the report. A test clip is flagged wrongly if it is taken for a copy of a clip of
another group. Writes leaks.json to --output_path.
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from utils.settings import argument_types, cli

SPLIT_SEEDS = [0, 1, 2]


def parse_arguments() -> argparse.Namespace:
    parser = cli.ArgumentParser(__doc__.splitlines()[0])
    parser.add_argument(
        "--videos", type=argument_types.existing_folder, required=True, help="folder of class folders of videos"
    )
    parser.add_argument(
        "--split_seeds", type=argument_types.seed, nargs="+", default=SPLIT_SEEDS, help="a run for each"
    )
    parser.add_argument("--group_pattern", help="regular expression; what it captures in a path is the clip's group")
    parser.add_argument(
        "--frame_size", type=argument_types.input_size, default="112", help="SIDE or HEIGHTxWIDTH, pixels"
    )
    parser.add_argument(
        "--output_path", type=argument_types.output_folder, default="bench/leaks", help="folder for the results"
    )
    return parser.parse_args()


def encoded(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.stack([cv2.resize(frame, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA) for frame in frames])


def flipped(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return frames[:, :, ::-1]


def trimmed(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    lost = rng.uniform(0.2, 0.4)
    start = rng.uniform(0, lost)
    kept = frames[int(start * len(frames)) : len(frames) - int((lost - start) * len(frames))]
    return kept if len(kept) >= 16 else frames


def brightened(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    gain, offset = rng.choice([0.7, 1.35]), rng.choice([-15, 20])
    return np.clip(np.arange(256) * gain + offset, 0, 255).astype(np.uint8)[frames]


def altogether(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return encoded(brightened(trimmed(flipped(frames, rng), rng), rng), rng)


KINDS = {
    "encoded anew": encoded,
    "flipped": flipped,
    "trimmed": trimmed,
    "brightened": brightened,
    "all at once": altogether,
}


def read_video(path: Path) -> np.ndarray:
    """All frames of a video, uint8 (n, H, W, 3), BGR."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        there, frame = capture.read()
        if not there:
            return np.stack(frames)
        frames.append(frame)


def write_video(path: Path, frames: np.ndarray) -> None:
    """H.264 of low quality (constant rate factor 30), in even sides as it wants them."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = (side - side % 2 for side in frames.shape[1:3])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "30", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames[:, :height, :width]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "bgr24")))
        container.mux(stream.encode())


def plant(videos: Path, path: str, folder: Path, *, seed: list[int]) -> None:
    """Writes a copy of each kind of the video `path` below `videos` to CLASS/KIND/NAME.mp4 in `folder`.

    The name of the file stays, so that by its name the copy is of the same group.
    """
    frames = read_video(videos / path)
    action = path.split("/")[0]
    for kind, change in KINDS.items():
        target = folder / action / kind / f"{Path(path).stem}.mp4"
        write_video(target, change(frames, np.random.default_rng(seed)))


def run(videos: Path, folder: Path, split_seed: int, *, frame_size: tuple[int, int], group_pattern: str | None) -> dict:
    """Counts of one split: copies planted and found by kind, false alarms, and seconds."""
    from utils.data.clips import open_clips
    from utils.extraction.extract import extract
    from utils.leaks.finder import LeakFinder
    from utils.leaks.report import NEAR
    from utils.splits.protocols import make_split

    size = {"sequence_length": 16, "frame_height": frame_size[0], "frame_width": frame_size[1]}
    own = {"group_pattern": group_pattern}
    (folder / "mixed").mkdir(parents=True)
    for action in sorted(entry for entry in videos.iterdir() if entry.is_dir()):
        (folder / "mixed" / action.name).mkdir()
        (folder / "mixed" / action.name / "original").symlink_to(action.resolve())

    def arrays(name: str):
        extract(folder / "mixed", folder / name, **size)
        return open_clips(folder / name / "frames.npy", folder / name / "labels.npy")

    before = arrays("before")
    split = make_split(
        before.labels,
        before.paths,
        class_names=before.class_names,
        protocol="group",
        split_seed=split_seed,
        **own,
    )
    order = np.random.default_rng(split_seed).permutation(split.test)
    planted = set(before.paths[order[: len(order) // 2]].tolist())
    for path in sorted(planted):
        plant(folder / "mixed", path, folder / "mixed", seed=[split_seed, *path.encode()])

    mixed = arrays("arrays")
    rows = {path: row for row, path in enumerate(mixed.paths.tolist())}
    test, validation = (np.sort([rows[path] for path in before.paths[part]]) for part in (split.test, split.validation))
    train = np.setdiff1d(np.arange(len(mixed)), np.concatenate([test, validation]))
    start = time.perf_counter()
    report = LeakFinder(mixed).find(test, train, validation, **own)
    seconds = time.perf_counter() - start

    pairs, keys = report.pairs[NEAR], report.group_keys
    named = [(str(mixed.paths[one]), *str(mixed.paths[other]).split("/")[1:]) for one, other in pairs.tolist()]
    found = Counter(kind for path, kind, *rest in named if path in planted and Path(path).stem == Path(rest[-1]).stem)
    other = keys[pairs[:, 0]] != keys[pairs[:, 1]]
    seen = np.union1d(train, validation)
    return {
        "split_seed": split_seed,
        "planted": len(planted),
        "found": {kind: found[kind] for kind in KINDS},
        "test_clips": len(test),
        "clips_flagged_wrongly": len(np.unique(pairs[other][:, 0])),
        "pairs_of_other_groups": int((keys[test][:, None] != keys[seen][None]).sum()),
        "pairs_flagged_wrongly": int(other.sum()),
        "wrong_pairs": [[str(mixed.paths[row]) for row in pair] for pair in pairs[other].tolist()],
        "clips": len(mixed),
        "seconds": seconds,
    }


def table(results: list[dict]) -> str:
    """Recall by kind and false alarms, a row a split and one for all."""
    from utils.evaluation.tables import markdown_table

    def line(name: str, part: list[dict]) -> list[str]:
        total = {key: sum(result[key] for result in part) for key, value in part[0].items() if isinstance(value, int)}
        recall = [sum(result["found"][kind] for result in part) / total["planted"] for kind in KINDS]
        clips = f"{total['clips_flagged_wrongly']} of {total['test_clips']}"
        share = f"{100 * total['pairs_flagged_wrongly'] / total['pairs_of_other_groups']:.3f} %"
        return [name, str(total["planted"]), *(f"{100 * value:.0f} %" for value in recall), clips, share]

    header = ["split seed", "copies of each", *KINDS, "test clips flagged wrongly", "pairs"]
    rows = [line(str(result["split_seed"]), [result]) for result in results]
    return markdown_table(header, [*rows, line("all", results)] if len(rows) > 1 else rows)


def main() -> None:
    args = parse_arguments()
    import tempfile

    from utils.runtime.files import write_json

    args.output_path.mkdir(parents=True, exist_ok=True)
    results = []
    for split_seed in args.split_seeds:
        with tempfile.TemporaryDirectory(dir=args.output_path) as folder:  # gigabytes, for a large data set
            results.append(
                run(
                    args.videos,
                    Path(folder),
                    split_seed,
                    frame_size=args.frame_size,
                    group_pattern=args.group_pattern,
                )
            )
        print(table(results[-1:]), flush=True)
    write_json(args.output_path / "leaks.json", results)
    if len(results) > 1:
        print(f"\n{table(results)}")
    clips, seconds = (sum(result[name] for result in results) for name in ("clips", "seconds"))
    print(f"hashing and comparing: {clips / seconds:.0f} clips/s")


if __name__ == "__main__":
    cli.run(main)
