"""Train an image teacher, a linear probe on ImageNet features of a few frames, and write its scores for --source.

    python examples/image_teacher.py --data . --output_path scores.npy
    python KD_training.py --data . --teacher scores.npy

EfficientNet-Lite0 computes features of a few frames of each view of each clip. A logistic regression is fitted to the
features of the labelled training clips. Its strength of regularisation is chosen by cross-validation over groups of
these clips, so the labels of validation clips are not used. The outputs have a row for each clip of --data and then of
--unlabelled:

    scores.npy                log-probabilities `(N, views + 1, C)`
    scores_cross_fitted.npy   the same, but a probe of other groups scores each labelled training clip

A .json next to each describes the clips, the views and the split, which KD_training.py compares with its own, and the
cost of the teacher per clip, which reproduce.py shows.
Requirements: pip install -r requirements-examples.txt
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from utils.base import arguments, cli
from utils.base.argument_types import existing_scores, output_scores, positive_int
from utils.base.options import DataOptions, ViewOptions
from utils.base.parser import ArgumentParser
from utils.runs.files import check_scores


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(__doc__.splitlines()[0])
    arguments.add_unlabelled_argument(arguments.add_data_arguments(parser))
    arguments.add_split_arguments(parser, default="auto")
    arguments.add_view_arguments(parser)
    teacher = parser.add_argument_group("teacher")
    teacher.add_argument(
        "--labels_per_class", type=positive_int, help="labelled clips per class, the same as in KD_training.py"
    )
    teacher.add_argument("--frames", type=positive_int, default=4, help="frames per view; their features are averaged")
    teacher.add_argument("--side", type=positive_int, default=224, help="side of the images in pixels")
    teacher.add_argument("--input_frames", type=positive_int, default=16, help="frames of the student's input")
    teacher.add_argument(
        "--features", type=existing_scores, help=".npy of another model's features, instead of EfficientNet-Lite0's"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--output_path", type=output_scores, default="image_teacher/scores.npy", help="the scores")
    arguments.add_overwrite_argument(output)
    return parser.parse_args()


def cross_fitted_path(path: Path) -> Path:
    """Return the file of the scores of a probe that was fitted to other groups."""
    return path.with_name(f"{path.stem}_cross_fitted{path.suffix}")


def main() -> None:
    args = parse_arguments()
    data = arguments.options_of(DataOptions, args)
    made = (args.output_path, cross_fitted_path(args.output_path))
    check_scores(args, [("--output_path", path) for path in made])
    from examples.image_features import efficientnet_lite0, efficientnet_lite0_cost, view_features
    from utils.runs.cost import cost_of_weights, stated_cost
    from utils.runs.loading import load
    from utils.training.exchange import read_features
    from utils.training.question import Question

    loaded = load(data, (args.input_frames, args.side, args.side, 3), args.unlabelled)
    question = Question(loaded, arguments.options_of(ViewOptions, args))
    if args.features:
        features = read_features(args.features, question, argument="--features")
        cost = stated_cost(args.features, argument="--features")
        write_teacher(features, question, args, cost, {"features": str(args.features)})
        return
    size = {"frames": args.frames, "side": args.side}
    features = view_features(efficientnet_lite0(), question, clip_frames=args.input_frames, **size)
    image = efficientnet_lite0_cost(args.side)
    cost = cost_of_weights(image.parameters, args.frames * image.multiply_accumulates)
    write_teacher(features, question, args, cost, {"features": "EfficientNet-Lite0", **size})


def write_teacher(features, question, args: argparse.Namespace, cost, about: dict) -> None:
    """Fit the probe to features `(N, views + 1, D)` of the labelled training clips and write both files of scores.

    cost: the `Cost` of the features of a clip, None if it is unknown.
    """
    import numpy as np

    from examples.torch_cost import linear_cost
    from utils.data.groups import groups_or_reason
    from utils.data.labels import few_labels
    from utils.runs.cost import total_cost
    from utils.training.linear_probe import choose_strength, cross_fitted_scores, fit_probe, fitted_scores

    dataset, split = question.dataset, question.split
    labels, classes, rows = dataset.labels, len(dataset.class_names), split.train
    if args.labels_per_class is not None:
        rows = rows[few_labels(labels, split, args.labels_per_class)[rows] >= 0]
    groups, _ = groups_or_reason(dataset.paths, args.group_pattern)
    keys = groups.keys if groups else np.arange(len(dataset)).astype(str)
    labelled = {"features": features[rows], "labels": labels[rows]}
    parts = {"keys": keys[rows], "seed": split.split_seed}
    strength = choose_strength(**labelled, class_count=classes, **parts)
    scores = fitted_scores(fit_probe(**labelled, strength=strength), features, classes)
    crossed = scores.copy()
    crossed[rows] = cross_fitted_scores(scores[rows], **labelled, strength=strength, **parts)
    about = {"teacher": "linear probe", "C": strength, "labels_per_class": args.labels_per_class, **about}
    if cost is not None:
        about["cost"] = total_cost([cost, linear_cost(features.shape[-1], classes)]).model_dump()
    write_scores(args.output_path, scores, question, about)
    path = cross_fitted_path(args.output_path)
    write_scores(path, crossed, question, about | {"cross_fitted": True})


def write_scores(path: Path, scores, question, about: dict) -> None:
    """Write a file of scores and its .json, and print the accuracy on view 0 of training and validation clips.

    Test clips are left out, because a teacher may be chosen by the printed accuracy.
    """
    import numpy as np

    from utils.base.files import write_json, written_beside
    from utils.runs.clips import RecordedSplit

    split, labels = question.split, question.dataset.labels
    correct = scores[: len(labels), 0].argmax(axis=1) == labels
    accuracy = {name: float(correct[getattr(split, name)].mean()) for name in ("train", "validation")}
    about |= {"accuracy": accuracy, "key": question.key(), "split": RecordedSplit.of(split).model_dump()}
    with written_beside(path) as temporary, open(temporary, "wb") as file:
        np.save(file, scores)
    write_json(path.with_suffix(".json"), about)
    print(f"wrote {path}: accuracy " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in accuracy.items()))


if __name__ == "__main__":
    cli.run(main)
