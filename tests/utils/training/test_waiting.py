"""Time lost waiting for data, measured without changing what is computed."""

import threading

import keras
import numpy as np
import tensorflow as tf

from utils.base.options import TrainingOptions
from utils.data.batches import RowReader
from utils.data.protocols import Split
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
    """Return the seconds on the clock after a step on the batch of `read`; the time is `now[0]`."""
    monkeypatch.setattr(waiting.time, "perf_counter", lambda: now[0])
    model, asked = compiled_model(), threading.Event()
    clock = WaitClock(model)
    timed_step = model.train_function

    def step(iterator):
        asked.set()
        return timed_step(iterator)

    model.train_function = step
    one = tf.data.Dataset.range(1).map(lambda _: tf.numpy_function(lambda: read(asked), [], tf.float32))
    batches = one.map(lambda inputs: (tf.ensure_shape(inputs, (12, 3)), LABELS))
    model.fit(batches.prefetch(1), steps_per_epoch=1, epochs=1, verbose=0, shuffle=False)
    return clock.seconds


def test_waiting_for_a_late_batch_is_measured(monkeypatch):
    """If reading takes 5 seconds after the step has asked for the batch, the step waits for 5 seconds."""
    now = [100.0]

    def slow(asked):
        assert asked.wait(timeout=60)
        now[0] += 5.0
        return INPUTS

    assert waited_for(slow, monkeypatch, now) == 5.0


def test_a_prefetched_batch_needs_no_waiting(monkeypatch):
    """Reading during computation is the purpose of the pipeline."""
    now = [100.0]
    assert waited_for(lambda asked: INPUTS, monkeypatch, now) == 0.0


def test_measuring_does_not_change_results():
    """The training step must remain that of Keras."""
    batches = tf.data.Dataset.from_tensor_slices((INPUTS, LABELS)).batch(4)
    plain, timed = compiled_model(), compiled_model()
    WaitClock(timed)
    losses = [model.fit(batches, epochs=3, verbose=0, shuffle=False).history["loss"] for model in (plain, timed)]
    assert losses[0] == losses[1]
    assert len(losses[1]) == 3
    for one, other in zip(plain.get_weights(), timed.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_the_history_holds_the_waiting_share_of_each_epoch(monkeypatch, capsys):
    """It shows whether a faster disk or a faster processor would help. Here each step waits for a second."""

    class SecondPerStep(WaitClock):
        def __init__(self, model):
            self.seconds = 0.0
            model.make_train_function()
            step = model.train_function

            def waiting_step(iterator):
                self.seconds += 1.0
                return step(iterator)

            model.train_function = waiting_step

    monkeypatch.setattr(training, "WaitClock", SecondPerStep)
    source = RowReader(lambda rows, _: INPUTS[rows], (3,), np.float32)
    split = Split("random", 0, np.arange(8), np.arange(8, 12), np.array([], np.int64), ())
    options = TrainingOptions(batch_size=4, epochs=2)
    history = training.fit(compiled_model(), source, split, {"labels": LABELS}, options)
    seconds = 8 / history["clips_per_second"]
    np.testing.assert_allclose(history["wait_share"], 2.0 / seconds)
    assert f"waiting for data {100 * history['wait_share'][1]:.1f} %" in capsys.readouterr().out
