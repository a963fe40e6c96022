"""Training labels: class weights, and subsets of labelled clips."""

import numpy as np

from utils.splits.protocols import Split


def balanced_label_weights(labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Weights inversely proportional to class frequency, float32 `(N,)`: n / (C n_c) for a clip of class c.

    n is the number of labelled clips in the training `rows`, n_c of those in class c, C the number of classes among
    them, so that the mean weight is 1. `labels` is int `(N,)`, -1 for unlabelled clips, which get weight 0, as do
    classes without training clips. Same formula as scikit-learn's `class_weight="balanced"` (King & Zeng, Logistic
    Regression in Rare Events Data, 2001).
    """
    trained = labels[rows]
    trained = trained[trained >= 0]
    counts = np.bincount(trained, minlength=labels.max() + 1)
    weights = np.zeros(len(counts), np.float32)
    np.divide(len(trained), np.count_nonzero(counts) * counts, out=weights, where=counts > 0, casting="unsafe")
    return np.where(labels >= 0, weights[labels], np.float32(0))


def few_labels(labels: np.ndarray, split: Split, labels_per_class: int) -> np.ndarray:
    """Labels int64 `(N,)` with at most `labels_per_class` labelled training clips per class; the others get -1.

    Which clips keep their labels depends on the split's seed alone. Validation and test clips keep theirs.
    """
    kept = labels.copy()
    for label in np.unique(labels).tolist():
        rows = split.train[labels[split.train] == label]
        order = np.random.default_rng([split.split_seed, label]).permutation(rows)
        kept[order[labels_per_class:]] = -1
    labelled = np.count_nonzero(kept[split.train] >= 0)
    print(f"labels: {labelled} of {len(split.train)} training clips, {labels_per_class} per class")
    return kept
