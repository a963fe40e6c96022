"""Measure calibration on unseen groups, and how many clips of unknown classes the rejection threshold rejects.

    python benchmarks/rejection.py --data frames.npy --annotations labels.npy --known 6

The first --known classes are those of the recogniser, the others are unknown. Trains a student without a teacher on
each part of --split fold:N, which calibrates it on its validation clips, and tests it on the test clips of the part and
on all clips of the unknown classes. Finished runs are kept in --output_path. Prints a table with a row per
training and one for all of them, writes rejection.json, and prints its content as the last line.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import run_logged
from utils.base import argument_types, cli
from utils.base.errors import UserError

KNOWN, UNKNOWN = "known", "unknown"
HEADER = ["test", "accuracy", "validation clips", "temperature", "ECE", "ECE calibrated", "threshold"]
HEADER += ["known clips kept", "correct kept", "wrong rejected", "unknown rejected"]


def parse_arguments() -> argparse.Namespace:
    parser = cli.ArgumentParser(__doc__.splitlines()[0])
    existing, count = argument_types.existing_file, argument_types.positive_int
    parser.add_argument("--data", type=existing, required=True, help="frames.npy of all classes")
    parser.add_argument("--annotations", type=existing, required=True, help="labels.npy next to it")
    parser.add_argument("--known", type=count, default=6, help="number of classes that the recogniser has")
    parser.add_argument("--folds", type=count, default=3, help="parts of the cross-validation over groups")
    parser.add_argument("--epochs", type=count, default=40, help="epochs per training")
    parser.add_argument("--width", type=argument_types.positive_float, default=0.5, help="multiplier of the student")
    parser.add_argument("--input_size", type=argument_types.input_size, default=(56, 56), help="side in pixels")
    parser.add_argument("--output_path", type=argument_types.output_folder, default="rejection", help="output folder")
    return parser.parse_args()


def write_parts(args: argparse.Namespace) -> tuple[str, ...]:
    """Write the arrays of the known and of the unknown classes; return the names of all classes."""
    from utils.data.clips import open_clips

    dataset = open_clips(args.data, args.annotations)
    names = dataset.class_names
    if not 2 <= args.known < len(names) or dataset.paths is None:
        raise UserError(f"--known must be from 2 to {len(names) - 1} and --data have paths, got {args.known}")
    for part, rows in (
        (KNOWN, np.flatnonzero(dataset.labels < args.known)),
        (UNKNOWN, np.flatnonzero(dataset.labels >= args.known)),
    ):
        folder = args.output_path / part
        if not (folder / "video_file_paths.npy").exists():
            folder.mkdir(parents=True, exist_ok=True)
            np.save(folder / "frames.npy", np.stack([dataset.frames.read(row) for row in rows]))
            np.save(folder / "labels.npy", dataset.labels[rows] - (0 if part == KNOWN else args.known))
            np.save(folder / "video_file_paths.npy", dataset.paths[rows])
    return names


def arrays(args: argparse.Namespace, part: str) -> tuple[Path, Path]:
    return tuple(args.output_path / part / name for name in ("frames.npy", "labels.npy"))


def train(args: argparse.Namespace, fold: int) -> Path:
    """Train the student of a fold unless it exists; return its file."""
    name = f"w{args.width:g}_{argument_types.input_size_text(args.input_size)}_e{args.epochs}"
    model = args.output_path / f"fold{fold}of{args.folds}_{name}.keras"
    if not model.is_file():
        data, annotations = arrays(args, KNOWN)
        settings = ["--data", data, "--annotations", annotations, "--split", f"fold:{fold}/{args.folds}", "--alpha", 1]
        settings += ["--width", args.width, "--input_size", argument_types.input_size_text(args.input_size)]
        settings += ["--dropout", 0, "--epochs", args.epochs, "--batch_size", 8, "--learning_rate", 5e-4]
        run_logged(model.with_suffix(".txt"), ["KD_training.py", *settings, "--output_path", model])
    return model


def measure(args: argparse.Namespace, model: Path) -> dict[str, np.ndarray]:
    """Return labels `(n,)`, logits `(n, C)` with and without temperature, and which clips are kept."""
    from scipy.special import softmax

    from utils.data.clips import open_clips
    from utils.networks.recognizer import load_recognizer
    from utils.runs.calibration import recorded_calibration
    from utils.runs.records import recorded_split

    recognizer = load_recognizer(model, argument="--output_path")
    calibration = recorded_calibration(recognizer.record, what=str(model))
    known, unknown = (open_clips(*arrays(args, part)) for part in (KNOWN, UNKNOWN))
    rows = recorded_split(recognizer.record).test
    logits = recognizer.logits(known, rows).astype(np.float64)
    others = recognizer.logits(unknown, np.arange(len(unknown))).astype(np.float64)

    def kept(scores):
        return softmax(scores / calibration.temperature, axis=1).max(axis=1) >= calibration.threshold

    return {
        "labels": known.labels[rows],
        "logits": logits,
        "calibrated": logits / calibration.temperature,
        "kept": kept(logits),
        "unknown_kept": kept(others),
        "calibration": calibration.model_dump(),
    }


def summary(found: dict) -> dict:
    """Return the numbers of a row of the table, shares 0..1."""
    from utils.evaluation.metrics import accuracy, calibration_error, correct_predictions

    labels, logits, kept = found["labels"], found["logits"], found["kept"]
    correct = correct_predictions(labels, logits)
    return {
        "test_clips": len(labels),
        "unknown_clips": len(found["unknown_kept"]),
        "accuracy": accuracy(labels, logits),
        "calibration_error": calibration_error(labels, logits),
        "calibration_error_calibrated": calibration_error(labels, found["calibrated"]),
        "known_kept": float(kept.mean()),
        "correct_kept": float(kept[correct].mean()) if correct.any() else None,
        "wrong_rejected": float(1 - kept[~correct].mean()) if not correct.all() else None,
        "unknown_rejected": float(1 - found["unknown_kept"].mean()),
    }


def table_row(name: str, row: dict) -> list[str]:
    def percent(key):
        return "-" if row[key] is None else f"{100 * row[key]:.1f} %"

    calibration = row.get("calibration")
    shown = ["-", "-", "-"]
    if calibration:
        shown = [f"{calibration['clips']}", f"{calibration['temperature']:.2f}", f"{calibration['threshold']:.2f}"]
    errors = [percent("calibration_error"), percent("calibration_error_calibrated")]
    shares = [percent(key) for key in ("known_kept", "correct_kept", "wrong_rejected", "unknown_rejected")]
    return [name, percent("accuracy"), *shown[:2], *errors, shown[2], *shares]


def main() -> None:
    args = parse_arguments()
    args.output_path = args.output_path.resolve()
    cli.start_tensorflow()
    from utils.base.files import write_json
    from utils.evaluation.tables import markdown_table

    names = write_parts(args)
    found = [measure(args, train(args, fold)) for fold in range(1, args.folds + 1)]
    rows = {
        f"part {fold} of {args.folds}": summary(part) | {"calibration": part["calibration"]}
        for fold, part in enumerate(found, start=1)
    }
    keys = ("labels", "logits", "calibrated", "kept", "unknown_kept")
    rows["all"] = summary({key: np.concatenate([part[key] for part in found]) for key in keys})
    print(markdown_table(HEADER, [table_row(name, row) for name, row in rows.items()]))
    print(f"\nknown: {', '.join(names[: args.known])}; unknown: {', '.join(names[args.known :])}")
    results = {"known": names[: args.known], "unknown": names[args.known :], "rows": rows}
    write_json(args.output_path / "rejection.json", results)
    print(json.dumps(results))


if __name__ == "__main__":
    cli.run(main)
