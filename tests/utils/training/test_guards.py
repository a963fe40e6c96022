"""Each guard detects its case, and none gives a false alarm while a network learns."""

import math
from dataclasses import replace

import keras
import numpy as np
import pytest

from models.distiller import Distiller
from utils.base.errors import UserError
from utils.base.options import TrainingOptions
from utils.data.batches import RowReader
from utils.data.protocols import Split
from utils.training.fit import fit
from utils.training.guards import (
    PATIENT_EPOCHS,
    STEPS_BETWEEN_PROBES,
    STEPS_BETWEEN_WEIGHTS,
    Guard,
    is_constant,
    no_progress,
    non_finite_variable,
)

LABELS = np.arange(40) % 2
INPUTS = (np.random.default_rng(0).normal(size=(40, 4)) + 2 * LABELS[:, None]).astype(np.float32)
SPLIT = Split("random", 0, np.arange(24), np.arange(24, 32), np.arange(32, 40), ())
OPTIONS = TrainingOptions(batch_size=4, epochs=3, learning_rate=0.01, schedule="constant", clip_norm=None)


def source_of(inputs):
    return RowReader(lambda rows, views: inputs[rows], inputs.shape[1:], inputs.dtype.type)


def network(**last):
    keras.utils.set_random_seed(0)
    hidden = keras.layers.Dense(8, activation="relu", name="hidden")
    return keras.Sequential([keras.Input((4,)), hidden, keras.layers.Dense(2, name="last", **last)])


def fitted(model, options=OPTIONS, *, inputs=INPUTS, labels=LABELS, split=SPLIT):
    return fit(model, source_of(inputs), split, {"labels": labels}, options)


class NanFromStep(keras.layers.Layer):
    """The identity, which adds NaN from the given training step on."""

    def __init__(self, step, **kwargs):
        super().__init__(**kwargs)
        self.step = step
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x, training=None):
        if training:
            self.calls.assign_add(1.0)
        return x + keras.ops.where(self.calls >= self.step, math.nan, 0.0)


def network_with_nan(step):
    """Return a network with NaN scores from the given training step on."""
    model = network()
    return keras.Sequential([keras.Input((4,)), model.layers[0], NanFromStep(step), model.layers[1]])


def dead_network():
    """Return a network whose hidden units are 0 for every clip, as after a step that was too large."""
    model = network()
    kernel, bias = model.get_layer("hidden").get_weights()
    model.get_layer("hidden").set_weights([kernel, bias - 1e3])
    return model


def test_successful_training_gives_no_message(capsys):
    """Users disable guards that give false alarms. Trained from all labels, and distilled with few labels."""
    history = fitted(network(), replace(OPTIONS, epochs=12))
    labels = np.where(np.arange(40) < 16, -1, LABELS)
    teacher = np.eye(2, dtype=np.float32)[LABELS] * 4
    targets = {"labels": labels, "teacher_logits": teacher}
    student = Distiller(network(), temperature=2.0)
    fit(student, source_of(INPUTS), SPLIT, targets, replace(OPTIONS, epochs=12))
    assert history["val_accuracy"][-1] == 1.0
    assert "note" not in capsys.readouterr().out


def test_a_loss_that_is_not_finite_ends_training_in_that_step():
    """An epoch of C3D takes hours, which are lost once the loss is NaN."""
    with pytest.raises(UserError, match=r"^the loss is nan in step 3 of epoch 1: --learning_rate 0.01 is likely too"):
        fitted(network_with_nan(3))


def test_a_loss_that_was_never_finite_is_not_blamed_on_the_learning_rate():
    with pytest.raises(UserError, match=r"in step 1 of epoch 1: no weight has changed yet, so the clips or"):
        fitted(network(kernel_initializer=keras.initializers.Constant(math.nan)))


def test_finished_epochs_are_kept(capsys):
    """Two successful epochs must not be lost because the third one fails."""
    model = network_with_nan(14)  # 6 steps per epoch
    history = fitted(model, replace(OPTIONS, epochs=4))
    assert history["epoch"].tolist() == [1, 2]
    assert np.isfinite(np.concatenate([weights.ravel() for weights in model.get_weights()])).all()
    assert "note: stopped: the loss is nan in step 2 of epoch 3: --learning_rate" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("first_nan", "options", "epochs", "kept"),
    [
        (19, {"keep": "last"}, 4, [1, 2, 3]),  # in the last of 4 epochs of 6 steps
        (7, {"keep": "best", "patience": 2}, 3, [1]),
        (7, {"keep": "last", "max_minutes": 1e-9}, 1, [1]),
        (1, {"keep": "last"}, 4, []),
        (1, {"keep": "best", "patience": 1}, 2, []),
    ],
)
def test_with_keep_going_a_finite_epoch_is_kept_if_there_is_one(first_nan, options, epochs, kept, capsys):
    """The last epoch, or one that is best by chance, would be saved with NaN in its weights."""
    model = network_with_nan(first_nan)
    history = fitted(model, replace(OPTIONS, epochs=4, keep_going=True, **options))
    assert np.isfinite(history["val_loss"]).tolist() == [epoch in kept for epoch in history["epoch"]]
    assert len(history) == epochs
    finite = np.isfinite(np.concatenate([weights.ravel() for weights in model.get_weights()])).all()
    assert finite == bool(kept)
    printed = capsys.readouterr().out
    assert printed.count("because of --keep_going") == (epochs > len(kept))
    assert ("best so far" in printed) == bool(kept)
    assert history["val_accuracy"][len(kept) :].tolist() == [0.0] * (epochs - len(kept))


class NanGradient(keras.Model):
    """A network with finite loss and scores, in which one gradient, of a square root at 0, is not finite."""

    def __init__(self):
        super().__init__()
        self.network = network()
        self.hurt = self.add_weight(shape=(2,), initializer="zeros", name="hurt")

    def call(self, x, training=None):
        zero = keras.ops.sqrt(keras.ops.abs(self.hurt))
        return self.network(x) + keras.ops.where(keras.ops.isfinite(zero), zero, 0.0)


def test_gradients_that_are_not_finite_are_detected_if_the_loss_is_finite(monkeypatch):
    """Pooling can hide NaN: the loss looks normal although a layer is lost."""
    monkeypatch.setattr("utils.training.guards.STEPS_BETWEEN_WEIGHTS", 2)
    with pytest.raises(UserError, match=r"hurt is not finite in step 2 of epoch 1, nor was its gradient"):
        fitted(NanGradient())
    assert STEPS_BETWEEN_WEIGHTS == 10


def test_variables_that_are_not_finite_are_named():
    model = network()
    assert non_finite_variable(model.variables) is None
    for value in (math.nan, math.inf, -math.inf):
        model.get_layer("last").bias.assign([0.0, value])
        assert non_finite_variable(model.variables).endswith("last/bias")


def test_training_of_a_dead_network_ends():
    """It outputs the same scores for all clips and has no gradient, so it cannot learn."""
    message = r"^all clips have the same scores in epoch 1: the model's units are dead; try --learning_rate 0.001"
    with pytest.raises(UserError, match=message):
        fitted(dead_network())


def test_a_dead_network_is_detected_within_a_long_epoch():
    many = np.tile(INPUTS, (20, 1))
    split = Split("random", 0, np.arange(32, 800), np.arange(32), np.array([], np.int64), ())
    assert STEPS_BETWEEN_PROBES == 100
    with pytest.raises(UserError, match="the same scores in step 100 of epoch 1"):
        fitted(dead_network(), inputs=many, labels=np.arange(800) % 2, split=split)


def test_an_accuracy_shows_whether_scores_may_be_equal():
    """The scores of some clips would be computed after each epoch, which takes as long as several steps."""
    guard = Guard(network(), source_of(INPUTS), SPLIT, {"labels": LABELS}, OPTIONS, past=[])
    assert guard.may_be_constant(np.float32(4 / 8))  # either class for all clips
    assert not guard.may_be_constant(5 / 8)
    assert not guard.may_be_constant(3 / 8)


def test_a_network_with_different_scores_for_training_clips_is_not_dead(capsys):
    """Equal scores for all validation clips do not prevent it from learning."""
    model = network()
    kernel, bias = model.get_layer("hidden").get_weights()
    model.get_layer("hidden").set_weights([np.abs(kernel), bias])
    inputs = np.abs(INPUTS) + 1
    inputs[24:32] *= -1  # all units are 0 for them
    options = replace(OPTIONS, epochs=1)
    history = fitted(model, options, inputs=inputs)
    assert is_constant(model(inputs[24:32]))
    assert len(history) == 1
    assert "note" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("scores", "constant"),
    [
        ([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]], True),
        ([[1.0, 2.0], [1.0 + 1e-7, 2.0]], True),
        ([[0.0, 0.0], [0.0, 0.0]], True),
        ([[1.0, 2.0], [1.0, 2.001]], False),
        ([[1e-6, 0.0], [0.0, 1e-6]], False),  # small differences, as at the start of training
        ([[1.0, 2.0]], False),
    ],
)
def test_constant_means_equal_up_to_rounding(scores, constant):
    assert is_constant(np.array(scores)) == constant


def test_equal_clips_are_an_error_in_the_data():
    """A failed extraction, for example of black frames, must not look like a difficult data set."""
    with pytest.raises(UserError, match=r"^--data: 8 validation clips are equal in every frame"):
        fitted(network(), inputs=np.zeros_like(INPUTS))


def plateau(epochs, loss=0.693, accuracy=0.5):
    return [loss] * epochs, [accuracy] * epochs


def test_no_progress_is_reported_once_after_ten_epochs():
    """Otherwise a user would notice only after hours that training is stuck."""
    labels = np.arange(1000) % 2
    assert PATIENT_EPOCHS == 10
    assert no_progress(*plateau(9), labels) is None
    assert "no progress in 10 epochs: the loss stays at 0.693" in no_progress(*plateau(10), labels)
    assert no_progress(*plateau(11), labels) is None


def test_progress_in_loss_or_accuracy_is_progress():
    """The published networks stay on a plateau for some epochs, after which the loss falls first."""
    labels = np.arange(1000) % 2
    losses, accuracies = plateau(10)
    assert no_progress([*losses[:-1], 0.67], accuracies, labels) is None
    assert no_progress(losses, [*accuracies[:-1], 0.6], labels) is None
    assert no_progress(losses, [*accuracies[:-1], 0.54], labels) is not None  # three standard errors are 0.047
    without_labels = [math.nan, *accuracies[1:]]  # the first epoch had no labelled clip
    assert no_progress(losses, without_labels, labels) is not None
    assert no_progress(losses, [*without_labels[:-1], 0.6], labels) is None
    mostly_zero = np.arange(1000) % 5 == 0
    assert no_progress(losses, [0.8] * 10, mostly_zero.astype(int)) is not None  # always predicting the largest class


def test_training_without_progress_prints_the_note(capsys):
    """Random labels and a tiny learning rate, so that nothing can be learned."""
    options = replace(OPTIONS, epochs=11, learning_rate=1e-9)
    labels = np.random.default_rng(2).integers(0, 2, 40)
    fitted(network(kernel_initializer="zeros"), options, labels=labels, inputs=INPUTS - 2 * LABELS[:, None])
    assert capsys.readouterr().out.count("note: no progress in 10 epochs") == 1


@pytest.mark.parametrize(
    ("model", "note"),
    [
        (lambda: network_with_nan(3), "note: the loss is nan in step 3 of epoch 1"),
        (dead_network, "note: all clips have the same scores in epoch 1"),
    ],
    ids=["nan", "dead"],
)
def test_keep_going_reports_once_and_continues(model, note, capsys):
    """Users must be able to continue to the last epoch if they disagree with a guard."""
    history = fitted(model(), replace(OPTIONS, keep_going=True))
    assert history["epoch"].tolist() == [1, 2, 3]
    printed = capsys.readouterr().out
    assert note in printed
    assert printed.count("because of --keep_going") == 1
