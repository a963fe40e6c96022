"""Search settings for training from scratch, on a few folds and seeds and by validation clips only.

    python benchmarks/recipe_search.py --data frames.npy --annotations labels.npy --network student \
        --split fold:3 --folds 1 --seeds 0 1 --output_path search -- --width 0.5 --input_size 56 --epochs 60

Arguments after `--` are passed to every training; CONFIGURATIONS lists the settings to try. Each training is a run of
Teacher_training.py or of KD_training.py --alpha 1; a finished one is not repeated. Prints a table, best configuration
first, and writes search_NETWORK.json, with all validation curves, and a figure of them. Test clips are not read.
"""

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import run_logged
from utils.base import argument_types, cli
from utils.base.array_files import open_array
from utils.base.drawing import Display, label, save_figure
from utils.data.folds import protocols
from utils.evaluation.tables import markdown_table

CONFIGURATIONS = {
    "published": "--initialisation random --schedule constant --learning_rate 1e-4 --clip_norm none --views 0",
    "random": "--initialisation random",
    "data": "",
    "random, no dropout": "--initialisation random --dropout 0",
    "data, no dropout": "--dropout 0",
    "data, half dropout": "--dropout 0.5",
    "data, no dropout, no views": "--dropout 0 --views 0",
    "data, no dropout, rate 1e-4": "--dropout 0 --learning_rate 1e-4",
    "data, no dropout, rate 1e-3": "--dropout 0 --learning_rate 1e-3",
    "random, no dropout, rate 1e-3": "--initialisation random --dropout 0 --learning_rate 1e-3",
    "data, no dropout, constant rate": "--dropout 0 --schedule constant",
    "data, no dropout, no clipping": "--dropout 0 --clip_norm none",
    "data, no dropout, decay 0.05": "--dropout 0 --weight_decay 0.05",
    "data, no dropout, batch 4": "--dropout 0 --batch_size 4",
}


def train(args: argparse.Namespace, name: str, fold: str, seed: int) -> np.ndarray:
    """Return the history of a training; run it first unless its folder holds one."""
    folder = args.output_path / "_".join([args.network, *name.split(), fold.replace("/", "-"), f"seed{seed}"])
    history = folder / "history.npy"
    if not history.is_file():
        command = ["Teacher_training.py"] if args.network == "teacher" else ["KD_training.py", "--alpha", "1"]
        command += ["--data", args.data, "--annotations", args.annotations, "--split", fold, "--seed", seed]
        command += ["--keep_going", "--output_path", folder / "model.keras", "--log_path", history.with_suffix("")]
        run_logged(folder / "output.txt", [*command, *args.common, *CONFIGURATIONS[name].split()])
    return np.load(history)


def main() -> None:
    own, common = sys.argv[1:], []
    if "--" in own:
        own, common = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = cli.ArgumentParser(__doc__.splitlines()[0])
    file, count = argument_types.existing_file, argument_types.positive_int
    folder, seed = argument_types.output_folder, argument_types.seed
    parser.add_argument("--data", type=file, required=True, help="frames.npy written by video_to_frames.py")
    parser.add_argument("--annotations", type=file, required=True, help="labels.npy next to it")
    parser.add_argument("--network", choices=["teacher", "student"], default="student", help="network to train")
    parser.add_argument(
        "--configurations", choices=list(CONFIGURATIONS), metavar="NAME", nargs="+", help="by default all"
    )
    parser.add_argument("--split", default="fold:3", help="folds, as in reproduce.py")
    parser.add_argument("--folds", type=count, nargs="+", help="numbers of the folds to use, by default all")
    parser.add_argument("--seeds", type=seed, nargs="+", default=[0], help="training seeds")
    parser.add_argument("--output_path", type=folder, default="search", help="output folder")
    args = parser.parse_args(own)
    args.common = common
    paths = open_array(args.data.with_name("video_file_paths.npy"), "--data")
    found = []
    for name in args.configurations or CONFIGURATIONS:
        curves = {}
        for fold in protocols(args.split, args.folds, paths=paths):
            for seed in args.seeds:
                history = train(args, name, fold, seed)
                curves[f"{fold} seed {seed}"] = [round(float(value), 4) for value in history["val_accuracy"]]
        best = float(np.mean([max(curve) for curve in curves.values()]))
        last = float(np.mean([np.mean(curve[-5:]) for curve in curves.values()]))
        entry = {"configuration": name, "settings": CONFIGURATIONS[name], "best": best, "last_five": last}
        found.append({**entry, "curves": curves})
        print(f"{name}: best epoch {100 * best:.1f} %, last five {100 * last:.1f} %", flush=True)
    found.sort(key=lambda entry: -entry["last_five"])

    rows = []
    for entry in found:
        runs = " ".join(f"{100 * np.mean(curve[-5:]):.0f}" for curve in entry["curves"].values())
        rows.append([entry["configuration"], *(f"{100 * entry[name]:.1f} %" for name in ("best", "last_five")), runs])
    header = [f"configuration ({args.network})", "best epoch", "last five epochs", "by run"]
    print(f"\n{markdown_table(header, rows)}")
    content = {"network": args.network, "common": args.common, "found": found}
    (args.output_path / f"search_{args.network}.json").write_text(json.dumps(content) + "\n")
    save_figure(ValidationCurves(found), args.output_path / f"search_{args.network}.png")


@dataclass(eq=False)
class ValidationCurves(Display):
    """A panel per configuration, best first: the validation accuracy of each run, and the five-epoch mean over runs.

    found: configurations with "last_five" (0..1) and "curves", the validation accuracies (0..1) by run.
    """

    found: list[dict]

    def new_axes(self):
        from matplotlib.figure import Figure

        columns = 4
        rows = max(math.ceil(len(self.found) / columns), 1)
        height = 0.9 + 2.1 * rows  # inches
        figure = Figure(figsize=(12, height))
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
        figure.subplots_adjust(
            left=0.06, right=0.99, bottom=0.5 / height, top=1 - 0.4 / height, hspace=0.45, wspace=0.08
        )
        figure.supxlabel("epoch")
        figure.supylabel("validation accuracy (%)")
        return panels

    def draw(self, ax) -> None:
        panels = np.ravel(ax)
        for axes in panels[len(self.found) :]:
            axes.axis("off")
        for entry, axes in zip(self.found, panels):
            for curve in entry["curves"].values():
                axes.plot(np.arange(1, len(curve) + 1), 100 * np.array(curve), color="0.75", linewidth=0.8)
            common = min(map(len, entry["curves"].values()))  # early stopping ends runs at different epochs
            mean = 100 * np.mean([curve[:common] for curve in entry["curves"].values()], axis=0)
            axes.plot(np.arange(5, common + 1), np.convolve(mean, np.full(5, 0.2), "valid")[: max(common - 4, 0)])
            axes.set(ylim=(0, 102))
            axes.set_title(f"{label(entry['configuration'], 32)}: {100 * entry['last_five']:.0f} %", fontsize=9)
            axes.grid(alpha=0.3)


if __name__ == "__main__":
    cli.run(main)
