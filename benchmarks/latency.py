"""Latency per clip of Keras and of exported files, at batch 1, and the start-up time of predict.py.

    python benchmarks/latency.py                                   the full-width student, with random weights
    python benchmarks/latency.py --recognizer student.keras        a trained model

The model is exported to ONNX, OpenVINO and LiteRT in float32 and int8. int8 is calibrated on noise, which does not
affect speed. Each number of threads is measured in a process of its own, bound to that many cores. Rounds alternate
between all ways, so that other work on the machine slows all of them; medians are shown. The last line is JSON.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import in_turn
from utils.base.argument_types import existing_model, positive_int
from utils.base.devices import hardware, jit_compile, start_tensorflow
from utils.base.errors import UserError
from utils.base.machine import cores
from utils.evaluation.tables import markdown_table

ROOT = Path(__file__).resolve().parents[1]
CLASSES, INPUT_SHAPE = 101, (16, 112, 112, 3)
FILES = {  # exported files: format, precision, name in the table
    "net.onnx": ("onnx", "float32", "ONNX Runtime"),
    "net_int8.onnx": ("onnx", "int8", "ONNX Runtime, int8"),
    "net.xml": ("openvino", "float32", "OpenVINO"),
    "net_int8.xml": ("openvino", "int8", "OpenVINO, int8"),
    "net.tflite": ("litert", "float32", "LiteRT"),
    "net_int8.tflite": ("litert", "int8", "LiteRT, int8"),
}
CALLS = 4  # per round
REFERENCE = "Keras, `predict_on_batch`"


def new_model(source: Path | None):
    """Return the model of the file `source`, or a new student."""
    from utils.networks.recognizer import load_recognizer
    from utils.networks.student_builders import student_builder

    if source is not None:
        return load_recognizer(source, argument="--recognizer").model
    return student_builder("compact3d")(CLASSES, input_shape=INPUT_SHAPE)


def export(model, folder: Path) -> None:
    """Write a model as net.keras and as FILES."""
    from utils.base.export_options import ExportOptions
    from utils.base.prediction_options import PredictionOptions
    from utils.export.described import metadata_for
    from utils.export.writing import write_files
    from utils.networks.recognizer import Recognizer

    model.save(folder / "net.keras")
    recognizer = Recognizer(folder / "net.keras", model, None)
    metadata = metadata_for(recognizer, ExportOptions(output="logits"), PredictionOptions())
    names = {file: (kind, precision) for file, (kind, precision, _) in FILES.items()}
    calibration = noise(model.input_shape[1:], 4)
    write_files(model, names, folder, metadata=metadata, calibration=lambda: iter(calibration))


def noise(shape: tuple[int, ...], count: int) -> np.ndarray:
    """Return clips of noise, float32 `(count, *shape)`."""
    return np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.float32)


def ways_of(folder: Path, threads: int) -> tuple[dict[str, Callable], dict[str, Callable]]:
    """Return functions that compute the logits of one clip: those of the student, and those of a teacher."""
    from models.c3d import build_c3d
    from utils.networks.formats.opening import open_runtime
    from utils.networks.model_file import load_checked

    model = load_checked(folder / "net.keras")
    teacher = build_c3d(CLASSES, input_shape=INPUT_SHAPE)
    model.jit_compile = teacher.jit_compile = jit_compile()
    clip = noise(model.input_shape[1:], 1)
    ways = {
        "Keras, `predict`": lambda: model.predict(clip, verbose=0),
        REFERENCE: lambda: np.asarray(model.predict_on_batch(clip)),
    }
    for file, (_, _, name) in FILES.items():
        runtime = open_runtime(folder / file, threads=threads)
        ways[name] = lambda runtime=runtime: runtime(clip)
        if file == "net.xml":
            try:
                in_bfloat16 = open_runtime(folder / file, threads=threads, precision="bfloat16")
            except UserError as error:
                print(f"note: {error}", file=sys.stderr)
            else:
                ways[f"{name}, bfloat16"] = lambda runtime=in_bfloat16: runtime(clip)
    large = noise(INPUT_SHAPE, 1)
    return ways, {f"C3D teacher: {REFERENCE}": lambda: np.asarray(teacher.predict_on_batch(large))}


def milliseconds(way: Callable, calls: int) -> float:
    """Return the median time of `calls` calls in ms, after one call that is not timed."""
    times = []
    for _ in range(1 + calls):
        start = time.perf_counter()
        way()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[1:])


def measure(folder: Path, threads: int, rounds: int) -> dict[str, float]:
    """Return the median milliseconds per clip of each way in this process, which is bound to `threads` cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])  # before TensorFlow counts the cores
    start_tensorflow()
    ways, teachers = ways_of(folder, threads)
    timed = {name: lambda way=way: milliseconds(way, CALLS) for name, way in ways.items()}
    timed |= {name: lambda way=way: milliseconds(way, 1) for name, way in teachers.items()}
    return {name: statistics.median(found) for name, found in in_turn(timed, rounds).items()}


def printed_by(script: str, *arguments) -> str:
    """Return what a script of the project prints."""
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def measure_start(folder: Path, rounds: int) -> dict[str, float]:
    """Return the median seconds from the start of predict.py to its end, for one short video, by file."""
    import cv2

    video = folder / "video.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"mp4v"), 25, (320, 240))
    for frame in np.random.default_rng(0).integers(0, 256, (50, 240, 320, 3), np.uint8):
        writer.write(frame)
    writer.release()

    def seconds(file: str) -> float:
        start = time.perf_counter()
        printed_by("predict.py", "--recognizer", folder / file, "--input", video)
        return time.perf_counter() - start

    ways = {file: lambda file=file: seconds(file) for file in ("net.keras", "net.onnx", "net.xml", "net.tflite")}
    in_turn(ways, 1)
    return {file: statistics.median(found) for file, found in in_turn(ways, rounds).items()}


def show(results: dict[str, dict[str, float]], start: dict[str, float]) -> None:
    """Print the latencies by number of threads, and the start-up times."""
    columns = [f"ms, {threads} thread{'s' if threads != '1' else ''}" for threads in results]
    first = next(iter(results.values()))
    rows = []
    for name in first:
        ratio = first[REFERENCE] / first[name]
        rows.append([name, *(f"{found[name]:.1f}" for found in results.values()), f"{ratio:.2f}"])
    print(markdown_table(["way", *columns, "times as fast as `predict_on_batch`"], rows))
    print()
    rows = [[file, f"{seconds:.2f}"] for file, seconds in start.items()]
    print(markdown_table(["file", "seconds of predict.py"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recognizer", type=existing_model, help="a Keras model; by default a new student")
    parser.add_argument("--threads", type=positive_int, nargs="+", help="by default 1 and all cores")
    parser.add_argument("--rounds", type=positive_int, default=10, help="number of rounds")
    parser.add_argument("--measured", type=Path, help=argparse.SUPPRESS)  # exported files to measure in this process
    args = parser.parse_args()
    if args.measured is not None:
        print(json.dumps(measure(args.measured, args.threads[0], args.rounds)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "exported"
        folder.mkdir()
        start_tensorflow()
        export(new_model(args.recognizer), folder)
        results = {}
        for threads in dict.fromkeys(args.threads or (1, cores())):
            options = ["--threads", threads, "--rounds", args.rounds]
            printed = printed_by("benchmarks/latency.py", "--measured", folder, *options)
            results[str(threads)] = json.loads(printed.splitlines()[-1])
        start = measure_start(folder, min(args.rounds, 5))
    show(results, start)
    print(json.dumps({"hardware": hardware(), "milliseconds": results, "start_seconds": start}))


if __name__ == "__main__":
    main()
