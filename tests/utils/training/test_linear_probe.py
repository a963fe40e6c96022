"""The linear probe: its scores, cross-fitting over groups, and the choice of its regularisation."""

import numpy as np
import pytest

from utils.training.linear_probe import (
    DEFAULT_STRENGTH,
    STRENGTHS,
    choose_strength,
    class_scores,
    cross_fitted_scores,
    fit_probe,
    fitted_scores,
    folded,
)

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


@pytest.mark.parametrize("wanted", [(0, 1, 2), (0, 1), (0, 2)])
def test_a_dense_layer_on_raw_features_gives_the_same_probabilities(clips, wanted):
    """A student would start from other logits than the probe's; a class without clips must stay the least likely."""
    features, labels, _ = clips
    chosen = np.isin(labels, wanted)
    probe = fit_probe(features[chosen] * 3 + 1, labels[chosen], strength=0.01)
    kernel, bias = folded(probe, CLASSES)
    logits = (features[:, 0] * 3 + 1) @ kernel + bias
    expected = np.zeros((len(labels), CLASSES))
    expected[:, list(wanted)] = probe.predict_proba(features[:, 0] * 3 + 1)
    found = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found / found.sum(axis=1, keepdims=True), expected, atol=1e-4)


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


def test_missing_features_give_nan(clips):
    """Otherwise views that were never computed would get scores."""
    features, labels, _ = clips
    probe = fit_probe(features, labels, strength=0.01)
    features[50:, 1:] = np.nan
    scores = fitted_scores(probe, features, CLASSES)
    assert np.array_equal(np.isnan(scores).all(axis=-1), np.isnan(features).all(axis=-1))


def crossed_scores(features, labels, keys, strength=0.1):
    """Return scores of one probe of all clips, and cross-fitted scores."""
    scores = class_scores(fit_probe(features, labels, strength=strength), features, CLASSES)
    return scores, cross_fitted_scores(scores, features, labels, keys=keys, strength=strength, seed=0)


def test_cross_fitted_scores_do_not_depend_on_the_groups_own_clips(clips):
    """Otherwise the teacher would be more confident on training clips than on new ones.

    On random features, a probe is perfect on its own clips and at chance on others. If the features of one group
    change, the scores of all clips change except those in the same fold.
    """
    features, labels, keys = clips
    noise = np.random.default_rng(1).normal(size=(60, VIEWS + 1, 200)).astype(np.float32)
    noise += np.random.default_rng(2).normal(size=(60, 1, 200)) * 3  # shared by the views of a clip
    fitted, crossed = crossed_scores(noise, labels, keys)
    assert right(fitted, labels) == 1
    assert right(crossed, labels) < 0.6

    _, scores = crossed_scores(features, labels, keys)
    assert np.isfinite(scores).all()
    assert right(scores, labels) > 0.8
    group = keys == "1/2"
    changed = features.copy()
    changed[group, :, 0] += 100  # affects every probe that is fitted to it
    _, after = crossed_scores(changed, labels, keys)
    unchanged = np.isclose(after, scores).all(axis=(1, 2))
    assert not unchanged[group].any()
    assert 0 < unchanged.sum() < 55  # only the other groups of this fold


def test_clips_of_a_class_with_one_group_keep_their_scores(clips):
    """Otherwise a probe that has never seen the class would teach that these clips are of another class."""
    features, labels, keys = clips
    kept = (labels != 2) | (keys == "2/0")
    fitted, crossed = crossed_scores(features[kept], labels[kept], keys[kept])
    alone = labels[kept] == 2
    np.testing.assert_array_equal(crossed[alone], fitted[alone])
    assert not np.isclose(crossed[~alone], fitted[~alone]).all(axis=(1, 2)).any()


@pytest.mark.parametrize("classes", [2, 3])
def test_one_label_per_class(clips, classes):
    """Otherwise the fewest possible labels would end in a traceback: the rest of a fold may hold one class only."""
    features, labels, keys = (array[::20][:classes] for array in clips)
    fitted, crossed = crossed_scores(features, labels, keys)
    np.testing.assert_array_equal(crossed, fitted)
    assert choose_strength(features, labels, CLASSES, keys=keys, seed=0) == DEFAULT_STRENGTH


def test_strength_is_chosen_on_groups_that_the_probe_has_not_seen(clips):
    """Otherwise the teacher would be overconfident, and the student would learn that.

    The features name the group, which helps for other clips of the group, and another class, which misleads for other
    groups.
    """
    features, labels, keys = clips
    groups = np.unique(keys, return_inverse=True)[1]
    misleading = np.random.default_rng(0).normal(size=(60, VIEWS + 1, 60)).astype(np.float32)
    misleading[np.arange(60), :, groups] += 10
    for column in range(12, 60, CLASSES):
        misleading[np.arange(60), :, column + (labels + groups % GROUPS) % CLASSES] += 10
    chosen = {"class_count": CLASSES, "keys": keys, "seed": 0}
    assert choose_strength(misleading, labels, **chosen) == min(STRENGTHS)
    assert choose_strength(misleading, labels, **chosen | {"keys": np.arange(60).astype(str)}) > 1e-3
    assert choose_strength(features, labels, **chosen) > 1e-4


def test_default_strength_if_a_class_has_one_group(clips, capsys):
    """Otherwise the strength would be chosen for some classes only, without a word."""
    features, labels, keys = clips
    kept = (labels != 2) | (keys == "2/0")
    chosen = choose_strength(features[kept], labels[kept], CLASSES, keys=keys[kept], seed=0)
    assert chosen == DEFAULT_STRENGTH
    assert "a class has too few groups for cross-validation" in capsys.readouterr().out
