"""Speed and memory of predict.py against a plain loop of `model.predict`, with the full-width student.

    python benchmarks/predict.py --input folder                   clips/s and the time to the first answer
    python benchmarks/predict.py --input video.mp4 --minutes 30   a timeline of a long video: speed, decoding, memory

The second form needs PyAV. It joins copies of the first video until they are --minutes long. The process is bound to
one core. Weights are random, since they do not affect speed. The last line is JSON.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import in_turn
from utils.base.devices import jit_compile, memory_of_tree, start_tensorflow
from utils.base.options import ViewOptions
from utils.base.prediction_options import PredictionOptions, TimelineOptions
from utils.prediction.inputs import find_inputs
from utils.video.video import opened_video, read_clip_and_info

INPUT_SHAPE = (16, 112, 112, 3)
STORED_SHAPE = (16, 224, 224, 3)  # of stage 1's default arrays


def new_predictor(batch_size: int):
    """Return a predictor with a new full-width student, whose graph is not yet built."""
    from models.student import build_student
    from utils.networks.recognizer import Recognizer
    from utils.prediction.predictor import Member, Predictor

    model = build_student(101, input_shape=INPUT_SHAPE)
    model.jit_compile = jit_compile()
    member = Member(Recognizer(Path("student.keras"), model, None), STORED_SHAPE, ViewOptions())
    names = tuple(str(number) for number in range(101))
    return Predictor((member,), names, 0.0, PredictionOptions(batch_size=batch_size))


def plain_loop(predictor, paths: list[Path]) -> float:
    """Read each video and call `model.predict` on it; return the seconds until the first answer."""
    (member,), start, first = predictor.members, time.perf_counter(), None
    for path in paths:
        clip = member.views_of(read_clip_and_info(path, STORED_SHAPE)[0], 1)
        member.recognizer.model.predict(clip, verbose=0)
        first = first or time.perf_counter() - start
    return first


def our_loop(predictor, paths: list[Path]) -> float:
    """Answer the videos as predict.py does; return the seconds until the first answer."""
    from utils.prediction.clips import predict_videos

    start, first = time.perf_counter(), None
    for _ in predict_videos(predictor, paths):
        first = first or time.perf_counter() - start
    return first


def rate_of(run: Callable, predictor, paths: list[Path]) -> float:
    """Return videos per second."""
    start = time.perf_counter()
    run(predictor, paths)
    return len(paths) / (time.perf_counter() - start)


def measure_clips(paths: list[Path], rounds: int) -> dict:
    """Return the clips/s of each way and the seconds to the first answer of a new model."""
    plain = "plain loop of model.predict"
    ways = {plain: (plain_loop, 1), "predict.py, batch 1": (our_loop, 1), "predict.py, batch 16": (our_loop, 16)}
    first, calls = {}, {}
    for way, (run, batch_size) in ways.items():
        predictor = new_predictor(batch_size)
        first[way] = run(predictor, paths[:1])
        run(predictor, paths[:batch_size])
        calls[way] = lambda run=run, predictor=predictor: rate_of(run, predictor, paths)
    rates = {way: statistics.median(found) for way, found in in_turn(calls, rounds).items()}
    for way, rate in rates.items():
        print(
            f"{way}: {rate:.1f} clips/s, {rate / rates[plain]:.2f} times; first answer {first[way]:.2f} s", flush=True
        )
    return {"clips_per_second": rates, "first_answer_seconds": first}


def measure_calls(repeats: int) -> dict:
    """Return the milliseconds per clip of the model's call alone, at batch 1."""
    model = new_predictor(1).members[0].recognizer.model
    clip = np.zeros((1, *INPUT_SHAPE), np.uint8)
    ways = {"predict": lambda: model.predict(clip, verbose=0), "predict_on_batch": lambda: model.predict_on_batch(clip)}

    def milliseconds(call: Callable) -> float:
        start = time.perf_counter()
        call()
        return 1000 * (time.perf_counter() - start)

    in_turn(ways, 2)
    found = in_turn({name: lambda call=call: milliseconds(call) for name, call in ways.items()}, repeats)
    found = {name: statistics.median(values) for name, values in found.items()}
    print(", ".join(f"{name}: {value:.1f} ms per clip" for name, value in found.items()), flush=True)
    return found


def join_copies(source: Path, target: Path, seconds: float) -> None:
    """Write copies of a video, one after the other, without decoding them."""
    import av

    with av.open(str(source)) as first:
        stream = first.streams.video[0]
        packets = [
            (packet.pts, packet.dts, packet.duration, bytes(packet), packet.is_keyframe)
            for packet in first.demux(stream)
            if packet.size
        ]
        length = max(pts + duration for pts, _, duration, *_ in packets)
        with av.open(str(target), "w") as container:
            output = container.add_stream_from_template(stream)
            for copy in range(round(seconds / float(length * stream.time_base))):
                for pts, dts, duration, content, is_keyframe in packets:
                    packet = av.Packet(content)
                    packet.pts, packet.dts, packet.duration = pts + copy * length, dts + copy * length, duration
                    packet.time_base, packet.stream, packet.is_keyframe = stream.time_base, output, is_keyframe
                    container.mux(packet)


def measure_timeline(path: Path) -> dict:
    """Return duration, seconds of work, seconds of decoding alone, and the memory in MB along the video."""
    from utils.prediction.frames import Frames
    from utils.prediction.timelines import timeline_of

    predictor, memory = new_predictor(16), []

    class Watched:
        """Notes the memory of the process at each batch."""

        input_shape, output_shape = predictor.members[0].recognizer.model.input_shape, (None, 101)

        def predict_on_batch(self, clips):
            memory.append(memory_of_tree())
            return model.predict_on_batch(clips)

    recognizer = predictor.members[0].recognizer
    model = recognizer.model
    object.__setattr__(recognizer, "model", Watched())
    start = time.perf_counter()
    timeline = timeline_of(predictor, path, TimelineOptions())
    seconds, start = time.perf_counter() - start, time.perf_counter()
    with opened_video(path) as capture:
        for number, (_, retrieve) in enumerate(Frames.of(capture)):
            if number % 3 == 0:  # about the share of frames that windows sample
                retrieve()
    decoding = time.perf_counter() - start
    fifth = max(len(memory) // 5, 1)
    found = {
        "duration": timeline.duration,
        "seconds": seconds,
        "decoding_seconds": decoding,
        "windows": len(timeline.probabilities),
        "megabytes": [round(max(memory[k : k + fifth])) for k in range(0, len(memory), fifth)],
    }
    print(
        f"{timeline.duration:.0f} s of video in {seconds:.0f} s ({timeline.duration / seconds:.1f} times real time), "
        f"decoding alone {decoding:.0f} s ({100 * decoding / seconds:.0f} %); "
        f"peak MB in each fifth: {', '.join(map(str, found['megabytes']))}"
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", nargs="+", required=True, help="videos or folders")
    parser.add_argument("--clips", type=int, default=48, help="number of videos that are read")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds")
    parser.add_argument("--minutes", type=float, help="measure a timeline of a video of this length instead")
    args = parser.parse_args()
    paths = list(find_inputs(args.input).videos)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before TensorFlow counts the cores
    start_tensorflow()
    if args.minutes is not None:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / f"long{paths[0].suffix}"
            join_copies(paths[0], target, 60 * args.minutes)
            print(json.dumps(measure_timeline(target)))
        return
    print(json.dumps({"calls": measure_calls(20), **measure_clips(paths[: args.clips], args.rounds)}))


if __name__ == "__main__":
    main()
