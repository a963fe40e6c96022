"""The fit loop: it learns from labels and teachers, only on training clips, keeps one epoch, and is repeatable."""

import importlib.util
from dataclasses import replace

import keras
import numpy as np
import pytest
from scipy.special import log_softmax

from models.distiller import Distiller
from utils.base.errors import UserError
from utils.base.options import TrainingOptions
from utils.data.batches import RowReader, clip_reader
from utils.data.protocols import Split
from utils.runs.history import TIMING_FIELDS, best_epoch
from utils.runs.state import TrainingState
from utils.training.fit import fit, optimizer, set_seeds

SHAPE = (16, 32, 32, 3)
OPTIONS = TrainingOptions(batch_size=6, epochs=2, learning_rate=0.03)


def tiny_network():
    """Return a network that can distinguish colours: a convolution, dropout, logits of 3 classes."""
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Rescaling(1 / 127.5, offset=-1.0),
            keras.layers.Conv3D(8, 3, strides=4, activation="relu"),
            keras.layers.GlobalAveragePooling3D(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(3),
        ]
    )


def trained(arrays, options, *, distil=None, targets=None):
    """Return a tiny network after `fit`, and its history; distilled if `distil` holds arguments of a Distiller."""
    dataset, split = arrays
    set_seeds(options)
    model = tiny_network()
    fitted = model if distil is None else Distiller(model, **distil)
    history = fit(fitted, clip_reader(dataset, SHAPE), split, targets or {"labels": dataset.labels}, options)
    return model, history


def logits_of(model, dataset, rows):
    return np.asarray(model(dataset.view_zero(rows, SHAPE), training=False))


def without_times(history):
    return history[[name for name in history.dtype.names if name not in TIMING_FIELDS]]


class Probe(keras.Model):
    """A network that predicts `right[e]` validation clips correctly in epoch e."""

    def __init__(self, right):
        super().__init__()
        self.right = right
        self.epoch_number = self.add_weight(shape=(), initializer="zeros", trainable=False, name="epoch_number")
        self.slope = self.add_weight(shape=(), initializer="ones", name="slope")

    def call(self, rows, training=None):
        if training:
            self.epoch_number.assign_add(1.0)  # one step per epoch
        shares = keras.ops.take(keras.ops.array(self.right, "float32"), keras.ops.cast(self.epoch_number, "int32") - 1)
        is_right = keras.ops.cast(rows[:, 0] < shares, "float32")  # all labels are 1
        return self.slope * keras.ops.stack([1 - is_right, is_right], axis=-1)


def probe_fit(right, state=None, **changed):
    """Fit a Probe for len(right) epochs on rows 10..15, validated on rows 0..9; return it with its history."""
    model = Probe(right)
    source = RowReader(lambda rows, _: np.asarray(rows, np.float32)[:, None], (1,), np.float32)
    split = Split("random", 0, np.arange(10, 16), np.arange(10), np.arange(16, 20), ())
    options = replace(OPTIONS, epochs=len(right), learning_rate=1e-12, schedule="constant", **changed)
    return model, fit(model, source, split, {"labels": np.ones(20, np.int64)}, options, state=state)


@pytest.mark.parametrize(("options", "epoch"), [({}, 4), ({"keep": "last"}, 4), ({"keep": "best"}, 3)])
def test_the_model_has_the_weights_of_the_kept_epoch(options, epoch):
    """With the weights of another epoch, the saved network would not have the reported accuracy."""
    model, history = probe_fit([3, 7, 9, 4], **options)
    np.testing.assert_allclose(history["val_accuracy"], [0.3, 0.7, 0.9, 0.4], atol=1e-6)
    assert float(model.epoch_number) == epoch
    assert history["epoch"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(("keep", "epoch"), [("best", 1), ("last", 4)])
def test_a_resumed_training_keeps_the_weights_of_the_kept_epoch(tmp_path, keep, epoch):
    """With --keep best, a run resumed after its best epoch would save the weights of its last one."""
    right = [9, 3, 4, 2]
    for seconds in (1e-9, 1e-9, None):  # one epoch, then another, then the rest
        state = TrainingState(tmp_path / "net.training", {})
        model, history = probe_fit(right, state, keep=keep, max_minutes=seconds)
    np.testing.assert_allclose(history["val_accuracy"], [0.9, 0.3, 0.4, 0.2], atol=1e-6)
    assert float(model.epoch_number) == epoch


def test_of_equal_epochs_the_first_is_best():
    """History and weights must agree on the best epoch, also for equal epochs."""
    model, history = probe_fit([3, 8, 8], keep="best")
    assert float(model.epoch_number) == 2 == best_epoch(history) + 1


@pytest.mark.parametrize("distil", [None, {"alpha": 1.0}], ids=["teacher", "baseline"])
def test_a_tiny_network_learns_and_its_history_belongs_to_its_weights(arrays, distil):
    """With the labels of other clips it would stay at chance, 33 %. The loss is computed from logits, in nats."""
    dataset, split = arrays
    options = replace(OPTIONS, epochs=15)
    model, history = trained(arrays, options, distil=distil)
    kept = history[-1]
    logits = logits_of(model, dataset, split.validation)
    labels = dataset.labels[split.validation]
    assert np.mean(logits.argmax(axis=1) == labels) == pytest.approx(kept["val_accuracy"])
    loss = -log_softmax(logits.astype(float), axis=1)[np.arange(len(labels)), labels].mean()
    assert loss == pytest.approx(kept["val_loss"], rel=1e-4)
    assert kept["val_accuracy"] == 1.0
    unseen = logits_of(model, dataset, split.test).argmax(axis=1)
    assert np.mean(unseen == dataset.labels[split.test]) == 1.0


def test_test_clips_are_never_read_and_validation_clips_never_trained_on(arrays):
    """Results on test clips that were used in training are worthless."""
    dataset, split = arrays
    source = clip_reader(dataset, SHAPE)
    read = []

    def recorded(rows, views):
        read.extend(np.asarray(rows).tolist())
        return source.read(rows, views)

    teacher = np.full((len(dataset), 3), np.nan, np.float32)
    teacher[split.train] = np.eye(3)[dataset.labels[split.train]]
    teacher[split.validation] = 0.0
    other_labels = dataset.labels.copy()
    other_labels[split.validation] = 0
    weights = []
    for labels in (dataset.labels, other_labels):
        set_seeds(OPTIONS)
        model = tiny_network()
        targets = {"labels": labels, "teacher_logits": teacher}
        one_epoch = replace(OPTIONS, epochs=1)
        history = fit(Distiller(model, temperature=4.0), replace(source, read=recorded), split, targets, one_epoch)
        assert np.isfinite(history["loss"]).all()
        assert np.isfinite(history["val_loss"]).all()
        weights.append(model.get_weights())
    assert set(read) == set(split.train) | set(split.validation)
    for one, other in zip(*weights):  # weights do not depend on validation labels
        np.testing.assert_array_equal(one, other)


def test_equal_seeds_give_equal_results(arrays):
    """Results must be repeatable: dropout, order of batches and initialisation depend on the seed."""
    first, first_history = trained(arrays, OPTIONS)
    again, again_history = trained(arrays, OPTIONS)
    other, other_history = trained(arrays, replace(OPTIONS, seed=1))
    np.testing.assert_array_equal(without_times(first_history), without_times(again_history))
    for weights, same in zip(first.get_weights(), again.get_weights()):
        np.testing.assert_array_equal(weights, same)
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])
    assert not np.array_equal(first_history["loss"], other_history["loss"])


def test_the_student_learns_from_the_teacher(arrays):
    """With missing or wrong teacher logits, it would learn the labels or nothing."""
    dataset, _ = arrays
    predicted = (dataset.labels + 1) % 3  # a teacher that is always wrong in the same way
    targets = {"labels": dataset.labels, "teacher_logits": 8 * np.eye(3, dtype=np.float32)[predicted]}
    options = replace(OPTIONS, epochs=15)
    _, history = trained(arrays, options, distil={"alpha": 0.0, "temperature": 2.0}, targets=targets)
    assert history["val_agreement"].max() >= 0.8
    assert history["val_agreement"][-1] > history["val_accuracy"][-1] + 0.5
    assert {"hard_loss", "soft_loss", "val_hard_loss", "val_soft_loss"} <= set(history.dtype.names)


def rates_of(options, steps_per_epoch):
    rate = optimizer(options, steps_per_epoch)._learning_rate
    return np.array([float(rate(step)) for step in range(options.epochs * steps_per_epoch + 1)])


def test_the_learning_rate_warms_up_for_a_tenth_and_decays_to_0():
    """As documented; without warm-up, the student stays on a plateau for some epochs."""
    rates = rates_of(TrainingOptions(epochs=10, learning_rate=3e-4), 20)  # 200 steps
    np.testing.assert_allclose(rates[[0, 10, 20]], [3e-5, 1.65e-4, 3e-4], rtol=1e-5)  # linear
    expected = 3e-4 * 0.5 * (1 + np.cos(np.pi * np.arange(181) / 180))
    np.testing.assert_allclose(rates[20:], expected, atol=1e-9)
    assert rates.argmax() == 20


def test_a_few_steps_have_no_warm_up():
    rates = rates_of(TrainingOptions(epochs=1, learning_rate=1e-3), 4)
    np.testing.assert_allclose(rates, 1e-3 * 0.5 * (1 + np.cos(np.pi * np.arange(5) / 4)), atol=1e-9)


def test_a_constant_learning_rate_is_constant(arrays):
    _, history = trained(arrays, replace(OPTIONS, schedule="constant"))
    np.testing.assert_allclose(history["learning_rate"], [0.03, 0.03], rtol=1e-6)


def test_weight_decay_applies_to_kernels_and_not_to_biases():
    """Each step multiplies kernels by 1 - rate x decay (Loshchilov & Hutter, arXiv:1711.05101)."""
    layer = keras.layers.Dense(2, kernel_initializer="ones", bias_initializer="ones")
    layer.build((None, 3))
    decaying = optimizer(replace(OPTIONS, learning_rate=0.1, schedule="constant", weight_decay=0.5), 1)
    decaying.apply([keras.ops.zeros_like(v) for v in layer.trainable_variables], layer.trainable_variables)
    np.testing.assert_allclose(layer.kernel, np.full((3, 2), 0.95), rtol=1e-6)
    np.testing.assert_array_equal(layer.bias, [1, 1])
    assert type(optimizer(OPTIONS, 1)) is keras.optimizers.Adam


def test_early_ends_print_the_reason_and_keep_the_best_epoch(capsys):
    """--patience and --max_minutes must take effect."""
    model, history = probe_fit([3, 7, 6, 6, 9], patience=2)
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert float(model.epoch_number) == 2
    assert "note: stopped after epoch 4: no improvement on validation for 2 epochs" in capsys.readouterr().out
    _, history = probe_fit([3, 7, 9], max_minutes=1e-9)
    assert history["epoch"].tolist() == [1]
    assert "note: stopped after epoch 1: epoch 2 of 3 would exceed --max_minutes 1e-09" in capsys.readouterr().out


def test_a_learning_rate_that_is_too_high_is_an_error(arrays):
    """Otherwise training would continue for hours with NaN and save a useless network."""
    with pytest.raises(UserError, match=r"the loss is \S+ in step \d of epoch 1: --learning_rate 1e\+30 is likely too"):
        trained(arrays, replace(OPTIONS, learning_rate=1e30))


def test_tensorboard_scalars_are_written_or_the_missing_package_is_named(arrays, tmp_path):
    """TensorFlow no longer installs TensorBoard; a missing package must be reported before the first step."""
    options = replace(OPTIONS, epochs=1, tensorboard=tmp_path / "board")
    if importlib.util.find_spec("tensorboard") is None:
        with pytest.raises(UserError, match="--tensorboard needs the package tensorboard"):
            trained(arrays, options)
    else:
        trained(arrays, options)
        assert list((tmp_path / "board" / "validation").glob("events.out.tfevents.*"))
