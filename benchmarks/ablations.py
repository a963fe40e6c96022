"""What each part of distillation is worth: students that differ from reproduce.py's in one setting each.

    python reproduce.py --output_path results/synthetic --views 8 --seeds 0 1 2 ...
    python benchmarks/ablations.py --experiment results/synthetic --temperature 4 --alpha 0.1

Reads the arrays, the settings and the C3Ds of the experiment, on its first fold. Trains with each of its seeds a
student of that seed's C3D by the experiment's own settings, and one for each of ABLATIONS; a finished one is not
repeated. Prints a table of test accuracies with differences paired by seed, and writes ablations.json. Nothing is
chosen by this table.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.evaluation.intervals import Interval, over_runs, paired_over_runs
from utils.evaluation.tables import markdown_table
from utils.runtime.errors import UserError
from utils.runtime.files import read_json, write_json
from utils.settings import argument_types, cli

ROOT = Path(__file__).resolve().parents[1]

AS_IT_IS = "as in the experiment"
ABLATIONS = {
    AS_IT_IS: "",
    "answers alone": "--alpha 0",
    "alpha 0.5": "--alpha 0.5",
    "T 1": "--temperature 1",
    "T 10": "--temperature 10",
    "the whole clip alone": "--views 0",
    "24 views": "--views 24",
    "24 views, 72 epochs": "--views 24 --epochs 72",
    "teacher in every step": "--teacher live",
    "mean over time and picture": "--student compact3d_gap",
    "labels alone": "--alpha 1",
    "labels alone, 24 views, 72 epochs": "--alpha 1 --views 24 --epochs 72",
}
FROM_SETTINGS = ("split_seed", "student", "dropout", "batch_size", "learning_rate", "schedule", "clip_norm")
FROM_SETTINGS += ("initialisation", "weight_decay", "class_weights", "views", "view_seed")
IF_GIVEN = ("split_dir", "group_pattern", "labels_per_class", "patience")


def base_of(args, fold: str) -> list[str]:
    """The arguments of KD_training.py that train what the experiment trained, but for teacher, seed and output."""
    settings = read_json(args.experiment / "settings.json")
    data = Path(settings["data"] or args.experiment / "frames" / "frames.npy")
    found = ["--data", data, "--annotations", settings["annotations"] or data.with_name("labels.npy"), "--split", fold]
    found += ["--width", settings["student_width"], "--epochs", settings["student_epochs"]]
    found += ["--input_size", "x".join(map(str, settings["input_size"]))]
    for name in FROM_SETTINGS:
        found += [f"--{name}", "none" if settings[name] is None else settings[name]]
    for name in IF_GIVEN:
        found += [] if settings[name] is None else [f"--{name}", settings[name]]
    found += [] if settings["flip"] else ["--no_flip"]
    found += ["--temperature", args.temperature, "--alpha", args.alpha]
    return [str(part) for part in found]


def train_and_test(base: list[str], name: str, seed: int, teacher: Path, folder: Path) -> float:
    """The test accuracy of one student, which is trained and tested if that has not been done."""
    result = folder / "results.json"
    if not result.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        model = folder / "student.keras"
        kd = ["KD_training.py", *base, "--seed", str(seed), "--source", str(teacher)]
        kd += ["--output_path", str(model), "--log_path", str(folder / "history"), *ABLATIONS[name].split()]
        test = ["eval.py", *base[:4], "--recognizer", str(model), "--output_path", str(folder)]
        with open(folder / "output.txt", "w", encoding="utf-8") as output:
            for command in (kd, test):
                subprocess.run([sys.executable, *command], cwd=ROOT, check=True, stdout=output, stderr=output)
    return read_json(result)["recognizers"][0]["top1"]


def main() -> None:
    parser = cli.ArgumentParser(__doc__.splitlines()[0])
    parser.add_argument(
        "--experiment", type=argument_types.existing_folder, required=True, help="output of reproduce.py"
    )
    parser.add_argument(
        "--temperature", type=argument_types.positive_float, required=True, help="of the student that is varied"
    )
    parser.add_argument("--alpha", type=argument_types.share, required=True, help="of the student that is varied")
    parser.add_argument("--only", choices=list(ABLATIONS), nargs="+", help="some of them; by default all")
    parser.add_argument("--output_path", type=argument_types.output_folder, default="ablations")
    args = parser.parse_args()
    args.experiment, args.output_path = args.experiment.resolve(), args.output_path.resolve()
    with open(args.experiment / "results.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    lines = [line for line in lines if line["fold"] == lines[0]["fold"] and line["teacher"] == "scratch"]
    fold = lines[0]["fold"]
    cells = args.experiment / "cells"
    teachers = {
        int(line["seed"]): cells / line["cell"] / "teacher.keras" for line in lines if line["role"] == "teacher"
    }
    base, found = base_of(args, fold), {}
    require_settings(args.output_path, base)
    for name in args.only or ABLATIONS:
        found[name] = {}
        for seed, teacher in teachers.items():
            folder = args.output_path / "_".join([*name.split(), f"seed{seed}"])
            found[name][seed, fold] = train_and_test(base, name, seed, teacher, folder)
        if name == AS_IT_IS:
            require_equal(found[name], lines, args)
        print(f"{name}: " + " ".join(f"{100 * value:.1f}" for value in found[name].values()) + " %", flush=True)

    rows = []
    for name, values in found.items():
        change = "-"
        if AS_IT_IS in found and name != AS_IT_IS:
            change = shown(paired_over_runs(values, found[AS_IT_IS]), "+")
        rows.append([name, shown(over_runs(values)), change])
    print("\n" + markdown_table(["student", "test accuracy, % (95 % interval)", f"minus {AS_IT_IS}, points"], rows))
    accuracies = {name: list(values.values()) for name, values in found.items()}
    content = {"settings": base, "seeds": list(teachers), "test_accuracy": accuracies}
    write_json(args.output_path / "ablations.json", content)
    print(json.dumps(content))


def require_settings(folder: Path, base: list[str]) -> None:
    """Raises UserError if the folder holds students that vary another one."""
    path = folder / "settings.json"
    if path.is_file() and read_json(path) != base:
        raise UserError(f"--output_path: {folder} holds students of other settings (settings.json); name another")
    write_json(path, base)


def require_equal(found: dict, lines: list[dict], args) -> None:
    """Raises UserError if the unvaried students are not those that reproduce.py trained."""
    for (seed, _), accuracy in found.items():
        for line in lines:
            is_same = line["role"] == "distilled" and int(line["seed"]) == seed
            is_same = is_same and (float(line["temperature"]), float(line["alpha"])) == (args.temperature, args.alpha)
            if is_same and float(line["test_accuracy"]) != accuracy:
                raise UserError(
                    f"--experiment: its student of seed {seed} has {line['test_accuracy']} in the test, trained again "
                    f"{accuracy}; was it trained on another machine or number of cores?"
                )


def shown(interval: Interval, sign: str = "") -> str:
    """An interval of shares in percent."""
    text = f"{100 * interval.estimate:{sign}.1f}"
    if interval.low is None:
        return text
    return f"{text} ({100 * interval.low:{sign}.1f} to {100 * interval.high:{sign}.1f})"


if __name__ == "__main__":
    cli.run(main)
