"""The linear probe is fitted to training clips only, and cross-fitted scores come from probes of other groups."""

import numpy as np
import pytest

from examples.linear_probe import choose_strength, class_scores, cross_fitted_scores, fit_probe, fitted_scores
from utils.splits.protocols import Split

CLASSES, GROUPS, CLIPS, VIEWS = 3, 4, 5, 2


@pytest.fixture
def clips():
    """Features `(60, 3, 40)`, the first three of which separate the classes, labels, and groups of one class each."""
    rng = np.random.default_rng(0)
    labels = np.arange(CLASSES).repeat(GROUPS * CLIPS)
    keys = np.array([f"{label}/{clip // CLIPS}" for label in range(CLASSES) for clip in range(GROUPS * CLIPS)])
    features = rng.normal(size=(len(labels), VIEWS + 1, 40)).astype(np.float32)
    features[np.arange(len(labels)), :, labels] += 3
    return features, labels, keys


@pytest.fixture
def split(clips):
    """A split with one test group, one validation group and two training groups per class."""
    number = np.array([int(key[-1]) for key in clips[2]])
    rows = [np.flatnonzero(chosen) for chosen in (number < 2, number == 2, number == 3)]
    return Split("group", 0, *rows, notes=())


def right(scores, labels):
    return (scores[:, 0].argmax(axis=1) == labels).mean()


def test_scores_are_logarithms_of_probabilities(clips):
    """Otherwise the softmax of the scores, which a student reads as logits, would not be the probe's probabilities."""
    features, labels, _ = clips
    probe = fit_probe(features, labels, strength=0.01)
    scores = class_scores(probe, features, CLASSES)
    assert (scores.dtype, scores.shape) == (np.float32, (60, VIEWS + 1, CLASSES))
    expected = probe.predict_proba(features.reshape(-1, 40)).reshape(60, VIEWS + 1, CLASSES)
    np.testing.assert_allclose(np.exp(scores), expected, rtol=1e-4)


def test_two_classes_have_two_scores(clips):
    """Otherwise --source would reject the scores: scikit-learn returns one column for two classes."""
    features, labels, _ = clips
    two = labels < 2
    probe = fit_probe(features[two], labels[two], strength=0.01)
    scores = class_scores(probe, features[two], 2)
    np.testing.assert_allclose(np.exp(scores[:, 0]), probe.predict_proba(features[two, 0]), rtol=1e-4)


def test_unseen_classes_are_the_least_likely(clips):
    """Otherwise a fold without some class would give infinite scores or scores in wrong columns."""
    features, labels, _ = clips
    seen = labels != 1
    probe = fit_probe(features[seen], labels[seen], strength=0.01)
    scores = class_scores(probe, features, CLASSES)
    assert np.isfinite(scores).all()
    assert (scores.argmin(axis=-1)[seen] == 1).all() or (scores[..., 1] <= scores.min(axis=-1) + 1e-6).all()
    assert right(scores[seen], labels[seen]) > 0.9


def test_the_probe_is_fitted_to_training_clips_only(clips, split):
    """Otherwise test labels would leak into the teacher."""
    features, labels, _ = clips
    scores = fitted_scores(features, labels, split, CLASSES, strength=0.01)
    others = np.setdiff1d(np.arange(60), split.train)
    changed = labels.copy()
    changed[others] = (labels[others] + 1) % CLASSES
    np.testing.assert_array_equal(fitted_scores(features, changed, split, CLASSES, strength=0.01), scores)
    assert right(scores[split.test], labels[split.test]) > 0.8


def test_missing_features_give_nan(clips, split):
    """Otherwise views that were never computed would get scores."""
    features, labels, _ = clips
    features[split.test, 1:] = np.nan
    scores = fitted_scores(features, labels, split, CLASSES, strength=0.01)
    assert np.array_equal(np.isnan(scores).all(axis=-1), np.isnan(features).all(axis=-1))


def test_cross_fitted_scores_do_not_depend_on_the_groups_own_clips(clips):
    """Otherwise the teacher would be more confident on training clips than on new ones.

    On random features, a probe is perfect on its own clips and at chance on others. If the features of one group
    change, the scores of all clips change except those in the same fold.
    """
    features, labels, keys = clips
    noise = np.random.default_rng(1).normal(size=(60, VIEWS + 1, 200)).astype(np.float32)
    noise += np.random.default_rng(2).normal(size=(60, 1, 200)) * 3  # shared by the views of a clip
    settings = {"keys": keys, "strength": 0.1, "seed": 0}
    assert right(class_scores(fit_probe(noise, labels, strength=0.1), noise, CLASSES), labels) == 1
    assert right(cross_fitted_scores(noise, labels, CLASSES, **settings), labels) < 0.6

    scores = cross_fitted_scores(features, labels, CLASSES, **settings)
    assert np.isfinite(scores).all()
    assert right(scores, labels) > 0.8
    group = keys == "1/2"
    changed = features.copy()
    changed[group, :, 0] += 100  # affects every probe that is fitted to it
    after = cross_fitted_scores(changed, labels, CLASSES, **settings)
    unchanged = np.isclose(after, scores).all(axis=(1, 2))
    assert not unchanged[group].any()
    assert 0 < unchanged.sum() < 55  # only the other groups of this fold


def test_strength_is_chosen_on_validation_clips(clips, split):
    """Otherwise the teacher could be overconfident, and the student would learn that."""
    features, labels, _ = clips
    misleading = labels.copy()  # wrong on validation clips, so the strongest regularisation is best
    misleading[split.validation] = (labels[split.validation] + 1) % CLASSES
    assert choose_strength(features, misleading, split, CLASSES) == 1e-5
    assert choose_strength(features, labels, split, CLASSES) > 1e-4
