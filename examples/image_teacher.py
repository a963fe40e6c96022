"""Train an image teacher, a linear probe on ImageNet features of a few frames, and write its scores for --source.

    python examples/image_teacher.py --data frames.npy --annotations labels.npy --output_path scores.npy
    python KD_training.py --data frames.npy --annotations labels.npy --source scores.npy

EfficientNet-Lite0 computes features of a few frames of each view of each clip. A logistic regression is fitted to the
features of the training clips. The outputs are scores.npy, log-probabilities `(N, views + 1, C)`, and
scores_cross_fitted.npy, in which each training clip is scored by a probe fitted to the training clips of other groups.
A .json next to each describes the clips, views and split, which KD_training.py compares with its own.
Requirements: pip install -r requirements-examples.txt
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from utils.settings import arguments, cli
from utils.settings.argument_types import output_scores, positive_int
from utils.settings.options import DataOptions, ViewOptions


def parse_arguments() -> argparse.Namespace:
    parser = cli.ArgumentParser(__doc__.splitlines()[0])
    arguments.add_data_arguments(parser)
    arguments.add_split_arguments(parser, default="auto")
    arguments.add_view_arguments(parser, views_help=arguments.VIEWS_HELP)
    teacher = parser.add_argument_group("teacher")
    teacher.add_argument("--frames", type=positive_int, default=4, help="frames per view; their features are averaged")
    teacher.add_argument("--side", type=positive_int, default=224, help="side of the images in pixels")
    teacher.add_argument("--input_frames", type=positive_int, default=16, help="frames of the student's input")
    teacher.add_argument("--output_path", type=output_scores, default="image_teacher/scores.npy", help="the scores")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    import numpy as np

    from examples.image_features import efficientnet_lite0, view_features
    from examples.linear_probe import choose_strength, cross_fitted_scores, fitted_scores
    from utils.data.loading import load
    from utils.splits.groups import groups_or_reason
    from utils.teachers.question import Question

    data = arguments.options_of(DataOptions, args)
    loaded = load(data, (args.input_frames, args.side, args.side, 3))
    dataset, split = loaded.dataset, loaded.split
    question = Question(loaded, arguments.options_of(ViewOptions, args))
    describe = efficientnet_lite0()
    features = view_features(describe, question, frames=args.frames, side=args.side, clip_frames=args.input_frames)

    labels, classes, train = dataset.labels, len(dataset.class_names), split.train
    strength = choose_strength(features, labels, split, classes)
    scores = fitted_scores(features, labels, split, classes, strength=strength)
    groups, _ = groups_or_reason(dataset.paths, args.group_pattern)
    keys = groups.keys if groups else np.arange(len(dataset)).astype(str)
    crossed = scores.copy()
    crossed[train] = cross_fitted_scores(
        features[train], labels[train], classes, keys=keys[train], strength=strength, seed=split.split_seed
    )
    about = {"teacher": "EfficientNet-Lite0, linear probe", "C": strength, "frames": args.frames, "side": args.side}
    write_scores(args.output_path, scores, question, about)
    write_scores(cross_fitted_path(args.output_path), crossed, question, about | {"cross_fitted": True})


def cross_fitted_path(path: Path) -> Path:
    """Return the path of the cross-fitted scores."""
    return path.with_name(f"{path.stem}_cross_fitted{path.suffix}")


def write_scores(path: Path, scores, question, about: dict) -> None:
    """Write a file of scores and the .json that KD_training.py reads, and print the accuracy on view 0."""
    import numpy as np

    from utils.networks.records import SETS, split_record
    from utils.runtime.files import write_json, written_beside

    correct = scores[:, 0].argmax(axis=1) == question.dataset.labels
    accuracy = {name: float(correct[getattr(question.split, name)].mean()) for name in SETS}
    with written_beside(path) as temporary, open(temporary, "wb") as file:
        np.save(file, scores)
    split = split_record(question.split)
    write_json(path.with_suffix(".json"), about | {"accuracy": accuracy, "key": question.key(), "split": split})
    print(f"wrote {path}: accuracy " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in accuracy.items()))


if __name__ == "__main__":
    cli.run(main)
