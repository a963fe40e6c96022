"""Write the scores of a video network of torchvision for views that KD_training.py has written.

    python KD_training.py --data . --input_size 224 --write_views views
    python examples/torchvision_scores.py --views_path views --features_path features.npy
    python examples/image_teacher.py --data . --features features.npy

By default the network has its Kinetics-400 weights; image_teacher.py fits a probe on your classes to its features. The
logits of weights that were fine-tuned on the classes of your videos (--checkpoint FILE) are a --source of
KD_training.py.
Requirements: the packages that requirements-examples.txt names for this script.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from examples.written_views import (
    check_files,
    loading,
    make_parser,
    network_costs,
    predictor,
    require_size,
    write_scores,
)
from utils.base import cli
from utils.base.argument_types import existing_file

FRAMES = 16  # of mvit_v2_s; the other networks accept them as well


def parse_arguments() -> argparse.Namespace:
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument(
        "--model", default="mvit_v2_s", help="such as mvit_v2_s, swin3d_t (224x224) or r3d_18 (112x112)"
    )
    parser.add_argument(
        "--checkpoint", type=existing_file, help="state dict, with one output per line of classes.txt, in this order"
    )
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    check_files(args)
    with loading(args.model):
        from torchvision.models import get_model, get_model_weights

        weights = get_model_weights(args.model).DEFAULT
        if args.checkpoint is None:
            names, model = weights.meta["categories"], get_model(args.model, weights=weights)
        else:
            import torch

            names = (args.views_path / "classes.txt").read_text().splitlines()
            model = get_model(args.model, num_classes=len(names))
            model.load_state_dict(torch.load(args.checkpoint, map_location="cpu", weights_only=True))
    preset = weights.transforms()
    require_size(args.views_path, FRAMES, *preset.crop_size)

    def forward(clips):  # (B, T, 3, H, W)
        return model(clips.swapaxes(1, 2))  # (B, 3, T, H, W)

    costs = network_costs(model, forward, args.views_path)
    predict = predictor(model, forward, mean=preset.mean, deviation=preset.std)
    write_scores(args, predict, names, costs)


if __name__ == "__main__":
    cli.run(main)
