"""Train students that differ in one setting from a distilled student of reproduce.py, and compare their accuracies.

    python reproduce.py --output_path results/synthetic --views 8 --seeds 0 1 2 ...
    python benchmarks/ablations.py --experiment results/synthetic --temperature 4 --alpha 0.1

Uses the arrays, the settings and the C3D teachers of the experiment, on its first fold. For each seed, trains a student
with the settings of the experiment and one for each of ABLATIONS; finished students are not trained again. Prints test
accuracies, with differences paired by seed, and writes ablations.json. Do not choose settings by these accuracies.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import read_experiment, run_logged
from utils.base import argument_types, cli
from utils.base.errors import UserError
from utils.base.files import read_json, write_json
from utils.evaluation.intervals import Interval, over_runs, paired_over_runs
from utils.evaluation.tables import markdown_table

UNCHANGED = "none"
ABLATIONS = {
    UNCHANGED: "",
    "alpha 0 (no labels)": "--alpha 0",
    "alpha 0.5": "--alpha 0.5",
    "T 1": "--temperature 1",
    "T 10": "--temperature 10",
    "no augmented views": "--views 0",
    "24 views": "--views 24",
    "24 views, 72 epochs": "--views 24 --epochs 72",
    "live teacher": "--teacher live",
    "compact3d_gap": "--student compact3d_gap",
    "student alone": "--alpha 1",
    "student alone, 24 views, 72 epochs": "--alpha 1 --views 24 --epochs 72",
}
COPIED = ("split_seed", "student", "dropout", "batch_size", "learning_rate", "schedule", "clip_norm")
COPIED += ("initialisation", "weight_decay", "class_weights", "views", "view_seed")
COPIED_IF_SET = ("split_dir", "group_pattern", "labels_per_class", "patience")


def student_arguments(args, fold: str) -> list[str]:
    """Return the arguments of KD_training.py for the experiment's student, without teacher, seed and output."""
    settings, data, annotations, _ = read_experiment(args.experiment)
    found = ["--data", data, "--annotations", annotations, "--split", fold]
    found += ["--width", settings["student_width"], "--epochs", settings["student_epochs"]]
    found += ["--input_size", "x".join(map(str, settings["input_size"]))]
    for name in COPIED:
        found += [f"--{name}", "none" if settings[name] is None else settings[name]]
    for name in COPIED_IF_SET:
        found += [] if settings[name] is None else [f"--{name}", settings[name]]
    found += [] if settings["flip"] else ["--no_flip"]
    return [str(part) for part in (*found, "--temperature", args.temperature, "--alpha", args.alpha)]


def test_accuracy(base: list[str], name: str, seed: int, teacher: Path, folder: Path) -> float:
    """Return the test accuracy of a student; train and test it first unless its folder holds results."""
    result, model = folder / "metrics.json", folder / "student.keras"
    if not result.is_file():
        training = ["KD_training.py", *base, "--seed", seed, "--source", teacher, "--output_path", model]
        training += ["--log_path", folder / "history", *ABLATIONS[name].split()]
        test = ["eval.py", *base[:4], "--recognizer", model, "--output_path", folder]
        run_logged(folder / "output.txt", training, test)
    return read_json(result)["recognizers"][0]["top1"]


def main() -> None:
    parser = cli.ArgumentParser(__doc__.splitlines()[0])
    positive, existing = argument_types.positive_float, argument_types.existing_folder
    parser.add_argument("--experiment", type=existing, required=True, help="output folder of reproduce.py")
    parser.add_argument("--temperature", type=positive, required=True, help="temperature of the varied student")
    parser.add_argument("--alpha", type=argument_types.share, required=True, help="alpha of the varied student")
    parser.add_argument(
        "--only", choices=list(ABLATIONS), metavar="NAME", nargs="+", help="changes to train, by default all"
    )
    parser.add_argument("--output_path", type=argument_types.output_folder, default="ablations", help="output folder")
    args = parser.parse_args()
    args.experiment, args.output_path = args.experiment.resolve(), args.output_path.resolve()
    lines = read_experiment(args.experiment)[3]
    fold = lines[0]["fold"]
    lines = [line for line in lines if line["fold"] == fold and line["teacher"] == "scratch"]
    teachers = {int(line["seed"]): line["cell"] for line in lines if line["role"] == "teacher"}
    base, found = student_arguments(args, fold), {}
    path = args.output_path / "settings.json"
    if path.is_file() and read_json(path) != base:
        raise UserError(f"--output_path: {args.output_path} holds students with other settings; name another folder")
    write_json(path, base)
    for name in args.only or ABLATIONS:
        found[name] = {}
        for seed, cell in teachers.items():
            folder = args.output_path / "_".join([*name.split(), f"seed{seed}"])
            teacher = args.experiment / "cells" / cell / "teacher.keras"
            found[name][seed, fold] = test_accuracy(base, name, seed, teacher, folder)
        if name == UNCHANGED:
            require_equal(found[name], lines, args)
        print(f"{name}: " + " ".join(f"{100 * value:.1f}" for value in found[name].values()) + " %", flush=True)

    rows = []
    for name, values in found.items():
        is_compared = UNCHANGED in found and name != UNCHANGED
        change = percent(paired_over_runs(values, found[UNCHANGED]), "+") if is_compared else "-"
        rows.append([name, percent(over_runs(values)), change])
    print("\n" + markdown_table(["change", "test accuracy, % (95 % interval)", "minus unchanged, points"], rows))
    accuracies = {name: list(values.values()) for name, values in found.items()}
    content = {"settings": base, "seeds": list(teachers), "test_accuracy": accuracies}
    write_json(args.output_path / "ablations.json", content)
    print(json.dumps(content))


def require_equal(found: dict, lines: list[dict], args) -> None:
    """Raise UserError if the unvaried students do not have the accuracies of those of reproduce.py."""
    students = [line for line in lines if line["role"] == "distilled"]
    students = [s for s in students if (float(s["temperature"]), float(s["alpha"])) == (args.temperature, args.alpha)]
    expected = {int(student["seed"]): float(student["test_accuracy"]) for student in students}
    for (seed, _), accuracy in found.items():
        if expected.get(seed, accuracy) != accuracy:
            values = f"test accuracy {expected[seed]}, trained again {accuracy}"
            raise UserError(f"--experiment: its student of seed {seed} has {values}; was it trained on other hardware?")


def percent(interval: Interval, sign: str = "") -> str:
    """Return an interval of shares as percentages."""
    shares = (interval.estimate, interval.low, interval.high)
    estimate, low, high = (None if share is None else f"{100 * share:{sign}.1f}" for share in shares)
    return estimate if low is None else f"{estimate} ({low} to {high})"


if __name__ == "__main__":
    cli.run(main)
