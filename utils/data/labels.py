"""Weights that make each class count alike, however many training clips it has."""

from dataclasses import replace

import numpy as np

from utils.data.clips import ClipDataset
from utils.splits.protocols import Split


def balanced_label_weights(labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Weight of each clip's label, float32 `(N,)`: n / (C n_c) for a clip of class c.

    n counts the labelled clips among the training `rows`, n_c those of class c, C the classes that have some; so the
    mean over labelled training clips is 1. `labels` int `(N,)` holds class numbers, or -1 for a clip without a label,
    which weighs 0, as does a class without training clips. The formula is that of scikit-learn's
    `class_weight="balanced"` (King & Zeng, Logistic Regression in Rare Events Data, 2001).
    """
    trained = labels[rows]
    trained = trained[trained >= 0]
    counts = np.bincount(trained, minlength=labels.max() + 1)
    weights = np.zeros(len(counts), np.float32)
    np.divide(len(trained), np.count_nonzero(counts) * counts, out=weights, where=counts > 0, casting="unsafe")
    return np.where(labels >= 0, weights[labels], np.float32(0))


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
