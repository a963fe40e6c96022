"""The probe of the image teacher: what it learns from, and that cross-fitted scores are by probes of other groups."""

import numpy as np
import pytest

from examples.linear_probe import choose_strength, class_scores, cross_fitted_scores, fit_probe, fitted_scores
from utils.splits.protocols import Split

CLASSES, GROUPS, CLIPS, VIEWS = 3, 4, 5, 2


@pytest.fixture
def clips():
    """Features `(60, 3, 40)` whose first three tell the class, labels, and groups that are as in UCF: of one class."""
    rng = np.random.default_rng(0)
    labels = np.arange(CLASSES).repeat(GROUPS * CLIPS)
    keys = np.array([f"{label}/{clip // CLIPS}" for label in range(CLASSES) for clip in range(GROUPS * CLIPS)])
    features = rng.normal(size=(len(labels), VIEWS + 1, 40)).astype(np.float32)
    features[np.arange(len(labels)), :, labels] += 3
    return features, labels, keys


@pytest.fixture
def split(clips):
    """The last group of each class for test, the one before for validation."""
    number = np.array([int(key[-1]) for key in clips[2]])
    rows = [np.flatnonzero(chosen) for chosen in (number < 2, number == 2, number == 3)]
    return Split("group", 0, *rows, notes=())


def right(scores, labels):
    return (scores[:, 0].argmax(axis=1) == labels).mean()


def test_scores_are_logarithms_of_probabilities(clips):
    """A student reads them as logits: their softmax must be the probe's own probabilities."""
    features, labels, _ = clips
    probe = fit_probe(features, labels, strength=0.01)
    scores = class_scores(probe, features, CLASSES)
    assert (scores.dtype, scores.shape) == (np.float32, (60, VIEWS + 1, CLASSES))
    expected = probe.predict_proba(features.reshape(-1, 40)).reshape(60, VIEWS + 1, CLASSES)
    np.testing.assert_allclose(np.exp(scores), expected, rtol=1e-4)


def test_two_classes_have_two_scores(clips):
    """scikit-learn gives one column for two classes, which would be a wrong shape for --source."""
    features, labels, _ = clips
    two = labels < 2
    probe = fit_probe(features[two], labels[two], strength=0.01)
    scores = class_scores(probe, features[two], 2)
    np.testing.assert_allclose(np.exp(scores[:, 0]), probe.predict_proba(features[two, 0]), rtol=1e-4)


def test_a_class_that_was_not_seen_is_the_least_likely(clips):
    """A fold may lack a class; scores must stay finite and in the columns of their classes."""
    features, labels, _ = clips
    seen = labels != 1
    probe = fit_probe(features[seen], labels[seen], strength=0.01)
    scores = class_scores(probe, features, CLASSES)
    assert np.isfinite(scores).all()
    assert (scores.argmin(axis=-1)[seen] == 1).all() or (scores[..., 1] <= scores.min(axis=-1) + 1e-6).all()
    assert right(scores[seen], labels[seen]) > 0.9


def test_only_training_clips_are_learnt_from(clips, split):
    """Test accuracy would mean nothing if the teacher had learnt test labels."""
    features, labels, _ = clips
    scores = fitted_scores(features, labels, split, CLASSES, strength=0.01)
    others = np.setdiff1d(np.arange(60), split.train)
    changed = labels.copy()
    changed[others] = (labels[others] + 1) % CLASSES
    np.testing.assert_array_equal(fitted_scores(features, changed, split, CLASSES, strength=0.01), scores)
    assert right(scores[split.test], labels[split.test]) > 0.8


def test_what_was_not_asked_stays_nan(clips, split):
    """Views of test clips are never computed; a made-up score there would hide it."""
    features, labels, _ = clips
    features[split.test, 1:] = np.nan
    scores = fitted_scores(features, labels, split, CLASSES, strength=0.01)
    assert np.array_equal(np.isnan(scores).all(axis=-1), np.isnan(features).all(axis=-1))


def test_cross_fitted_scores_know_nothing_of_the_clips_group(clips):
    """A probe that has seen a clip, or another of its video, is surer than it will be of new ones.

    Of features that are noise a probe knows its own clips by heart, and is at chance on others. Where the features of
    one group change, so do the scores of all clips whose probe has seen it: all but those of its own fold.
    """
    features, labels, keys = clips
    noise = np.random.default_rng(1).normal(size=(60, VIEWS + 1, 200)).astype(np.float32)
    noise += np.random.default_rng(2).normal(size=(60, 1, 200)) * 3  # what the views of a clip share
    settings = {"keys": keys, "strength": 0.1, "seed": 0}
    assert right(class_scores(fit_probe(noise, labels, strength=0.1), noise, CLASSES), labels) == 1
    assert right(cross_fitted_scores(noise, labels, CLASSES, **settings), labels) < 0.6

    scores = cross_fitted_scores(features, labels, CLASSES, **settings)
    assert np.isfinite(scores).all()
    assert right(scores, labels) > 0.8
    group = keys == "1/2"
    changed = features.copy()
    changed[group, :, 0] += 100  # would bend every probe that sees it
    after = cross_fitted_scores(changed, labels, CLASSES, **settings)
    alike = np.isclose(after, scores).all(axis=(1, 2))
    assert not alike[group].any()
    assert 0 < alike.sum() < 55  # those of the same fold, and none else


def test_the_strength_is_chosen_on_validation(clips, split):
    """Too free a probe is sure of itself where it is wrong, and a student learns that."""
    features, labels, _ = clips
    misleading = labels.copy()  # what was learnt is wrong on validation: the less of it the better
    misleading[split.validation] = (labels[split.validation] + 1) % CLASSES
    assert choose_strength(features, misleading, split, CLASSES) == 1e-5
    assert choose_strength(features, labels, split, CLASSES) > 1e-4
