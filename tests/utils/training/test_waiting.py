"""Time lost waiting for data: counted where nothing computes, and without changing what is computed."""

import threading

import keras
import numpy as np
import tensorflow as tf

from utils.data.batches import RowReader
from utils.settings.options import TrainingOptions
from utils.splits.protocols import Split
from utils.training import fit as training
from utils.training import progress_bar as waiting
from utils.training.progress_bar import WaitClock

INPUTS = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
LABELS = np.arange(12) % 2


def compiled_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def waited_for(read, monkeypatch, now):
    """Seconds that the clock shows after a step on the one batch of `read`, by a time that `now[0]` tells."""
    monkeypatch.setattr(waiting.time, "perf_counter", lambda: now[0])
    model, asked = compiled_model(), threading.Event()
    clock = WaitClock()
    clock.attach(model)
    timed_step = model.train_function

    def step(iterator):
        asked.set()
        return timed_step(iterator)

    model.train_function = step
    one = tf.data.Dataset.range(1).map(lambda _: tf.numpy_function(lambda: read(asked), [], tf.float32))
    batches = one.map(lambda inputs: (tf.ensure_shape(inputs, (12, 3)), LABELS))
    model.fit(batches.prefetch(1), steps_per_epoch=1, epochs=1, verbose=0, shuffle=False)
    return clock.seconds


def test_a_batch_that_is_late_is_waited_for(monkeypatch):
    """The clock must run where the step stands still: a source that takes 5 seconds after it was asked costs 5."""
    now = [100.0]

    def slow(asked):
        assert asked.wait(timeout=60)
        now[0] += 5.0
        return INPUTS

    assert waited_for(slow, monkeypatch, now) == 5.0


def test_a_batch_that_was_read_ahead_costs_nothing(monkeypatch):
    """Reading while the network computes is what the pipeline is for."""
    now = [100.0]
    assert waited_for(lambda asked: INPUTS, monkeypatch, now) == 0.0


def test_it_changes_no_number():
    """The step must stay what Keras makes of it."""
    batches = tf.data.Dataset.from_tensor_slices((INPUTS, LABELS)).batch(4)
    plain, timed = compiled_model(), compiled_model()
    WaitClock().attach(timed)
    losses = [model.fit(batches, epochs=3, verbose=0, shuffle=False).history["loss"] for model in (plain, timed)]
    assert losses[0] == losses[1]
    assert len(losses[1]) == 3
    for one, other in zip(plain.get_weights(), timed.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_the_history_holds_the_share_of_each_epoch(monkeypatch, capsys):
    """It tells whether a faster disk or a faster processor would help; here each step waits a second by the clock."""

    class SecondAStep(WaitClock):
        def attach(self, model):
            model.make_train_function()
            step = model.train_function

            def waiting_step(iterator):
                self.seconds += 1.0
                return step(iterator)

            model.train_function = waiting_step

    monkeypatch.setattr(training, "WaitClock", SecondAStep)
    source = RowReader(lambda rows, _: INPUTS[rows], (3,), np.float32)
    split = Split("random", 0, np.arange(8), np.arange(8, 12), np.array([], np.int64), ())
    options = TrainingOptions(batch_size=4, epochs=2)
    history = training.fit(compiled_model(), source, split, {"labels": LABELS}, options)
    seconds = 8 / history["clips_per_second"]
    np.testing.assert_allclose(history["wait_share"], 2.0 / seconds)
    assert f"waiting for data {100 * history['wait_share'][1]:.1f} %" in capsys.readouterr().out
