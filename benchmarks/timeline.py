"""Timelines of videos of minutes whose segments are known: accuracy, with and without smoothing and calibration.

    python benchmarks/timeline.py --recognizer student.keras --videos weizmann --people ido ira moshe

The videos are joined from clips of --people, whom the model must not have seen: each part shows one clip, played again
until it is --part_seconds long. In every other video, parts of unknown classes lie between them: class folders in
--videos that the model does not have. The last line is JSON. --output_path also writes timeline.png, truth above
answer.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.base.devices import start_tensorflow
from utils.base.prediction_options import TimelineOptions
from utils.evaluation.tables import markdown_table
from utils.prediction.answers import NO_ACTION, Segment, Timeline
from utils.prediction.overlay import GREY, PALETTE

RATE = 25.0  # frames per second
STEP = 0.04  # seconds between the times at which answers are compared
OVERLAP = 0.5  # intersection over union from which a segment counts as found
AS_TRAINED = "smoothed, calibrated"


def make_video(path: Path, parts: list[tuple[str, Path]], seconds: float) -> tuple[Segment, ...]:
    """Write a video of parts (class or NO_ACTION, clip), each at least `seconds` long; return its segments."""
    writer, position, segments = None, 0, []
    for label, clip in parts:
        frames = []
        capture = cv2.VideoCapture(str(clip))
        while (read := capture.read())[0]:
            frames.append(read[1])
        if writer is None:
            size = frames[0].shape[1::-1]
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), RATE, size)
        count = -(-round(seconds * RATE) // len(frames)) * len(frames)
        for number in range(count):
            writer.write(cv2.resize(frames[number % len(frames)], size))
        segments.append(Segment(position / RATE, (position + count) / RATE, label, None))
        position += count
    writer.release()
    return tuple(segments)


def make_videos(folder: Path, args: argparse.Namespace, classes: tuple[str, ...]) -> dict[Path, tuple[Segment, ...]]:
    """Write --number videos; return their true segments."""
    clips = sorted(path for path in args.videos.glob("*/*") if path.name.split("_")[0] in args.people)
    known = [(path.parent.name, path) for path in clips if path.parent.name in classes]
    unknown = [(NO_ACTION, path) for path in clips if path.parent.name not in classes]
    rng, found = np.random.default_rng(args.seed), {}
    for number in range(args.number):
        parts = [known[k] for k in rng.permutation(len(known))[: args.parts]]
        if number % 2:
            parts = [part for each in parts for part in (each, unknown[rng.integers(len(unknown))])]
        path = folder / f"{number}.avi"
        found[path] = make_video(path, parts, args.part_seconds)
    return found


def labels_at(segments: tuple[Segment, ...], times: np.ndarray) -> np.ndarray:
    """Return the classes at given times."""
    ends = [segment.end for segment in segments]
    numbers = np.minimum(np.searchsorted(ends, times, side="right"), len(segments) - 1)
    return np.array([segment.label for segment in segments])[numbers]


def merged(segments: tuple[Segment, ...]) -> list[Segment]:
    """Return the segments of actions, with neighbours of one class joined."""
    found: list[Segment] = []
    for segment in segments:
        if found and found[-1].label == segment.label:
            found[-1] = replace(found[-1], end=segment.end)
        else:
            found.append(segment)
    return [segment for segment in found if segment.label != NO_ACTION]


def matches(truth: list[Segment], answer: list[Segment]) -> int:
    """Return the number of true segments of which an answer of the same class covers OVERLAP, each used once."""
    used, count = set(), 0
    for true in truth:
        for number, each in enumerate(answer):
            shared = min(true.end, each.end) - max(true.start, each.start)
            union = max(true.end, each.end) - min(true.start, each.start)
            if number not in used and each.label == true.label and shared / union >= OVERLAP:
                used.add(number)
                count += 1
                break
    return count


def scores(truths: list[tuple[Segment, ...]], answers: list[Timeline]) -> dict[str, float]:
    """Return frame accuracy within actions, segment F1, and the rejected share of unknown and of known frames."""
    true, given, found, wanted, shown = [], [], 0, 0, 0
    for segments, timeline in zip(truths, answers):
        times = np.arange(0, segments[-1].end, STEP)
        true.append(labels_at(segments, times))
        given.append(labels_at(timeline.segments, times))
        actions, answered = merged(segments), merged(timeline.segments)
        found, wanted, shown = found + matches(actions, answered), wanted + len(actions), shown + len(answered)
    true, given = np.concatenate(true), np.concatenate(given)
    is_known = true != NO_ACTION
    return {
        "frame_accuracy": float((true == given)[is_known].mean()),
        "segment_f1": 2 * found / (wanted + shown),
        "unknown_rejected": float((given == NO_ACTION)[~is_known].mean()),
        "known_rejected": float((given == NO_ACTION)[is_known].mean()),
    }


def variants(predictor, options: TimelineOptions) -> dict[str, tuple]:
    """Return the predictor and the options of each way to answer."""
    raw = tuple(replace(member, temperature=1.0) for member in predictor.members)
    plain = replace(options, smoothing=0.0, min_segment=0.0)
    return {
        AS_TRAINED: (predictor, options),
        "not smoothed, calibrated": (predictor, plain),
        "smoothed, without temperature": (replace(predictor, members=raw), options),
        "smoothed, no rejection": (replace(predictor, threshold=0.0), options),
        "not smoothed, no rejection": (replace(predictor, threshold=0.0), plain),
    }


def plot(truths: list[tuple[Segment, ...]], answers: list[Timeline], classes: tuple[str, ...], path: Path) -> None:
    """Draw each video as two bars, truth above answer."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    from utils.base.files import written_beside

    colours = {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(classes)} | {NO_ACTION: GREY}
    figure = Figure(figsize=(10, 0.9 * len(truths) + 1), layout="constrained")
    axes = figure.add_subplot()
    for row, (truth, timeline) in enumerate(zip(truths, answers)):
        for bar, segments in enumerate((truth, timeline.segments)):
            for segment in segments:
                width = segment.end - segment.start
                axes.barh(row + 0.4 * bar, width, 0.36, segment.start, color=colours[segment.label], edgecolor="white")
    positions = [row + 0.4 * bar for row in range(len(truths)) for bar in range(2)]
    axes.set_yticks(positions, ["truth", "answer"] * len(truths), fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.spines[["top", "right"]].set_visible(False)
    handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=8, frameon=False)
    with written_beside(path) as temporary:
        figure.savefig(temporary, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recognizer", type=Path, required=True, help="model trained on other people")
    parser.add_argument("--videos", type=Path, required=True, help="class folders of videos PERSON_CLASS.avi")
    parser.add_argument("--people", nargs="+", required=True, help="people whom the model has not seen")
    parser.add_argument("--number", type=int, default=6, help="number of videos")
    parser.add_argument("--parts", type=int, default=9, help="parts of known classes per video")
    parser.add_argument("--part_seconds", type=float, default=8.0, help="shortest duration of a part")
    parser.add_argument("--seed", type=int, default=0, help="seed of the order of parts")
    parser.add_argument("--window", type=float, help="seconds, by default as predict.py")
    parser.add_argument("--output_path", type=Path, help="folder for timeline.png")
    args = parser.parse_args()
    start_tensorflow()
    from utils.prediction.predictor import load_predictor
    from utils.prediction.timelines import timeline_of

    predictor = load_predictor(args.recognizer)
    classes = predictor.class_names
    ways = variants(predictor, TimelineOptions(window=args.window))
    with tempfile.TemporaryDirectory() as folder:
        videos = make_videos(Path(folder), args, classes)
        truths = list(videos.values())
        answers = {way: [timeline_of(pair[0], path, pair[1]) for path in videos] for way, pair in ways.items()}
    results = {way: scores(truths, found) for way, found in answers.items()}
    header = ["way", "frame accuracy", "segment F1", "unknown rejected", "known rejected"]
    print(markdown_table(header, [[way, *(f"{100 * x:.1f} %" for x in row.values())] for way, row in results.items()]))
    if args.output_path is not None:
        plot(truths, answers[AS_TRAINED], classes, args.output_path / "timeline.png")
    seconds = sum(segments[-1].end for segments in truths)
    print(json.dumps({"seconds": seconds, "threshold": predictor.threshold, "ways": results}))


if __name__ == "__main__":
    main()
