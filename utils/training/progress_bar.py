"""Progress of the running epoch on a terminal."""

import contextlib
import math
import sys
import time
from collections.abc import Iterator, Mapping

from tqdm import tqdm

from utils.base.options import TrainingOptions
from utils.base.progress import duration

BAR = "{percentage:3.0f} %|{bar:20}| {desc}"


@contextlib.contextmanager
def progress_bar(options: TrainingOptions, steps: int, *, first_epoch: int) -> Iterator[list]:
    """Yield a list with a callback that draws a bar per epoch on stderr, or an empty list if that is not a terminal.

    The bar is erased when its epoch ends. The time left is for all epochs, at the average speed of this run.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield []
        return
    import keras

    class ProgressBar(keras.callbacks.Callback):
        bar = None

        def on_train_begin(self, logs=None):
            self.start = time.perf_counter()

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch, self.epoch_start = epoch, time.perf_counter()
            self.label = f"epoch {epoch + 1}/{options.epochs}  "
            self.bar = tqdm(total=steps, bar_format=BAR, leave=False, dynamic_ncols=True, file=sys.stderr)
            self.bar.set_description_str(self.label)

        def on_train_batch_end(self, batch, logs=None):
            now = time.perf_counter()
            seconds = now - self.epoch_start
            done = (self.epoch - first_epoch) * steps + batch + 1
            left = (now - self.start) / done * ((options.epochs - first_epoch) * steps - done)
            rate = (batch + 1) * options.batch_size / seconds
            text = step_text(logs, clips_per_second=rate, seconds_left=left)
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
    """Return the loss, with its two terms if it has them, and the accuracy as text, "-" if there are no labels."""
    terms = f"  (hard {logs['hard_loss']:.3f}, soft {logs['soft_loss']:.3f})" if "soft_loss" in logs else ""
    accuracy = "-" if math.isnan(logs["accuracy"]) else f"{100 * logs['accuracy']:.1f} %"
    return f"loss {logs['loss']:.3f}{terms}  accuracy {accuracy}"


def step_text(logs: Mapping[str, float], *, clips_per_second: float, seconds_left: float) -> str:
    """Return the text next to the bar."""
    return f"{loss_text(logs)}  {clips_per_second:.1f} clips/s, {duration(seconds_left)} left"
