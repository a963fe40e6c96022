"""Weights that make each class count alike, however many training clips it has."""

import numpy as np


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
