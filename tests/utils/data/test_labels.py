"""Class weights, as in scikit-learn and for the training loss only, and subsets of labelled clips."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.utils.class_weight import compute_sample_weight

from models.distiller import DistillationLoss, Distiller
from utils.base.options import DataOptions, TrainingOptions
from utils.data.batches import RowReader
from utils.data.labels import balanced_label_weights, few_labels
from utils.data.protocols import Split
from utils.runs.loading import load
from utils.training.fit import fit

LABELS = np.array([0] * 10 + [1] * 4 + [2] * 2 + [0, 1, 2, 2])
SPLIT = Split("random", 0, np.arange(16), np.arange(16, 20), np.array([], np.int64), ())
OPTIONS = TrainingOptions(batch_size=16, epochs=1, learning_rate=1e-12, schedule="constant", class_weights="balanced")


def test_weights_equal_those_of_scikit_learn():
    """Results can be compared with the literature only if "balanced" means the same."""
    weights = balanced_label_weights(LABELS, SPLIT.train)
    np.testing.assert_allclose(weights[:16], compute_sample_weight("balanced", LABELS[:16]), rtol=1e-6)
    assert weights[:16].mean() == pytest.approx(1)
    assert weights.dtype == np.float32


def test_unlabelled_clips_have_no_weight():
    """Weights are computed from labelled clips; -1 must not count as the last class."""
    labels = LABELS.copy()
    labels[1:8] = -1
    weights = balanced_label_weights(labels, SPLIT.train)
    kept = np.flatnonzero(labels[:16] >= 0)
    np.testing.assert_allclose(weights[kept], compute_sample_weight("balanced", labels[kept]), rtol=1e-6)
    assert (weights[1:8] == 0).all()


def test_a_class_without_training_clips_has_weight_0():
    weights = balanced_label_weights(np.array([0, 0, 1, 2]), np.array([0, 1, 2]))
    np.testing.assert_allclose(weights, [0.75, 0.75, 1.5, 0])


def fitted_history(distil, options):
    """Return inputs and the history of an epoch without updates, in which the logits are the inputs."""
    inputs = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    layer = keras.layers.Dense(3, use_bias=False, kernel_initializer="identity")
    model = keras.Sequential([keras.Input((3,)), layer])
    source = RowReader(lambda rows, _: inputs[rows], (3,), np.float32)
    return inputs, fit(Distiller(model, alpha=1.0) if distil else model, source, SPLIT, {"labels": LABELS}, options)


@pytest.mark.parametrize("distil", [False, True], ids=["teacher", "student"])
def test_weights_apply_to_the_training_loss_and_not_to_the_validation_loss(distil):
    """Weighted validation losses could not be compared between runs."""
    logits, history = fitted_history(distil, OPTIONS)
    losses = -log_softmax(logits, axis=1)[np.arange(20), LABELS]
    expected = np.mean(losses[:16] * compute_sample_weight("balanced", LABELS[:16]))
    assert history["loss"][0] == pytest.approx(expected, rel=1e-5)
    assert history["val_loss"][0] == pytest.approx(losses[16:].mean(), rel=1e-5)
    assert abs(expected - losses[:16].mean()) > 0.01
    _, plain = fitted_history(distil, replace(OPTIONS, class_weights="none"))
    assert plain["loss"][0] == pytest.approx(losses[:16].mean(), rel=1e-5)
    assert plain["accuracy"][0] == history["accuracy"][0]


def test_the_soft_term_is_not_weighted():
    """Teacher logits are equally informative for clips of frequent and of rare classes."""
    rng = np.random.default_rng(1)
    teacher, student = rng.normal(size=(2, 4, 3))
    targets = {"labels": np.array([0, 1, 2, 0]), "teacher_logits": teacher}
    weights = np.array([0.5, 1.0, 3.0, 0.5])

    def loss(alpha, **more):
        return float(DistillationLoss(3.0, alpha, dtype="float64")(targets | more, student))

    assert loss(0.0, label_weights=weights) == loss(0.0)
    hard = -log_softmax(student, axis=1)[np.arange(4), targets["labels"]]
    assert loss(0.3, label_weights=weights) == pytest.approx(0.3 * np.mean(weights * hard) + 0.7 * loss(0.0))


@pytest.fixture
def labels_and_split(make_arrays):
    folder = make_arrays(height=32, width=32, groups=6)
    loaded = load(DataOptions(folder / "frames.npy", folder / "labels.npy"), (16, 32, 32, 3))
    return loaded.dataset.labels, loaded.split


def test_few_labels_are_always_the_same_clips(labels_and_split):
    """Students with 2 labels per class can be compared only if they have the same labels."""
    labels, split = labels_and_split
    few = few_labels(labels, split, 2)
    np.testing.assert_array_equal(few, few_labels(labels, split, 2))
    labelled = split.train[few[split.train] >= 0]
    assert np.bincount(labels[labelled]).tolist() == [2, 2, 2]
    np.testing.assert_array_equal(few[labelled], labels[labelled])
    held_out = np.concatenate([split.validation, split.test])
    np.testing.assert_array_equal(few[held_out], labels[held_out])
    assert labels.min() == 0  # the dataset keeps its labels
    assert not np.array_equal(few, few_labels(labels, replace(split, split_seed=9), 2))
    fewer = few_labels(labels, split, 1)
    assert (few[split.train][fewer[split.train] >= 0] >= 0).all()  # the clip of 1 label per class is one of the 2


def test_more_labels_than_clips_keep_all_labels(labels_and_split):
    labels, split = labels_and_split
    np.testing.assert_array_equal(few_labels(labels, split, 99), labels)
