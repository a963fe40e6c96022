"""A teacher that knows pictures: ImageNet features of a few frames, a linear probe, and its scores for --source.

    python examples/image_teacher.py --data frames.npy --annotations labels.npy --output_path scores.npy
    python KD_training.py --data frames.npy --annotations labels.npy --source scores.npy

EfficientNet-Lite0 describes some frames of each view of each clip; a logistic regression learns the classes from the
training clips alone. Writes scores.npy, `(N, views + 1, C)` log-probabilities, and scores_cross_fitted.npy, the same
but for the training clips, each scored by a probe of the training clips of other groups. Beside each a .json says what
was asked, so that KD_training.py notices other clips, views or splits. pip install -r requirements-examples.txt
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from utils.settings import argument_types, arguments, cli
from utils.settings.options import DataOptions, ViewOptions


def parse_arguments() -> argparse.Namespace:
    parser = cli.ArgumentParser(__doc__.splitlines()[0])
    arguments.add_data_arguments(parser)
    arguments.add_split_arguments(parser, default="auto")
    arguments.add_view_arguments(parser, views_help="so many views of each training clip, beside the whole one")
    teacher = parser.add_argument_group("teacher")
    teacher.add_argument(
        "--frames", type=argument_types.positive_int, default=4, help="of each view, whose features are averaged"
    )
    teacher.add_argument(
        "--side", type=argument_types.positive_int, default=224, help="pixels, of the pictures it is shown"
    )
    teacher.add_argument(
        "--input_frames", type=argument_types.positive_int, default=16, help="frames of the student's input"
    )
    teacher.add_argument(
        "--output_path", type=argument_types.output_scores, default="image_teacher/scores.npy", help="scores"
    )
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
    """Where the scores by cross-fitting lie."""
    return path.with_name(f"{path.stem}_cross_fitted{path.suffix}")


def write_scores(path: Path, scores, question, about: dict) -> None:
    """Writes a file of scores, then the .json that KD_training.py reads, and prints how often view 0 is right."""
    import numpy as np

    from utils.networks.records import SETS, split_record
    from utils.runtime.files import write_json, written_beside

    right = scores[:, 0].argmax(axis=1) == question.dataset.labels
    accuracy = {name: float(right[getattr(question.split, name)].mean()) for name in SETS}
    with written_beside(path) as temporary, open(temporary, "wb") as file:
        np.save(file, scores)
    split = split_record(question.split)
    write_json(path.with_suffix(".json"), about | {"accuracy": accuracy, "key": question.key(), "split": split})
    print(f"wrote {path}: right for " + ", ".join(f"{100 * share:.1f} % of {name}" for name, share in accuracy.items()))


if __name__ == "__main__":
    cli.run(main)
