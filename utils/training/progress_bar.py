"""A training's progress while an epoch runs, for a person at a terminal."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping

from tqdm import tqdm

from utils.runtime.progress import duration

BAR = "{percentage:3.0f} %|{bar:20}| {desc}"


class WaitClock:
    """Seconds that `fit` has waited for batches: those in which its iterator had none ready, so that nothing computed.

    Attach it to a compiled model before `fit`; set `seconds` to 0 where counting begins. What overlaps with computing
    (reading ahead in other threads) is not waiting and does not count.
    """

    def __init__(self):
        self.seconds = 0.0

    def attach(self, model) -> None:
        """Makes the model's training step take its batch under the clock instead of inside the compiled function.

        There Keras takes it by default, where it cannot be timed; the step itself is the same compiled function.
        """
        model.make_train_function()
        step = model.train_function

        def timed_step(iterator):
            begun = time.perf_counter()
            batch = next(iterator)
            self.seconds += time.perf_counter() - begun
            return step([batch])

        model.train_function = timed_step


@contextlib.contextmanager
def progress_bar(*, first_epoch: int, epochs: int, steps: int, batch_size: int, clock: WaitClock) -> Iterator[list]:
    """Yields a callback that draws a bar an epoch on stderr, gone when the epoch ends; none where that is no terminal.

    The time left is that of all epochs, at the pace of this process so far.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield []
        return
    import keras

    class ProgressBar(keras.callbacks.Callback):
        bar = None

        def on_train_begin(self, logs=None):
            self.begun = time.perf_counter()

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch, self.epoch_begun = epoch, time.perf_counter()
            self.label = f"epoch {epoch + 1}/{epochs}  "
            self.bar = tqdm(total=steps, bar_format=BAR, leave=False, dynamic_ncols=True, file=sys.stderr)
            self.bar.set_description_str(self.label)

        def on_train_batch_end(self, batch, logs=None):
            now = time.perf_counter()
            seconds = now - self.epoch_begun
            done = (self.epoch - first_epoch) * steps + batch + 1
            left = (now - self.begun) / done * ((epochs - first_epoch) * steps - done)
            rate = (batch + 1) * batch_size / seconds
            text = step_text(logs, clips_per_second=rate, wait_share=clock.seconds / seconds, seconds_left=left)
            self.bar.set_description_str(self.label + text, refresh=False)
            self.bar.update()

        def on_test_begin(self, logs=None):
            self.bar.set_description_str(self.label + "validation")

        def on_epoch_end(self, epoch, logs=None):
            self.bar.close()

    callback = ProgressBar()
    try:
        yield [callback]
    finally:
        if callback.bar is not None:
            callback.bar.close()


def loss_text(logs: Mapping[str, float]) -> str:
    """The loss, with its two terms where it has them, and the accuracy."""
    terms = f"  (hard {logs['hard_loss']:.3f}, soft {logs['soft_loss']:.3f})" if "soft_loss" in logs else ""
    return f"loss {logs['loss']:.3f}{terms}  accuracy {100 * logs['accuracy']:.1f} %"


def step_text(logs: Mapping[str, float], *, clips_per_second: float, wait_share: float, seconds_left: float) -> str:
    """What stands beside the bar."""
    speed = f"{clips_per_second:.1f} clips/s, waiting for data {100 * wait_share:.1f} %"
    return f"{loss_text(logs)}  {speed}, {duration(seconds_left)} left"
