"""How much a random split flatters: one student, trained alone, tested on clips of known and of unknown sources.

    python benchmarks/split_gap.py --data frames.npy --annotations labels.npy

Trains the compact student from labels by `--split random` and by `--split group`, all else equal, and writes the
models, split_gap.json and split_gap.png to --output_path.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from utils.settings import argument_types, arguments, cli
from utils.settings.options import DataOptions, DistillationOptions, NetworkOptions, OutputOptions, TrainingOptions

SPLITS = {"random": "random: sources on both sides", "group": "group: sources never seen"}


def parse_arguments() -> argparse.Namespace:
    parser = cli.ArgumentParser(__doc__.splitlines()[0])
    arguments.add_data_arguments(parser)
    arguments.add_training_arguments(parser, epochs=TrainingOptions.epochs)
    parser.set_defaults(epochs=20)
    arguments.add_model_arguments(parser)
    parser.add_argument(
        "--output_path", type=argument_types.output_folder, default="bench/split_gap", help="folder for the results"
    )
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    cli.start_tensorflow()
    from dataclasses import replace

    from utils import stages
    from utils.evaluation.figures import AccuracyBars
    from utils.runtime.drawing import save_figure
    from utils.runtime.files import write_json

    data = arguments.options_of(DataOptions, args)
    folder, results = args.output_path, {}
    for split in SPLITS:
        output = OutputOptions(folder / f"student_{split}.keras", folder / f"history_{split}")
        stages.train_student(
            data=replace(data, split=split),
            **arguments.settings_by_name(args, training=TrainingOptions, network=NetworkOptions),
            distillation=DistillationOptions(alpha=1.0),
            output=output,
        )
        tested = stages.evaluate(replace(data, split=None), [output.output_path], output_path=folder / split)
        results[split] = tested["recognizers"][0]
    write_json(folder / "split_gap.json", results)
    intervals = [results[split]["interval"] for split in SPLITS]
    save_figure(AccuracyBars(list(SPLITS.values()), intervals), folder / "split_gap.png")
    for split, name in SPLITS.items():
        print(f"{name}: {100 * results[split]['top1']:.1f} % of {results[split]['clips']} test clips")


if __name__ == "__main__":
    cli.run(main)
