"""What a teacher costs its student: an epoch from stored answers, and one with the teacher in the step.

    python benchmarks/distillation.py          (about 15 minutes on 2 idle CPU cores)
    python benchmarks/distillation.py --short  (about 2 minutes; narrow networks, small pictures)

Trains the same student on the same made-up clips alone, from stored answers, and with the teacher in every step. Each
training is a process of its own; alone and from stored answers take turns, so that other work on the machine hits both.
Prints a table and, as its last line, JSON.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from utils.settings import argument_types, cli

ROLES = {
    "alone": "student alone",
    "answers": "the teacher answers, once",
    "cached": "student from stored answers",
    "live": "teacher in every step",
}
EPOCHS = 4  # of which the first, with its tracing, is not counted
SHORT = {"clips": 160, "input_size": (56, 56), "teacher_width": 0.25, "student_width": 0.25, "rounds": 2}


def parse_arguments() -> argparse.Namespace:
    parser = cli.ArgumentParser(__doc__.splitlines()[0])
    parser.add_argument(
        "--clips", type=argument_types.positive_int, default=240, help="made-up clips, of which 60 %% train"
    )
    parser.add_argument("--views", type=argument_types.non_negative_int, default=1, help="beside the whole clip")
    parser.add_argument(
        "--input_size", type=argument_types.input_size, default="112", help="SIDE or HEIGHTxWIDTH, pixels"
    )
    parser.add_argument(
        "--teacher_width", type=argument_types.positive_float, default=1.0, help="multiplies C3D's filters"
    )
    parser.add_argument(
        "--student_width", type=argument_types.positive_float, default=1.0, help="multiplies the student's filters"
    )
    parser.add_argument(
        "--rounds", type=argument_types.positive_int, default=3, help="of alone and from stored answers, in turn"
    )
    parser.add_argument("--short", action="store_true", help="narrow networks, small pictures")
    parser.add_argument("--role", choices=ROLES, help=argparse.SUPPRESS)  # for the processes that this one starts
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.short:
        vars(args).update(SHORT)
    return args


def make_arrays(folder: Path, clips: int, groups: int, size: tuple[int, int]) -> None:
    """Clips of noise of two classes, named like UCF101's."""
    import numpy as np

    folder.mkdir()
    rng = np.random.default_rng(0)
    names = [
        f"Class{label}/v_Class{label}_g{1 + clip % groups:02}_c{1 + clip // groups:02}.avi"
        for label in range(2)
        for clip in range(clips // 2)
    ]
    np.save(folder / "frames.npy", rng.integers(0, 256, (len(names), 16, *size, 3), np.uint8))
    np.save(folder / "labels.npy", np.repeat([0, 1], clips // 2))
    np.save(folder / "video_file_paths.npy", np.array(names))


def make_teacher(path: Path, args: argparse.Namespace) -> None:
    """A C3D with random weights: what it says does not matter here."""
    import keras

    from models.c3d import build_c3d
    from utils.networks.recognizer import save_model

    keras.utils.set_random_seed(0)
    save_model(build_c3d(2, input_shape=(16, *args.input_size, 3), width=args.teacher_width), path)


def play(args: argparse.Namespace) -> None:
    """One process: its role's seconds, and its peak memory, as a line of JSON."""
    cli.start_tensorflow()
    from utils import stages
    from utils.data.loading import load
    from utils.settings.options import (
        DataOptions,
        DistillationOptions,
        NetworkOptions,
        OutputOptions,
        TrainingOptions,
        ViewOptions,
    )
    from utils.teachers.question import Question
    from utils.teachers.targets import teacher_logits
    from utils.teachers.teacher import resolve_teachers

    arrays = args.folder / ("few" if args.role == "live" else "many")
    data = DataOptions(arrays / "frames.npy", arrays / "labels.npy")
    network = NetworkOptions(width=args.student_width, input_size=args.input_size)
    views = ViewOptions(views=args.views)
    source = args.folder / "teacher.keras"
    found = {}
    if args.role == "answers":
        distillation = DistillationOptions(source=source)
        teacher_logits(resolve_teachers(distillation), Question(load(data, network.input_shape), views), distillation)
    else:
        is_live = args.role == "live"
        distillation = DistillationOptions(
            source=None if args.role == "alone" else source,
            teacher_mode="live" if is_live else "cached",
            alpha=1.0 if args.role == "alone" else 0.1,
        )
        output = OutputOptions(args.folder / f"{args.role}.keras", args.folder / args.role, overwrite=True)
        spent = []
        for epochs in (1, 2 if is_live else EPOCHS):
            training = TrainingOptions(epochs=epochs, initialisation="random", keep_going=True)
            start = time.process_time()
            settings = {"data": data, "training": training, "network": network, "views": views}
            history = stages.train_student(**settings, distillation=distillation, output=output).history
            spent.append(time.process_time() - start)
        found = {name: history[name][1:].tolist() for name in ("seconds", "clips_per_second")}
        found["cpu_seconds"] = (spent[1] - spent[0]) / (epochs - 1)
    print(json.dumps({**found, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def run(role: str, args: argparse.Namespace, folder: Path) -> dict:
    """The last line of a process that plays `role`."""
    print(f"{ROLES[role]} ...", file=sys.stderr, flush=True)
    height, width = args.input_size
    settings = {
        "--role": role,
        "--folder": folder,
        "--views": args.views,
        "--input_size": f"{height}x{width}",
        "--teacher_width": args.teacher_width,
        "--student_width": args.student_width,
    }
    command = [sys.executable, __file__, *(str(part) for pair in settings.items() for part in pair)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])


def main() -> None:
    args = parse_arguments()
    if args.role:
        play(args)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_arrays(folder / "many", args.clips, 5, args.input_size)
        make_arrays(folder / "few", 40, 5, args.input_size)
        cli.start_tensorflow()
        make_teacher(folder / "teacher.keras", args)
        found = {"answers": [run("answers", args, folder)]}
        for _ in range(args.rounds):
            for role in ("alone", "cached"):
                found.setdefault(role, []).append(run(role, args, folder))
        found["live"] = [run("live", args, folder)]
    report(found)


def report(found: dict[str, list[dict]]) -> None:
    """The table, the ratios, and JSON."""
    from utils.evaluation.tables import markdown_table

    def median(role, name):
        return statistics.median(value for each in found[role] for value in each[name])

    rates = {role: median(role, "clips_per_second") for role in ("alone", "cached", "live")}
    pairs = list(zip(found["alone"], found["cached"]))
    ratios = [statistics.median(cached["seconds"]) / statistics.median(alone["seconds"]) for alone, cached in pairs]
    cpu_ratios = [cached["cpu_seconds"] / alone["cpu_seconds"] for alone, cached in pairs]
    summary = {
        "epoch_ratio": statistics.median(ratios),
        "epoch_ratios": ratios,
        "epoch_cpu_ratio": statistics.median(cpu_ratios),
        "epoch_cpu_ratios": cpu_ratios,
        "epoch_seconds": {role: median(role, "seconds") for role in ("alone", "cached")},
        "clips_per_second": rates,
        "live_step_ratio": rates["alone"] / rates["live"],
        "megabytes": {role: max(each["megabytes"] for each in runs) for role, runs in found.items()},
    }
    rows = [
        [
            name,
            f"{rates[role]:.1f}" if role in rates else "",
            f"{rates['alone'] / rates[role]:.2f}" if role in rates else "",
            f"{summary['megabytes'][role]:.0f}",
        ]
        for role, name in ROLES.items()
    ]
    print(markdown_table(["way", "training clips/s", "x the time of a step alone", "peak MB"], rows))
    print(
        f"\nAn epoch from stored answers, validation and the ratio of gradients included, takes "
        f"{summary['epoch_ratio']:.3f} times an epoch of the student alone (median of {len(ratios)} rounds: "
        f"{', '.join(f'{ratio:.3f}' for ratio in ratios)}; aim: at most 1.15). In CPU time, which other work on the "
        f"machine disturbs less: {summary['epoch_cpu_ratio']:.3f}."
    )
    print(json.dumps(summary))


if __name__ == "__main__":
    cli.run(main)
