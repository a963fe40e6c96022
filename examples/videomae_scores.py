"""Write the scores of a VideoMAE network (Hugging Face transformers) for views that KD_training.py has written.

    python KD_training.py --data . --input_size 224 --write_views views
    python examples/videomae_scores.py --views_path views --features_path features.npy
    python examples/image_teacher.py --data . --features features.npy

The default network has the 400 classes of Kinetics; image_teacher.py fits a probe on your classes to its features. The
logits of a network that was fine-tuned on the classes of your videos (--model FOLDER) are a --source of KD_training.py.
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


def parse_arguments() -> argparse.Namespace:
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument(
        "--model",
        default="MCG-NJU/videomae-base-finetuned-kinetics",
        help="name on the Hugging Face hub, or a folder of save_pretrained",
    )
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    check_files(args)
    with loading(args.model):
        from transformers import VideoMAEForVideoClassification, VideoMAEImageProcessor

        model = VideoMAEForVideoClassification.from_pretrained(args.model)
        processor = VideoMAEImageProcessor.from_pretrained(args.model)
    config = model.config
    require_size(args.views_path, config.num_frames, config.image_size, config.image_size)

    def forward(clips):  # (B, T, 3, H, W)
        return model(pixel_values=clips).logits

    costs = network_costs(model, forward, args.views_path)
    predict = predictor(model, forward, mean=processor.image_mean, deviation=processor.image_std)
    write_scores(args, predict, [config.id2label[number] for number in range(config.num_labels)], costs)


if __name__ == "__main__":
    cli.run(main)
