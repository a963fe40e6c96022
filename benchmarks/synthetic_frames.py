"""Measure whether motion decides the synthetic actions: accuracy from single frames, and from shuffled frames.

    python benchmarks/synthetic_frames.py                 classical classifiers, about two minutes
    python benchmarks/synthetic_frames.py --networks      also a 2D CNN on frames and a 3D CNN on clips

Renders a data set, extracts 16 frames per clip, trains on three quarters of the people and tests on the others. Prints
a table and, as its last line, JSON: the accuracy over all classes (chance 1 / classes) and within the correct pair of
classes (chance 1 / 2). Classifiers of the true pose get the six numbers from which a frame is drawn, more exact than
any network could read them. "Place known" adds the position of the frame among the 16.
"""

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.contact_sheet import clearest_clips, contact_sheet
from utils.base.devices import start_tensorflow
from utils.evaluation.intervals import accuracy_interval
from utils.video.actions import ACTIONS, Look, plan_clip
from utils.video.extract import extract
from utils.video.synthetic import render_dataset
from utils.video.video import sampled_indices

LENGTH, SIDE = 16, 56


def load(folder: Path, args: argparse.Namespace) -> dict:
    """Return frames (N, 16, 56, 56, 3), true poses (N, 16, 6), labels, subjects, and the other label of each pair."""
    look = {"seed": args.seed, "phase_spread": args.phase_spread}
    sizes = {"classes": args.classes, "subjects": args.subjects, "clips": args.clips}
    made = render_dataset(folder / "videos", **sizes, **look)
    extract(made.folder, folder / "arrays", sequence_length=LENGTH, frame_height=SIDE, frame_width=SIDE)
    paths = np.load(folder / "arrays" / "video_file_paths.npy")
    subjects, poses, files = [], [], []
    for path in paths:
        action, name = path.removesuffix(".avi").split("/")
        subject, clip = (int(part[1:]) for part in name.split("_")[-2:])
        plan = plan_clip(action, subject=subject, clip=clip, look=Look(**look))
        subjects.append(subject)
        poses.append(plan.poses[sampled_indices(len(plan.poses), LENGTH)])
        files.append([(made.folder / path).stat().st_size, len(plan.poses)])
    names, listed = list(made.class_names), list(ACTIONS)
    return {
        "frames": np.load(folder / "arrays" / "frames.npy"),
        "poses": np.array(poses),
        "labels": np.load(folder / "arrays" / "labels.npy"),
        "subjects": np.array(subjects),
        "partners": np.array([names.index(listed[listed.index(name) ^ 1]) for name in names]),
        "files": np.array(files),
    }


def grey(frames: np.ndarray) -> np.ndarray:
    return frames.astype(np.float32).mean(-1) / 255


def coarse_colours(frames: np.ndarray) -> np.ndarray:
    """(n, 56, 56, 3) -> (n, 14 * 14 * 3): colours on a coarse grid."""
    return frames.reshape(len(frames), 14, 4, 14, 4, 3).mean((2, 4)).reshape(len(frames), -1) / 255


def gradient_histograms(frames: np.ndarray) -> np.ndarray:
    """(n, 56, 56, 3) -> (n, 7 * 7 * 9): orientations of edges in cells of 8 pixels, as in HOG (Dalal & Triggs 2005)."""
    down, right = np.gradient(grey(frames), axis=(1, 2))
    strength, bins = np.hypot(down, right), (np.arctan2(down, right) % np.pi / np.pi * 9).astype(int) % 9
    cells = [(strength * (bins == number)).reshape(len(frames), 7, 8, 7, 8).sum((2, 4)) for number in range(9)]
    histograms = np.stack(cells, -1)
    strengths = np.linalg.norm(histograms, axis=-1, keepdims=True)
    norm = strengths + 0.5 * strengths.mean((1, 2), keepdims=True) + 1e-6
    return (histograms / norm).reshape(len(frames), -1)


def flow_features(clips: np.ndarray) -> np.ndarray:
    """(n, 16, 56, 56, 3) -> (n, features): optical flow by direction on a 7 x 7 grid, without camera motion."""
    import cv2

    features = []
    for clip in clips:
        pairs = itertools.pairwise((grey(clip) * 255).astype(np.uint8))
        flow = np.stack([cv2.calcOpticalFlowFarneback(*pair, None, 0.5, 2, 11, 2, 5, 1.1, 0) for pair in pairs])
        flow -= np.median(flow, axis=(1, 2), keepdims=True)
        grid = np.concatenate([np.maximum(flow, 0), np.maximum(-flow, 0)], -1).reshape(15, 7, 8, 7, 8, 4).mean((2, 4))
        parts = grid.reshape(3, 5, -1).mean(1)
        features.append(np.concatenate([np.sqrt(parts).ravel(), grid.std(0).ravel()]))
    return np.array(features)


def pose_steps(poses: np.ndarray) -> np.ndarray:
    """(n, 16, 6) -> (n, 24): the median and three quantiles of the steps of each channel from frame to frame."""
    steps = np.diff(poses, axis=1)
    return np.concatenate([np.median(steps, 1), *np.quantile(np.abs(steps), [0.5, 0.75, 0.9], axis=1)], -1)


def shuffled(clips: np.ndarray, seed: int) -> np.ndarray:
    """Return the clips with the frames of each in a random order of its own."""
    rng = np.random.default_rng(seed)
    return np.stack([clip[rng.permutation(len(clip))] for clip in clips])


def classical_scores(data: dict, train: np.ndarray, test: np.ndarray, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Train the classical classifiers; yield a name and test scores, (clips, C) or (clips, 16, C), for each."""
    from sklearn.decomposition import PCA
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    labels = data["labels"]
    rng = np.random.default_rng(seed)
    some = rng.permuted(np.tile(np.arange(LENGTH), (len(labels), 1)), axis=1)[:, :4]  # four frames per training clip

    def fitted(model, values, targets):
        model.fit(values, targets)
        return model.predict_proba if hasattr(model, "predict_proba") else model.decision_function

    def frame_scores(model, values):
        chosen = np.take_along_axis(values, some[..., None], axis=1)[train]
        scores = fitted(model, flat(chosen), np.repeat(labels[train], 4))
        return scores(flat(values[test])).reshape(test.sum(), LENGTH, -1)

    def clip_scores(name, model, function, clips):
        values = function(clips)
        scores = fitted(model, values[train], labels[train])
        yield name, scores(values[test])
        yield f"{name}, shuffled", scores(function(shuffled(clips[test], seed)))

    def flat(values):
        return values.reshape(-1, *values.shape[2:])

    def forest():
        return RandomForestClassifier(300, min_samples_leaf=8, random_state=seed)

    def logistic(components):
        reduction = PCA(components, random_state=seed)
        return make_pipeline(StandardScaler(), reduction, StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))

    frames, poses = data["frames"], data["poses"]
    colours, edges = (f(flat(frames)).reshape(len(labels), LENGTH, -1) for f in (coarse_colours, gradient_histograms))
    yield "frame: colours, PCA, logistic regression", frame_scores(logistic(60), colours)
    yield "frame: edges, PCA, logistic regression", frame_scores(logistic(100), edges)
    svm = make_pipeline(StandardScaler(), PCA(100, random_state=seed), SVC(C=3.0))
    yield "frame: edges, PCA, RBF SVM", frame_scores(svm, edges)
    yield "frame: true pose, forest", frame_scores(forest(), poses)
    place = np.broadcast_to(np.arange(LENGTH)[None, :, None], (*poses.shape[:2], 1))
    yield "frame: true pose, place known, forest", frame_scores(forest(), np.concatenate([poses, place], -1))
    scores = fitted(forest(), data["files"][train], labels[train])
    yield "file: size and length, forest", scores(data["files"][test])
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=2000))
    yield from clip_scores("clip: optical flow, logistic regression", regression, flow_features, frames)
    yield from clip_scores("clip: steps of the true pose, forest", forest(), pose_steps, poses)


def report(name: str, scores: np.ndarray, labels: np.ndarray, partners: np.ndarray) -> dict:
    """Print and return the accuracies of scores (clips, C) or (clips, 16, C), with intervals over clips."""
    scores = scores[:, None] if scores.ndim == 2 else scores
    own, partner = (scores[np.arange(len(labels)), :, column] for column in (labels, partners[labels]))
    correct = {"overall": scores.argmax(-1) == labels[:, None], "within_pair": own > partner}
    row, text = {"classifier": name}, f"{name:50s}"
    for key, values in correct.items():
        shares = values.mean(1)  # frames of one clip are not independent: a clip counts as its share of correct frames
        interval = accuracy_interval(np.arange(len(shares)) < round(shares.sum()))
        row[key] = float(shares.mean())
        row[f"{key}_interval"] = [round(interval.low, 3), round(interval.high, 3)]
        text += f" {100 * row[key]:5.1f}  [{100 * interval.low:3.0f}, {100 * interval.high:3.0f}]  "
    print(text.rstrip(), flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=10, help="number of actions, an even number")
    parser.add_argument("--subjects", type=int, default=12, help="number of people")
    parser.add_argument("--clips", type=int, default=5, help="clips per action and person")
    parser.add_argument("--seed", type=int, default=0, help="seed of videos and classifiers")
    parser.add_argument("--phase_spread", type=float, default=Look.phase_spread, help="as in reproduce.py")
    parser.add_argument("--networks", action="store_true", help="also train a 2D and a 3D CNN (some minutes)")
    parser.add_argument("--epochs", type=int, default=12, help="epochs of the 3D CNN; the 2D CNN has six times as many")
    parser.add_argument("--contact_sheet", type=Path, help="only draw a clip of each of all actions, as PNG")
    parser.add_argument("--output_path", type=Path, help="folder to keep videos and arrays in, or to reuse them from")
    args = parser.parse_args()
    if args.contact_sheet:
        from PIL import Image

        args.contact_sheet.parent.mkdir(parents=True, exist_ok=True)
        sheet = Image.fromarray(contact_sheet(list(clearest_clips(args.seed)), list(ACTIONS), frame_width=96))
        few = sheet.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE)
        few.save(args.contact_sheet, optimize=True)  # 256 colours make a small file
        return
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        data = load(args.output_path or Path(scratch), args)
    people = args.subjects - max(1, args.subjects // 4)
    test = data["subjects"] > people
    print(
        f"{len(test)} clips, {args.classes} classes; {(~test).sum()} clips of {people} people for training, "
        f"{test.sum()} of {args.subjects - people} others for testing\n"
        f"accuracy in % [95 % interval]: overall (chance {100 / args.classes:.0f}), pair known (chance 50)"
    )
    found = classical_scores(data, ~test, test, args.seed)
    if args.networks:
        start_tensorflow()
        from benchmarks.synthetic_networks import network_scores

        frames, labels = data["frames"], data["labels"]
        tests = {"": frames[test], ", shuffled": shuffled(frames[test], args.seed)}
        settings = {"classes": len(data["partners"]), "seed": args.seed, "epochs": args.epochs}
        found = itertools.chain(found, network_scores(frames[~test], labels[~test], tests, **settings))
    rows = [report(name, scores, data["labels"][test], data["partners"]) for name, scores in found]
    settings = {name: value for name, value in vars(args).items() if name != "output_path"}
    print(json.dumps(settings | {"seconds": round(time.monotonic() - start), "rows": rows}))


if __name__ == "__main__":
    main()
