"""Timelines of videos of minutes whose segments are known: accuracy, with and without smoothing and calibration.

    python benchmarks/timeline.py --recognizer student.keras --videos weizmann --people ido ira moshe

The videos are joined from clips of --people, whom the model must not have seen: each part shows one clip, played again
until it is 8 seconds long. In every other video, parts of unknown classes lie between them: class folders in --videos
that the model does not have.
"""

import argparse
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

VIDEOS, PARTS, PART_SECONDS = 6, 9, 8.0  # videos, parts of known classes per video, shortest duration of a part
RATE = 25.0  # frames per second
STEP = 0.04  # seconds between the times at which answers are compared
OVERLAP = 0.5  # intersection over union from which a segment counts as found


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


def make_videos(folder: Path, source: Path, people: list[str], classes: tuple[str, ...]) -> dict[Path, tuple]:
    """Write VIDEOS videos of clips of `people`; return their true segments."""
    clips = sorted(path for path in source.glob("*/*") if path.name.split("_")[0] in people)
    known = [(path.parent.name, path) for path in clips if path.parent.name in classes]
    unknown = [(NO_ACTION, path) for path in clips if path.parent.name not in classes]
    rng, found = np.random.default_rng(0), {}
    for number in range(VIDEOS):
        parts = [known[k] for k in rng.permutation(len(known))[:PARTS]]
        if number % 2:
            parts = [part for each in parts for part in (each, unknown[rng.integers(len(unknown))])]
        path = folder / f"{number}.avi"
        found[path] = make_video(path, parts, PART_SECONDS)
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


def ways_of(predictor) -> dict[str, tuple]:
    """Return the predictor and the options of each way to answer."""
    smoothed, plain = TimelineOptions(), TimelineOptions(smoothing=0.0, min_segment=0.0)
    always = replace(predictor, threshold=0.0)
    return {
        "smoothed": (predictor, smoothed),
        "not smoothed": (predictor, plain),
        "smoothed, no rejection": (always, smoothed),
        "not smoothed, no rejection": (always, plain),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recognizer", type=Path, required=True, help="model trained on other people")
    parser.add_argument("--videos", type=Path, required=True, help="class folders of videos PERSON_CLASS.avi")
    parser.add_argument("--people", nargs="+", required=True, help="people whom the model has not seen")
    args = parser.parse_args()
    start_tensorflow()
    from utils.prediction.predictor import load_predictor
    from utils.prediction.timelines import timeline_of

    predictor = load_predictor(args.recognizer)
    ways = ways_of(predictor)
    with tempfile.TemporaryDirectory() as folder:
        videos = make_videos(Path(folder), args.videos, args.people, predictor.class_names)
        truths = list(videos.values())
        answers = {way: [timeline_of(pair[0], path, pair[1]) for path in videos] for way, pair in ways.items()}
    results = {way: scores(truths, found) for way, found in answers.items()}
    header = ["way", "frame accuracy", "segment F1", "unknown rejected", "known rejected"]
    print(markdown_table(header, [[way, *(f"{100 * x:.1f} %" for x in row.values())] for way, row in results.items()]))


if __name__ == "__main__":
    main()
