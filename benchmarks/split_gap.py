"""Measure how optimistic a random split is: a student tested on clips of known and of unknown sources.

    python benchmarks/split_gap.py --data frames.npy --annotations labels.npy

Trains the compact student from labels with `--split random` and with `--split group`, all else equal. Writes the
models, split_gap.json and split_gap.png to --output_path.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.base import argument_types, arguments, cli
from utils.base.options import DataOptions, DistillationOptions, NetworkOptions, OutputOptions, TrainingOptions

SPLITS = {"random": "random: sources on both sides", "group": "group: sources never seen"}


def main() -> None:
    parser = cli.ArgumentParser(__doc__.splitlines()[0])
    arguments.add_data_arguments(parser)
    arguments.add_training_arguments(parser, epochs=TrainingOptions.epochs)
    parser.set_defaults(epochs=20)
    arguments.add_model_arguments(parser)
    folder = argument_types.output_folder
    parser.add_argument("--output_path", type=folder, default="bench/split_gap", help="output folder")
    args = parser.parse_args()
    cli.start_tensorflow()
    from dataclasses import replace

    from utils.base.drawing import save_figure
    from utils.base.files import write_json
    from utils.evaluation.figures import AccuracyBars
    from utils.evaluation.run import evaluate
    from utils.training.stages import train_student

    data = arguments.options_of(DataOptions, args)
    folder, results = args.output_path, {}
    for split in SPLITS:
        output = OutputOptions(folder / f"student_{split}.keras", folder / f"history_{split}")
        train_student(
            data=replace(data, split=split),
            **arguments.settings_by_name(args, training=TrainingOptions, network=NetworkOptions),
            distillation=DistillationOptions(alpha=1.0),
            output=output,
        )
        tested = evaluate(replace(data, split=None), [output.output_path], output_path=folder / split)
        results[split] = tested["recognizers"][0]
    write_json(folder / "split_gap.json", results)
    bars = AccuracyBars(list(SPLITS.values()), [results[split]["interval"] for split in SPLITS])
    save_figure(bars, folder / "split_gap.png")
    for split, name in SPLITS.items():
        print(f"{name}: {100 * results[split]['top1']:.1f} % of {results[split]['clips']} test clips")


if __name__ == "__main__":
    cli.run(main)
