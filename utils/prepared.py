"""Arrays opened, checked and divided: what every stage after the first begins with."""

import json
from dataclasses import replace

import numpy as np

from utils.clips import ClipDataset, open_clips
from utils.errors import UserError
from utils.groups import Groups, read_groups
from utils.options import DataOptions
from utils.run_log import log_only
from utils.splits import Split, make_split


def open_data(data: DataOptions, input_shape: tuple[int, int, int, int]) -> tuple[ClipDataset, Split]:
    """Opens the arrays, divides them, and says what was found. Raises UserError if the clips are too short."""
    dataset = open_clips(data.data, data.annotations, data.paths)
    check_length(data, dataset, input_shape)
    clips, length, height, width, _ = dataset.frames.shape
    split = split_of(data, dataset)
    print(f"{clips} clips of {length} frames {height}x{width} (HxW) in {len(dataset.class_names)} classes: {data.data}")
    print(
        f"split {split.protocol}: {len(split.train)} train, {len(split.validation)} validation, {len(split.test)} test"
    )
    log_only(f"arrays: {json.dumps(dataset.fingerprint())}")
    for note in split.notes:
        print(f"note: {note}")
    return dataset, split


def check_length(data: DataOptions, dataset: ClipDataset, input_shape: tuple[int, int, int, int]) -> None:
    """Raises UserError if the stored clips have fewer frames than a model takes."""
    if dataset.frames.shape[1] < input_shape[0]:
        raise UserError(
            f"--data: {data.data} holds clips of {dataset.frames.shape[1]} frames, the model takes {input_shape[0]}"
        )


def split_of(data: DataOptions, dataset: ClipDataset) -> Split:
    """The split that `data` names, of `dataset`."""
    return make_split(
        dataset.labels,
        dataset.paths,
        class_names=dataset.class_names,
        protocol=data.split,
        split_seed=data.split_seed,
        group_pattern=data.group_pattern,
        split_dir=data.split_dir,
    )


def known_groups(dataset: ClipDataset, group_pattern: str | None) -> Groups | None:
    """The groups that the clips' names show, or None."""
    try:
        return read_groups(dataset.paths, group_pattern) if dataset.paths is not None else None
    except UserError:
        if group_pattern is not None:
            raise
        return None


def with_few_labels(
    dataset: ClipDataset, split: Split, labels_per_class: int, *, keep_unlabelled: bool
) -> tuple[Split, np.ndarray]:
    """The split and labels int64 `(N,)` if only so many training clips of each class are labelled; the others get -1.

    Who keeps a label is a function of the split's seed. Validation and test keep theirs. Without `keep_unlabelled` the
    unlabelled clips leave the training rows.
    """
    labels = dataset.labels.copy()
    for label in range(len(dataset.class_names)):
        rows = split.train[dataset.labels[split.train] == label]
        order = np.random.default_rng([split.split_seed, label]).permutation(rows)
        labels[order[labels_per_class:]] = -1
    labelled = split.train[labels[split.train] >= 0]
    print(f"labels: {len(labelled)} of {len(split.train)} training clips, {labels_per_class} a class")
    return (split if keep_unlabelled else replace(split, train=labelled)), labels
