"""Which settings train from scratch: each configuration on a few folds and seeds, judged on validation clips alone.

    python benchmarks/recipe_search.py --data frames.npy --annotations labels.npy --network student \
        --split fold:3 --folds 1 --seeds 0 1 --output_path search -- --width 0.5 --input_size 56 --epochs 60

What follows `--` is passed to every training; CONFIGURATIONS lists what is tried. Each training is a run of
Teacher_training.py or of KD_training.py --alpha 1; a finished one is not repeated. Prints a table, best first, and
writes search_NETWORK.json, which holds every validation curve, and a picture of the curves. Test clips are not read.
"""

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.settings import argument_types, cli
from utils.splits.folds import protocols

ROOT = Path(__file__).resolve().parents[1]

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
    """The history of one training, which is run if it is not there."""
    folder = args.output_path / "_".join([args.network, *name.split(), fold.replace("/", "-"), f"seed{seed}"])
    history = folder / "history.npy"
    if not history.is_file():
        script = ["Teacher_training.py"] if args.network == "teacher" else ["KD_training.py", "--alpha", "1"]
        command = [sys.executable, *script, "--data", args.data, "--annotations", args.annotations, "--split", fold]
        command += ["--seed", seed, "--keep_going", "--output_path", folder / "model.keras"]
        command += ["--log_path", history.with_suffix(""), *args.common, *CONFIGURATIONS[name].split()]
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "output.txt", "w") as output:
            subprocess.run([str(part) for part in command], cwd=ROOT, check=True, stdout=output, stderr=output)
    return np.load(history)


def main() -> None:
    own, common = sys.argv[1:], []
    if "--" in own:
        own, common = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = cli.ArgumentParser(__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=lambda text: argument_types.existing_file(text).resolve(), required=True, help="frames.npy"
    )
    parser.add_argument(
        "--annotations", type=lambda text: argument_types.existing_file(text).resolve(), required=True, help="labels"
    )
    parser.add_argument("--network", choices=["teacher", "student"], default="student", help="what is trained")
    parser.add_argument("--configurations", choices=list(CONFIGURATIONS), nargs="+", help="by default all")
    parser.add_argument("--split", default="fold:3", help="folds as in reproduce.py")
    parser.add_argument("--folds", type=argument_types.positive_int, nargs="+", help="only these folds")
    parser.add_argument("--seeds", type=argument_types.seed, nargs="+", default=[0], help="one training each")
    parser.add_argument(
        "--output_path", type=lambda text: argument_types.output_folder(text).resolve(), default="search"
    )
    args = parser.parse_args(own)
    args.common = common
    paths = np.load(args.data.with_name("video_file_paths.npy"))
    found = []
    for name in args.configurations or CONFIGURATIONS:
        curves = {}
        for fold in protocols(args.split, args.folds, paths=paths):
            for seed in args.seeds:
                history = train(args, name, fold, seed)
                curves[f"{fold} seed {seed}"] = [round(float(value), 4) for value in history["val_accuracy"]]
        best = [max(curve) for curve in curves.values()]
        last = [float(np.mean(curve[-5:])) for curve in curves.values()]
        found.append(
            {
                "configuration": name,
                "settings": CONFIGURATIONS[name],
                "best": float(np.mean(best)),
                "last_five": float(np.mean(last)),
                "curves": curves,
            }
        )
        print(f"{name}: best epoch {100 * np.mean(best):.1f} %, last five {100 * np.mean(last):.1f} %", flush=True)
    found.sort(key=lambda entry: -entry["last_five"])

    print(f"\n| configuration ({args.network}) | best epoch | last five epochs | by run |\n|---|---:|---:|---|")
    for entry in found:
        runs = " ".join(f"{100 * np.mean(curve[-5:]):.0f}" for curve in entry["curves"].values())
        print(f"| {entry['configuration']} | {100 * entry['best']:.1f} % | {100 * entry['last_five']:.1f} % | {runs} |")
    content = {"network": args.network, "common": common, "found": found}
    (args.output_path / f"search_{args.network}.json").write_text(json.dumps(content) + "\n")
    figure = draw(found)
    figure.savefig(args.output_path / f"search_{args.network}.png", dpi=80, bbox_inches="tight")


def draw(found: list[dict]):
    """A panel for each configuration, best first: its runs, thin, and the mean of the runs over five epochs."""
    from matplotlib import pyplot as plt

    columns = 4
    rows = math.ceil(len(found) / columns)
    figure, panels = plt.subplots(rows, columns, figsize=(12, 0.5 + 2.1 * rows), sharey=True, squeeze=False)
    for axes in panels.flat[len(found) :]:
        axes.axis("off")
    for entry, axes in zip(found, panels.flat):
        curves = 100 * np.array(list(entry["curves"].values()))
        epochs = np.arange(1, curves.shape[1] + 1)
        axes.plot(epochs, curves.T, color="0.75", linewidth=0.8)
        axes.plot(epochs[4:], np.convolve(curves.mean(axis=0), np.full(5, 0.2), "valid"))
        axes.set(title=f"{entry['configuration']}: {100 * entry['last_five']:.0f} %", ylim=(0, 102))
        axes.title.set_fontsize(9)
        axes.grid(alpha=0.3)
    figure.supxlabel("epoch")
    figure.supylabel("validation accuracy (%)")
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    cli.run(main)
