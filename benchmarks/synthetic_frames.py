"""Does motion decide the synthetic actions? What single frames tell, and what is left when frames are shuffled.

    python benchmarks/synthetic_frames.py                 classical classifiers, about two minutes
    python benchmarks/synthetic_frames.py --networks      a 2D CNN on frames and a 3D CNN on clips as well

Renders a set, extracts 16 frames a clip, trains on three quarters of the people and tests on the others. Two questions
are asked: which of all classes (chance 1 / classes), and, when the pair is known, which of its two (chance 1 / 2).

Rows that read the true pose are given the six numbers from which a frame was drawn, better than any picture can be
read: what they cannot tell from one frame, no network can. "Place known" also tells them which of the 16 frames it is.
Prints a table and, as its last line, JSON. Accuracies of frames are averaged over a clip's.
"""

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.contact_sheet import contact_sheet
from utils.evaluation.intervals import accuracy_interval
from utils.extraction.extract import extract
from utils.extraction.video import sampled_indices
from utils.synthetic.actions import ACTIONS, Look, plan_clip, render_clip
from utils.synthetic.dataset import render_dataset
from utils.synthetic.stick_figure import CHANNELS

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

LENGTH, SIDE = 16, 56


def load(folder: Path, arguments) -> dict:
    """The set: frames (N, 16, 56, 56, 3), true poses (N, 16, 6), labels, subjects, the other label of each pair."""
    look = {"seed": arguments.seed, "phase_spread": arguments.phase_spread}
    sizes = {"classes": arguments.classes, "subjects": arguments.subjects, "clips": arguments.clips}
    made = render_dataset(folder / "videos", **sizes, **look)
    extract(made.folder, folder / "arrays", sequence_length=LENGTH, frame_height=SIDE, frame_width=SIDE)
    paths = np.load(folder / "arrays" / "video_file_paths.npy")
    poses, lengths = [], []
    for path in paths:
        action, name = path.removesuffix(".avi").split("/")
        subject, clip = (int(part[1:]) for part in name.split("_")[-2:])
        plan = plan_clip(action, subject=subject, clip=clip, look=Look(**look))
        lengths.append(len(plan.poses))
        poses.append(plan.poses[sampled_indices(len(plan.poses), LENGTH)])
    names = list(made.class_names)
    listed = list(ACTIONS)
    partners = [names.index(listed[listed.index(name) ^ 1]) for name in names]
    return {
        "frames": np.load(folder / "arrays" / "frames.npy"),
        "poses": np.array(poses),
        "labels": np.load(folder / "arrays" / "labels.npy"),
        "subjects": np.array([int(path.split("_g")[-1][:2]) for path in paths]),
        "partners": np.array(partners),
        "files": np.array([[(made.folder / path).stat().st_size, length] for path, length in zip(paths, lengths)]),
    }


def grey(frames: np.ndarray) -> np.ndarray:
    return frames.astype(np.float32).mean(-1) / 255


def small_pictures(frames: np.ndarray) -> np.ndarray:
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
    """(n, 16, 56, 56, 3) -> (n, features): how much moves left, right, up, down on a 7 x 7 grid, in three parts of the
    clip, without the camera's own motion; and how much it varies."""
    import cv2

    features = []
    for clip in clips:
        pictures = (grey(clip) * 255).astype(np.uint8)
        pairs = itertools.pairwise(pictures)
        flow = np.stack([cv2.calcOpticalFlowFarneback(*pair, None, 0.5, 2, 11, 2, 5, 1.1, 0) for pair in pairs])
        flow -= np.median(flow, axis=(1, 2), keepdims=True)
        grid = np.concatenate([np.maximum(flow, 0), np.maximum(-flow, 0)], -1).reshape(15, 7, 8, 7, 8, 4).mean((2, 4))
        parts = grid.reshape(3, 5, -1).mean(1)
        features.append(np.concatenate([np.sqrt(parts).ravel(), grid.std(0).ravel()]))
    return np.array(features)


def as_frames(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, *values.shape[2:])


def with_place(poses: np.ndarray) -> np.ndarray:
    """True poses (n, 16, 6) with the number of the frame: (n, 16, 7)."""
    place = np.broadcast_to(np.arange(LENGTH)[None, :, None], (*poses.shape[:2], 1))
    return np.concatenate([poses, place], -1)


def pose_steps(poses: np.ndarray) -> np.ndarray:
    """(n, 16, 6) -> (n, 24): of each channel's steps from frame to frame, the median and three quantiles."""
    steps = np.diff(poses, axis=1)
    return np.concatenate([np.median(steps, 1), *np.quantile(np.abs(steps), [0.5, 0.75, 0.9], axis=1)], -1)


def shuffled(clips: np.ndarray, seed: int) -> np.ndarray:
    """Each clip's frames in an order of its own."""
    rng = np.random.default_rng(seed)
    return np.stack([clip[rng.permutation(len(clip))] for clip in clips])


def scores_of(model, values: np.ndarray) -> np.ndarray:
    decision = model.predict_proba if hasattr(model, "predict_proba") else model.decision_function
    return decision(values)


def report(name: str, scores: np.ndarray, labels: np.ndarray, partners: np.ndarray) -> dict:
    """Accuracies from scores (clips, C) or (clips, 16, C); a clip counts as often as its frames are right."""
    scores = scores[:, None] if scores.ndim == 2 else scores
    overall = (scores.argmax(-1) == labels[:, None]).mean(1)
    own, partner = (scores[np.arange(len(labels)), :, column] for column in (labels, partners[labels]))
    pair = (own > partner).mean(1)
    # Frames of one clip are not independent: the interval counts clips.
    row = {"classifier": name, "overall": float(overall.mean()), "within_pair": float(pair.mean())}
    for key, values in (("overall", overall), ("within_pair", pair)):
        right = np.arange(len(values)) < round(values.sum())
        interval = accuracy_interval(right)
        row[f"{key}_interval"] = [round(interval.low, 3), round(interval.high, 3)]
    print(
        f"{name:50s} {100 * row['overall']:5.1f}  [{100 * row['overall_interval'][0]:3.0f}, "
        f"{100 * row['overall_interval'][1]:3.0f}]   {100 * row['within_pair']:5.1f}  "
        f"[{100 * row['within_pair_interval'][0]:3.0f}, {100 * row['within_pair_interval'][1]:3.0f}]",
        flush=True,
    )
    return row


def classical(data: dict, train: np.ndarray, test: np.ndarray, seed: int) -> list[dict]:
    from sklearn.decomposition import PCA
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    labels, partners, rows = data["labels"], data["partners"], []
    rng = np.random.default_rng(seed)
    some = rng.permuted(np.tile(np.arange(LENGTH), (len(labels), 1)), axis=1)[:, :4]  # four frames of a training clip

    def frame_row(name, model, values):
        chosen = np.take_along_axis(values, some[..., None], axis=1)[train]
        model.fit(as_frames(chosen), np.repeat(labels[train], 4))
        scores = scores_of(model, as_frames(values[test])).reshape(test.sum(), LENGTH, -1)
        rows.append(report(name, scores, labels[test], partners))

    def clip_rows(name, model, values, mixed):
        model.fit(values[train], labels[train])
        rows.append(report(name, scores_of(model, values[test]), labels[test], partners))
        rows.append(report(f"{name}, shuffled", scores_of(model, mixed), labels[test], partners))

    def of_frames(function):
        return function(as_frames(data["frames"])).reshape(len(labels), LENGTH, -1)

    def forest():
        return RandomForestClassifier(300, min_samples_leaf=8, random_state=seed)

    colours, edges = of_frames(small_pictures), of_frames(gradient_histograms)
    frame_row("frame: colours, PCA, logistic regression", logistic(PCA(60, random_state=seed)), colours)
    frame_row("frame: edges, PCA, logistic regression", logistic(PCA(100, random_state=seed)), edges)
    svm = make_pipeline(StandardScaler(), PCA(100, random_state=seed), SVC(C=3.0))
    frame_row("frame: edges, PCA, RBF SVM", svm, edges)
    frame_row("frame: true pose, forest", forest(), data["poses"])
    frame_row("frame: true pose, place known, forest", forest(), with_place(data["poses"]))
    model = forest().fit(data["files"][train], labels[train])
    rows.append(report("file: size and length, forest", scores_of(model, data["files"][test]), labels[test], partners))
    flow = flow_features(data["frames"])
    mixed = flow_features(shuffled(data["frames"][test], seed))
    clip_rows(
        "clip: optical flow, logistic regression",
        make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=2000)),
        flow,
        mixed,
    )
    steps = pose_steps(data["poses"])
    clip_rows("clip: steps of the true pose, forest", forest(), steps, pose_steps(shuffled(data["poses"][test], seed)))
    return rows


def logistic(reduction):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), reduction, StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))


def networks(data: dict, train: np.ndarray, test: np.ndarray, seed: int, epochs: int) -> list[dict]:
    """A 2D CNN on single frames, and the narrow C3D on clips, in order and shuffled."""
    import keras
    from keras import layers

    from models.c3d import build_c3d
    from models.initialisation import initialise_by_data

    frames, labels, partners = data["frames"], data["labels"], data["partners"]
    classes = len(partners)

    class Batches(keras.utils.PyDataset):
        """Training clips, half of them mirrored and each moved by up to 3 pixels; or one frame of each."""

        def __init__(self, single_frames: bool, size: int):
            super().__init__()
            self.rng = np.random.default_rng(seed)
            self.single_frames, self.size = single_frames, size
            self.rows = np.flatnonzero(train)

        def __len__(self):
            return len(self.rows) // self.size

        def on_epoch_end(self):
            self.rng.shuffle(self.rows)

        def __getitem__(self, number):
            rows = self.rows[number * self.size : (number + 1) * self.size]
            clips = frames[rows]
            if self.single_frames:
                clips = clips[np.arange(len(rows)), self.rng.integers(0, LENGTH, len(rows))]
            moved = [
                np.roll(clip[..., :: self.rng.choice([-1, 1]), :], self.rng.integers(-3, 4, 2), axis=(-3, -2))
                for clip in clips
            ]
            return np.stack(moved).astype(np.float32), labels[rows]

    def train_network(model, single_frames, size, passes, rate):
        batches = Batches(single_frames, size)
        steps = passes * len(batches)
        schedule = keras.optimizers.schedules.CosineDecay(
            rate / 10, steps, warmup_target=rate, warmup_steps=max(1, steps // 10)
        )
        model.compile(
            keras.optimizers.Adam(schedule, global_clipnorm=1.0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )
        model.fit(batches, epochs=passes, verbose=0)

    keras.utils.set_random_seed(seed)
    frame_network = keras.Sequential([keras.Input((SIDE, SIDE, 3)), layers.Rescaling(1 / 127.5, -1)])
    for filters in (32, 64, 128, 128):
        frame_network.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        frame_network.add(layers.MaxPool2D())
    for layer in (layers.Flatten(), layers.Dropout(0.4), layers.Dense(128, "relu"), layers.Dense(classes)):
        frame_network.add(layer)
    train_network(frame_network, True, 16, 6 * epochs, 1e-3)
    scores = frame_network.predict(as_frames(frames[test]).astype(np.float32), batch_size=256, verbose=0)
    rows = [report("frame: 2D CNN", scores.reshape(test.sum(), LENGTH, -1), labels[test], partners)]

    clip_network = build_c3d(classes, input_shape=(LENGTH, SIDE, SIDE, 3), width=0.125, dropout=0)
    some = np.random.default_rng(seed).choice(np.flatnonzero(train), 32, replace=False)
    initialise_by_data(clip_network, frames[some])
    train_network(clip_network, False, 8, epochs, 5e-4)
    for name, clips in (
        ("clip: 3D CNN (C3D, width 1/8)", frames[test]),
        ("clip: 3D CNN (C3D, width 1/8), shuffled", shuffled(frames[test], seed)),
    ):
        scores = clip_network.predict(clips.astype(np.float32), batch_size=16, verbose=0)
        rows.append(report(name, scores, labels[test], partners))
    return rows


def draw_contact_sheet(path: Path, seed: int) -> None:
    """A clip of each class, each by another person: of ten clips the one that shows the least of a second loop.

    Sensor noise is left out and the colours are reduced to 256, for a small file.
    """
    from PIL import Image

    look = Look(seed=seed, noise=0)
    clips = []
    for subject, (action, (channel, rhythm)) in enumerate(ACTIONS.items(), start=1):
        plans = {clip: plan_clip(action, subject=subject, clip=clip, look=look) for clip in range(1, 11)}
        travels = {clip: np.ptp(plan.poses[[0, -1], CHANNELS.index(channel)]) for clip, plan in plans.items()}
        if rhythm in ("rises", "falls"):
            sign = 1 if rhythm == "rises" else -1
            travels = {
                clip: sign * np.diff(plan.poses[[0, -1], CHANNELS.index(channel)])[0] for clip, plan in plans.items()
            }
        clips.append(render_clip(action, subject=subject, clip=max(travels, key=travels.get), look=look))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = Image.fromarray(contact_sheet(clips, list(ACTIONS), frame_width=96))
    sheet.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE).save(path, optimize=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--subjects", type=int, default=12)
    parser.add_argument("--clips", type=int, default=5, help="of each class by each subject")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--phase_spread", type=float, default=Look.phase_spread)
    parser.add_argument("--networks", action="store_true", help="train a 2D and a 3D CNN too (some minutes)")
    parser.add_argument("--epochs", type=int, default=12, help="of the 3D CNN; the 2D CNN gets six times as many")
    parser.add_argument("--contact_sheet", type=Path, help="only draw a clip of each class of all there are, as PNG")
    parser.add_argument("--output_path", type=Path, help="keep videos and arrays here, and use them if they are there")
    arguments = parser.parse_args()
    if arguments.contact_sheet:
        draw_contact_sheet(arguments.contact_sheet, arguments.seed)
        return
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        data = load(arguments.output_path or Path(scratch), arguments)
    test = data["subjects"] > arguments.subjects - max(1, arguments.subjects // 4)
    print(
        f"{len(test)} clips, {arguments.classes} classes; {(~test).sum()} of {arguments.subjects} people's clips for "
        f"training, {test.sum()} of others for test\n"
        f"accuracy in % [95 % interval]: overall (chance {100 / arguments.classes:.0f}), pair known (chance 50)"
    )
    rows = classical(data, ~test, test, arguments.seed)
    if arguments.networks:
        rows += networks(data, ~test, test, arguments.seed, arguments.epochs)
    settings = {name: value for name, value in vars(arguments).items() if name != "output_path"}
    print(json.dumps(settings | {"seconds": round(time.monotonic() - start), "rows": rows}))


if __name__ == "__main__":
    main()
