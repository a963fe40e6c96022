"""Training labels: class weights, and subsets of labelled clips."""

import numpy as np

from utils.data.protocols import Split


def balanced_label_weights(labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return weights inversely proportional to class frequency: float32 `(N,)`, n / (C n_c) for a clip of class c.

    n is the number of labelled clips in the training `rows`, n_c the number of those in class c, and C the number of
    classes among them, so that the mean weight is 1. `labels` is int `(N,)`, with -1 for unlabelled clips. Unlabelled
    clips and classes without training clips get weight 0. This is the formula of scikit-learn's
    `class_weight="balanced"` (King & Zeng, Logistic Regression in Rare Events Data, 2001).
    """
    trained = labels[rows]
    trained = trained[trained >= 0]
    counts = np.bincount(trained, minlength=labels.max() + 1)
    weights = np.zeros(len(counts), np.float32)
    np.divide(len(trained), np.count_nonzero(counts) * counts, out=weights, where=counts > 0, casting="unsafe")
    return np.where(labels >= 0, weights[labels], np.float32(0))


def few_labels(labels: np.ndarray, split: Split, labels_per_class: int) -> np.ndarray:
    """Return labels int64 `(N,)` with at most `labels_per_class` labelled training clips per class; the others are -1.

    Which clips keep their labels depends only on the split and its seed. Validation and test clips keep their labels.
    """
    kept = labels.copy()
    for label in np.unique(labels).tolist():
        rows = split.train[labels[split.train] == label]
        order = np.random.default_rng([split.split_seed, label]).permutation(rows)
        kept[order[labels_per_class:]] = -1
    labelled = np.count_nonzero(kept[split.train] >= 0)
    print(f"labels: {labelled} of {len(split.train)} training clips, {labels_per_class} per class")
    return kept
