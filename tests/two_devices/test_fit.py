"""Trainings on two devices equal those on one: weights, histories, gradients and statistics."""

import contextlib
import os
import signal
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.distiller import Distiller
from tests.utils.training.test_fit import without_times
from utils.base.devices import mirrored_strategy, strategy_scope
from utils.base.errors import UserError
from utils.base.interruption import Interrupted
from utils.base.options import TrainingOptions
from utils.data.batches import RowReader
from utils.data.protocols import Split
from utils.runs.state import TrainingState
from utils.training import fit as fit_module
from utils.training.fit import fit, set_seeds
from utils.training.optimizers import optimizer
from utils.training.replicas import SEED_DISTANCE, SEED_STATE, ReplicatedLossScale, SeedPerReplica, evenly_batched

ROWS, CLASSES, SIZE = 61, 3, 5
RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(ROWS, SIZE)).astype(np.float32)
TEACHER = RNG.normal(0, 3, (ROWS, CLASSES)).astype(np.float32)
LABELS = np.where(np.arange(ROWS) % 6, 0, RNG.integers(0, CLASSES, ROWS))  # class 0 is frequent
# 11 validation clips: a last batch of 3 for batches of 4, which two devices share as 2 and 1
SPLIT = Split("random", 0, np.arange(46), np.arange(46, 57), np.arange(57, 61), ())
FEW = np.where(np.isin(np.arange(ROWS), [3, 6, 17, 30, 36, 41, *SPLIT.validation]), LABELS, -1)
OPTIONS = TrainingOptions(batch_size=4, epochs=3, learning_rate=0.05, clip_norm=None)
DISTIL = {"alpha": 0.3, "temperature": 4.0}


def network(*, normalised=False, frozen=False, dropout=0.0, decay=0.0):
    """Return a network of vectors with a part "backbone", batch normalisation that may be frozen, and a penalty."""
    penalty = keras.regularizers.L2(decay) if decay else None
    features = inputs = keras.Input((SIZE,))
    features = keras.layers.Dense(8, activation="tanh", kernel_regularizer=penalty)(features)
    if normalised:
        features = keras.layers.BatchNormalization(momentum=0.8, trainable=not frozen)(features)
    backbone = keras.Model(inputs, features, name="backbone")
    clips = keras.Input((SIZE,))
    features = keras.layers.Dropout(dropout)(backbone(clips))
    return keras.Model(clips, keras.layers.Dense(CLASSES)(features))


def live_network():
    layers = [keras.layers.Dense(CLASSES, kernel_initializer=keras.initializers.RandomNormal(seed=7, stddev=2.0))]
    return keras.Sequential([keras.Input((SIZE,)), *layers, keras.layers.Dropout(0.5)])


def read(rows, _):
    return INPUTS[rows]


def trained(devices, kind="labels", *, labels=LABELS, build=network, split=SPLIT, state=None, read=read, **changes):
    """Return the weights and the history of a training of `kind`: "labels", "alone", "cached" or "live"."""
    options = replace(OPTIONS, devices=devices, **changes)
    set_seeds(options)
    with strategy_scope(devices):
        model = build()
        fitted = model
        if kind != "labels":
            teacher = live_network() if kind == "live" else None
            fitted = Distiller(model, teacher, **(DISTIL if kind != "alone" else {"alpha": 1.0}))
    targets = {"labels": labels} | ({"teacher_logits": TEACHER} if kind == "cached" else {})
    history = fit(fitted, RowReader(read, (SIZE,), np.float32), split, targets, options, state=state)
    return [variable.numpy() for variable in model.variables], history


def assert_equal(found, expected, *, rtol=1e-5):
    """Compare two results of `trained`; times differ."""
    for one, other in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol)
    one, other = (without_times(history) for history in (found[1], expected[1]))
    assert one.dtype.names == other.dtype.names
    for name in one.dtype.names:
        np.testing.assert_allclose(one[name], other[name], rtol=rtol, atol=rtol, err_msg=name)


CASES = {
    "labels": {"kind": "labels", "class_weights": "balanced"},
    "alone": {"kind": "alone"},
    "cached": {"kind": "cached", "labels": FEW, "class_weights": "balanced", "clip_norm": 0.1},
    "live": {"kind": "live", "weight_decay": 0.5, "backbone_rate": 0.1},
    "all labels": {"kind": "labels"},
    "clipped gradients": {"kind": "labels", "clip_norm": 0.1},
    "all labels and logits": {"kind": "cached", "class_weights": "balanced"},
    "weight decay": {"kind": "cached", "weight_decay": 0.5},
    "a smaller rate": {"kind": "cached", "backbone_rate": 0.1, "clip_norm": 1.0},
    "penalty of weights": {"kind": "cached", "build": lambda: network(decay=0.1)},
    "penalty of weights of a teacher": {"kind": "labels", "build": lambda: network(decay=0.1)},
    "frozen statistics": {"kind": "cached", "build": lambda: network(normalised=True, frozen=True)},
    "larger last batch": {"kind": "labels", "batch_size": 2, "split": replace(SPLIT, validation=np.arange(46, 49))},
    "one validation batch": {"kind": "cached", "split": replace(SPLIT, validation=np.arange(46, 49))},
}


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("case", CASES)
def test_two_devices_train_the_network_of_one(case):
    """More devices would change what is learnt: the size of the gradients, the threshold of clipping, or the clips."""
    one, two = (trained(devices, **CASES[case]) for devices in (1, 2))
    assert_equal(two, one)


@pytest.mark.parametrize("kind", ["cached", "labels"])
def test_batch_normalisation_uses_the_whole_batch(kind):
    """Each device would normalise by its own clips, and the moving averages would be those of the first device."""
    built = []

    def build():
        built.append(network(normalised=True))
        return built[-1]

    one, two = (trained(devices, kind, build=build) for devices in (1, 2))
    assert_equal(two, one, rtol=1e-4)
    layers = [layer for layer in built[-1]._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    assert [layer.synchronized for layer in layers] == [False]  # as in a file of one device


def test_all_devices_and_two_have_one_strategy():
    """TensorFlow would end the training with an error on mismatched shapes in a collective operation."""
    assert mirrored_strategy("all") is mirrored_strategy(2)


def test_replicas_draw_different_dropout_masks():
    """The clips of both devices would lose the same units in each step, which is half of the noise."""
    strategy = mirrored_strategy(2)
    with strategy.scope():
        layer = keras.layers.Dropout(0.5, seed=3)
        model = keras.Sequential([keras.Input((200,)), layer])
        model.compile()
    callback = SeedPerReplica(strategy)
    callback.set_model(model)
    callback.on_train_begin()
    (state,) = (variable for variable in model.variables if variable.name == SEED_STATE)
    assert [copy.numpy().tolist() for copy in state.value.values] == [[3, 0], [3 + SEED_DISTANCE, 0]]
    assert state.numpy().tolist() == [3, 0]  # which is what is saved
    result = strategy.run(tf.function(lambda: layer(tf.ones((1, 200)), training=True)))
    first, second = (np.asarray(part)[0] > 0 for part in strategy.experimental_local_results(result))
    assert 60 < np.count_nonzero(first != second) < 140
    expected = keras.layers.Dropout(0.5, seed=3)(np.ones((1, 200), np.float32), training=True)
    np.testing.assert_array_equal(first, np.asarray(expected)[0] > 0)


def test_trainings_use_these_masks(monkeypatch):
    """Both devices would use the masks of the first."""
    settings = {"kind": "labels", "build": lambda: network(dropout=0.5), "epochs": 1}
    weights, _ = trained(2, **settings)
    monkeypatch.setattr(fit_module, "seed_per_replica", lambda strategy: [])
    equal_masks, _ = trained(2, **settings)
    assert not np.allclose(weights[0], equal_masks[0], rtol=1e-3)


@pytest.mark.parametrize(("clips", "batch_size", "sizes"), [(11, 4, [4, 4, 3]), (3, 2, [3]), (9, 4, [3, 3, 3])])
def test_each_device_gets_clips_in_each_validation_batch(clips, batch_size, sizes):
    """A device without clips runs kernels on empty batches, which not all of them support."""
    options = replace(OPTIONS, batch_size=batch_size, devices=2)
    batches = tf.data.Dataset.range(clips).batch(batch_size)
    found = [batch.tolist() for batch in evenly_batched(batches, options, clips=clips).as_numpy_iterator()]
    assert [len(batch) for batch in found] == sizes
    assert np.concatenate(found).tolist() == list(range(clips))


class Killed(BaseException):
    """Ends a training at once."""


def resumed(folder, devices, **changes):
    """Return the result of a training with dropout that is killed after each epoch; `devices` are those of each run."""
    for number, count in enumerate(devices, start=1):
        state = TrainingState(folder / "net.training", {})
        save = state.save

        def killing(*arguments, save=save):
            save(*arguments)
            raise Killed

        if number < len(devices):
            state.save = killing
        with contextlib.suppress(Killed):
            found = trained(count, "cached", state=state, **changes)
    return found


@pytest.mark.parametrize("devices", [(1, 2, 1), (2, 1, 2), (2, 2, 2)], ids=str)
def test_a_killed_training_resumes_on_as_many_devices_or_others(tmp_path, devices):
    """A machine with fewer GPUs could not continue a training, or the optimiser and dropout would start anew."""
    build = (lambda: network(dropout=0.5)) if devices == (2, 2, 2) else network
    expected = trained(2, "cached", build=build)
    found = resumed(tmp_path, devices, build=build)
    if devices == (2, 2, 2):
        for one, other in zip(found[0], expected[0], strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(without_times(found[1]), without_times(expected[1]))
    else:
        assert_equal(found, expected)


def test_a_step_is_skipped_if_the_gradients_of_any_device_overflow():
    """In float16 the weights would become NaN if only the second device overflows."""
    strategy = mirrored_strategy(2)
    with strategy.scope():
        variable = keras.Variable([1.0, 1.0])
        scaled = ReplicatedLossScale(optimizer(replace(OPTIONS, clip_norm=1.0), 1), initial_scale=4.0)
        scaled.build([variable])
    for overflowing, moves in ((1, False), (0, False), (None, True)):

        def step(overflowing=overflowing):
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            scaled.apply([tf.where(number == overflowing, np.inf, tf.ones(2))], [variable])

        before, scale = variable.numpy(), scaled.dynamic_scale.numpy()
        strategy.run(tf.function(step if overflowing is not None else lambda: scaled.apply([tf.ones(2)], [variable])))
        assert (variable.numpy() != before).all() == moves
        assert scaled.dynamic_scale.numpy() == (scale if moves else scale / 2)


def test_failing_readers_end_the_training_with_their_message():
    """A damaged file would end in a traceback of TensorFlow."""

    def failing(rows, views):
        if 40 in rows:
            raise UserError("--data: row 40 is damaged")
        return INPUTS[rows]

    with pytest.raises(UserError, match=r"^--data: row 40 is damaged$"):
        trained(2, read=failing)


def test_ctrl_c_ends_after_the_step():
    """A training on several devices would have to be killed."""

    read_rows = []

    def pressed(rows, views):
        read_rows.append(len(rows))
        if len(read_rows) == 10:
            os.kill(os.getpid(), signal.SIGINT)
        return INPUTS[rows]

    with pytest.raises(Interrupted):
        trained(2, read=pressed, epochs=200)
    assert len(read_rows) < 60


def test_hopeless_training_is_reported():
    """The guards would not see the loss or the weights of several devices."""
    inputs = np.where(np.arange(ROWS)[:, None] == 5, np.nan, INPUTS).astype(np.float32)
    with pytest.raises(UserError, match=r"^the loss is nan in step \d+ of epoch 1: "):
        trained(2, "cached", read=lambda rows, _: inputs[rows])


def test_each_device_needs_a_validation_clip():
    """The batches of the test above could not be made."""
    split = replace(SPLIT, validation=np.array([46]))
    with pytest.raises(UserError, match=r"^--devices: must be at most the number of validation clips, 1, got 2$"):
        trained(2, split=split)
