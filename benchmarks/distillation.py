"""Measure the overhead of distillation with a cached teacher and with a live teacher.

    python benchmarks/distillation.py          (about 15 minutes on 2 idle CPU cores)
    python benchmarks/distillation.py --short  (about 2 minutes; narrow networks, small frames)

Trains the same student on the same clips of noise alone, on cached logits, and with the teacher in every step. Each
training is a separate process. Training alone and on cached logits take turns, so that other work on the machine slows
both. Prints a table and, as its last line, JSON.
"""

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import in_turn, printed_json, write_noise_clips
from utils.base import argument_types, cli

ROLES = {
    "alone": "student alone",
    "answers": "computing the teacher's logits, once",
    "cached": "cached teacher",
    "live": "live teacher",
}
EPOCHS = 4  # the first one includes tracing and is not counted
SHORT = {"clips": 160, "input_size": (56, 56), "teacher_width": 0.25, "student_width": 0.25, "rounds": 2}


def play(args: argparse.Namespace) -> None:
    """Perform the role of this process; print its seconds and peak memory as a line of JSON."""
    cli.start_tensorflow()
    from utils.base import options
    from utils.data.loading import load
    from utils.training.question import Question
    from utils.training.stages import train_student
    from utils.training.targets import teacher_logits
    from utils.training.teacher import resolve_teachers

    arrays = args.folder / ("few" if args.role == "live" else "many")
    data = options.DataOptions(arrays / "frames.npy", arrays / "labels.npy")
    network = options.NetworkOptions(width=args.student_width, input_size=args.input_size)
    views = options.ViewOptions(views=args.views)
    settings = {"alone": {"source": None, "alpha": 1.0}, "live": {"teacher_mode": "live"}}.get(args.role, {})
    distillation = options.DistillationOptions(**{"source": args.folder / "teacher.keras", **settings})
    found = {}
    if args.role == "answers":
        teacher_logits(resolve_teachers(distillation), Question(load(data, network.input_shape), views), distillation)
    else:
        output = options.OutputOptions(args.folder / f"{args.role}.keras", args.folder / args.role, overwrite=True)
        spent = []
        for epochs in (1, 2 if args.role == "live" else EPOCHS):
            training = options.TrainingOptions(epochs=epochs, initialisation="random", keep_going=True)
            settings = {"data": data, "training": training, "network": network, "views": views}
            start = time.process_time()
            history = train_student(**settings, distillation=distillation, output=output).history
            spent.append(time.process_time() - start)
        found = {name: history[name][1:].tolist() for name in ("seconds", "clips_per_second")}
        found["cpu_seconds"] = (spent[1] - spent[0]) / (epochs - 1)
    print(json.dumps({**found, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def run(role: str, args: argparse.Namespace, folder: Path) -> dict:
    """Perform a role in a separate process."""
    print(f"{ROLES[role]} ...", file=sys.stderr, flush=True)
    settings = {"role": role, "folder": folder, "input_size": "x".join(map(str, args.input_size))}
    settings |= {name: getattr(args, name) for name in ("views", "teacher_width", "student_width")}
    return printed_json(__file__, *(part for name, value in settings.items() for part in (f"--{name}", value)))


def main() -> None:
    parser = cli.ArgumentParser(__doc__.splitlines()[0])
    count, views = argument_types.positive_int, argument_types.non_negative_int
    width, size = argument_types.positive_float, argument_types.input_size
    parser.add_argument("--clips", type=count, default=240, help="number of clips; 60 %% of them train")
    parser.add_argument("--views", type=views, default=1, help="augmented views per clip, in addition to the original")
    parser.add_argument("--input_size", type=size, default="112", help="SIDE or HEIGHTxWIDTH, pixels")
    parser.add_argument("--teacher_width", type=width, default=1.0, help="multiplies the number of filters of C3D")
    parser.add_argument("--student_width", type=width, default=1.0, help="multiplies that of the student")
    parser.add_argument("--rounds", type=count, default=3, help="training runs alone and on cached logits")
    parser.add_argument("--short", action="store_true", help="narrow networks, small frames")
    parser.add_argument("--role", choices=ROLES, help=argparse.SUPPRESS)  # for the processes of `run`
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.short:
        vars(args).update(SHORT)
    if args.role:
        play(args)
        return
    cli.start_tensorflow()
    from models.c3d import build_c3d
    from utils.networks.recognizer import save_model

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for arrays, clips in (("many", args.clips), ("few", 40)):
            write_noise_clips(folder / arrays, classes=2, clips=clips // 2, size=args.input_size)
        teacher = build_c3d(2, input_shape=(16, *args.input_size, 3), width=args.teacher_width)
        save_model(teacher, folder / "teacher.keras")  # with random weights; its predictions do not matter
        ways = {role: partial(run, role, args, folder) for role in ROLES}
        found = {"answers": [ways["answers"]()]}
        found |= in_turn({role: ways[role] for role in ("alone", "cached")}, args.rounds)
        found["live"] = [ways["live"]()]
    report(found)


def report(found: dict[str, list[dict]]) -> None:
    """Print the table, the ratios and, as the last line, JSON."""
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
    rows = []
    for role, name in ROLES.items():
        speed = [f"{rates[role]:.1f}", f"{rates['alone'] / rates[role]:.2f}"] if role in rates else ["", ""]
        rows.append([name, *speed, f"{summary['megabytes'][role]:.0f}"])
    print(markdown_table(["run", "training clips/s", "step time / alone", "peak MB"], rows))
    print(
        f"\nAn epoch on cached logits, with validation and the ratio of gradients, takes {summary['epoch_ratio']:.3f} "
        f"times as long as an epoch of the student alone (median of {len(ratios)} rounds: "
        f"{', '.join(f'{ratio:.3f}' for ratio in ratios)}; aim: at most 1.15). In CPU time, which other work on the "
        f"machine disturbs less, it is {summary['epoch_cpu_ratio']:.3f} times."
    )
    print(json.dumps(summary))


if __name__ == "__main__":
    cli.run(main)
