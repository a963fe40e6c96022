"""Measure how much accuracy remains when the frames of test clips are shuffled or reversed in time.

    python benchmarks/shuffled_frames.py --experiment demo

Tests the networks in the output folder of reproduce.py, each on its own test clips. Prints a table of accuracies (mean
over seeds and folds) and, as its last line, JSON.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import read_experiment
from utils.base import argument_types, cli

ORDERS = ("as filmed", "shuffled", "backwards")


def main() -> None:
    parser = cli.ArgumentParser(__doc__.splitlines()[0])
    existing = argument_types.existing_folder
    parser.add_argument("--experiment", type=existing, default="demo", help="output folder of reproduce.py")
    args = parser.parse_args()
    cli.start_tensorflow()
    import numpy as np

    from utils.data.clips import open_clips
    from utils.evaluation.metrics import accuracy
    from utils.evaluation.tables import markdown_table
    from utils.networks.recognizer import load_recognizer
    from utils.runs.records import recorded_split

    settings, data, annotations, lines = read_experiment(args.experiment)
    dataset, found = open_clips(data, annotations), {}
    for line in lines:
        (model_path,) = (args.experiment / "cells" / line["cell"]).glob("*.keras")
        recognizer = load_recognizer(model_path, argument="--experiment")
        rows = recorded_split(recognizer.record).test
        clips = dataset.view_zero(rows, recognizer.input_shape)
        shuffled = np.random.default_rng(0).permuted(np.tile(np.arange(clips.shape[1]), (len(clips), 1)), axis=1)
        shuffled = np.take_along_axis(clips, shuffled[:, :, None, None, None], axis=1)
        by_order = found.setdefault(line["recogniser"], {order: [] for order in ORDERS})
        for order, changed in zip(ORDERS, (clips, shuffled, clips[:, ::-1])):
            parts = np.array_split(changed, range(16, len(changed), 16))
            logits = np.concatenate([recognizer.model.predict_on_batch(part) for part in parts])
            by_order[order].append(accuracy(dataset.labels[rows], logits))
    means = {name: {order: float(np.mean(values)) for order, values in by.items()} for name, by in found.items()}
    rows = [[name, *(f"{100 * by[order]:.1f} %" for order in ORDERS)] for name, by in means.items()]
    print(markdown_table(["recogniser", *ORDERS], rows))
    print(f"\nchance {100 / len(dataset.class_names):.1f} %, seeds {' '.join(map(str, settings['seeds']))}")
    print(json.dumps(means))


if __name__ == "__main__":
    cli.run(main)
