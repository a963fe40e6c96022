"""One fit loop for teacher, baseline and student: seeds, schedule, best epoch, progress, history."""

import importlib.util
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from utils.batches import Source, batch_loop, evaluation_batches, training_batches
from utils.class_weights import balanced_label_weights
from utils.devices import jit_compile
from utils.errors import UserError
from utils.figures import best_epoch
from utils.guards import Guard, hopeless_ends
from utils.history import history_array
from utils.options import TrainingOptions
from utils.precision import computing_in, scaled_for, training_precision
from utils.progress import duration
from utils.run_log import log_only
from utils.splits import Split
from utils.stopping import no_better_epoch, out_of_time
from utils.term_gradients import gradient_log
from utils.training_progress import loss_text, progress_bar
from utils.training_state import TrainingState, assign, own_variables
from utils.waiting import WaitClock

WARM_UP_SHARE = 0.1


def set_seeds(options: TrainingOptions) -> None:
    """Seeds Python, NumPy and Keras for initialisation and dropout; the order of batches has its own."""
    import keras

    keras.utils.set_random_seed(options.seed)


def optimizer(options: TrainingOptions, steps_per_epoch: int):
    """Adam with the schedule of `options`: 10 % linear warm-up and cosine decay to 0, or a constant rate.

    With `weight_decay` AdamW, which leaves biases and the variables of normalisation layers out.
    """
    import keras

    rate = options.learning_rate
    if options.schedule == "cosine":
        steps = options.epochs * steps_per_epoch
        warm_up = int(WARM_UP_SHARE * steps)
        rate = keras.optimizers.schedules.CosineDecay(
            rate / 10 if warm_up else rate,
            max(1, steps - warm_up),
            warmup_target=rate if warm_up else None,
            warmup_steps=warm_up,
        )
    if options.weight_decay == 0:
        return keras.optimizers.Adam(rate, global_clipnorm=options.clip_norm)
    adam_w = keras.optimizers.AdamW(rate, weight_decay=options.weight_decay, global_clipnorm=options.clip_norm)
    adam_w.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])  # shrinking these regularises nothing
    return adam_w


def fit(
    model,
    source: Source,
    split: Split,
    targets: Mapping[str, np.ndarray],
    options: TrainingOptions,
    *,
    epoch_clips: int | None = None,
    state: TrainingState | None = None,
) -> np.ndarray:
    """Trains `model` on the split's training rows and leaves it with the weights of its best epoch on validation.

    A Distiller brings its own loss; any other model returns logits and is trained by cross entropy. `targets` holds
    arrays with one entry a row of the dataset: `labels`, and for a Distiller with alpha < 1 `teacher_logits`. An
    epoch is `epoch_clips` long, by default one pass over the training rows. Class weights are for training alone:
    validation figures stay comparable. A Distiller with two terms logs the ratio of their gradients' norms
    (utils/term_gradients.py). `state` keeps each epoch that ends; those that it holds are not trained again.
    Returns the history, a structured array with one row an epoch (see utils/history.py). Raises Interrupted after
    the step in which a signal asks for the end.
    """
    import keras

    from models.distiller import Distiller

    state = state or TrainingState()
    rows, batch_size = split.train, options.batch_size
    weighted = targets
    if options.class_weights == "balanced":
        weighted = {**targets, "label_weights": balanced_label_weights(targets["labels"], rows)}
    steps = (epoch_clips or len(rows)) // batch_size
    done = len(state.history)
    passes, skipped = divmod(done * steps, max(1, len(rows) // batch_size))
    train = training_batches(source, rows, weighted, batch_size=batch_size, seed=options.seed, first_epoch=passes)
    train = train.skip(skipped)
    validation = evaluation_batches(source, split.validation, targets, batch_size=batch_size)
    precision = training_precision(options.precision)
    log_only(f"trains in {precision}")
    compile_settings = {"optimizer": scaled_for(precision, optimizer(options, steps)), "jit_compile": jit_compile()}
    if isinstance(model, Distiller):
        model.compile(**compile_settings)
    else:
        train, validation = (batches.map(keras_targets) for batches in (train, validation))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(**compile_settings, loss=loss, metrics=["accuracy"])

    clock = WaitClock()
    clock.attach(model)
    log = epoch_log(options, clock, steps * batch_size, state)
    if not state.ended:
        if done:
            print(f"continuing from epoch {done + 1} of {options.epochs}")
        has_two_terms = isinstance(model, Distiller) and 0 < model.distillation_loss.alpha < 1
        gradients = [gradient_log(model, source, split, targets)] if has_two_terms else []
        guard = Guard(model, source, split, targets, options, past=lambda: log.epochs)
        pace = {"steps": steps, "batch_size": batch_size, "clock": clock}
        with (
            batch_loop() as check,
            computing_in(model, precision),
            hopeless_ends(kept=lambda: bool(log.epochs)),
            progress_bar(first_epoch=done, epochs=options.epochs, **pace) as bar,
        ):
            model.fit(
                train,
                steps_per_epoch=steps,
                initial_epoch=done,
                epochs=options.epochs,
                validation_data=validation,
                callbacks=[
                    after_each_step(check),
                    *bar,
                    guard.callback(),
                    *gradients,
                    log,
                    *tensorboard(options.tensorboard),
                    keeping(state, log),
                ],
                verbose=0,
                shuffle=False,  # the order is that of training_batches
            )
        state.ended = not log.out_of_time
    assign(own_variables(model), log.best_weights)
    return history_array(log.epochs)


def after_each_step(check: Callable[[], None]):
    """A callback that calls `check` after each step of training and validation."""
    import keras

    class AfterEachStep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            check()

        def on_test_batch_end(self, batch, logs=None):
            check()

    return AfterEachStep()


def keeping(state: TrainingState, log):
    """A callback, the last of its list, that puts each epoch of the callback `log` into `state` as it ends."""
    import keras

    class Keeping(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.model.optimizer.build(self.model.trainable_variables)
            state.require_space(self.model)
            state.restore(self.model)

        def on_epoch_end(self, epoch, logs=None):
            best = None if best_epoch(history_array(log.epochs)) == epoch else log.best_weights
            state.save(self.model, log.epochs, best, ended=log.ended)

    return Keeping()


def keras_targets(clips, targets: Mapping):
    """A batch as Keras' own losses take it: clips, labels, and the labels' weights if there are any."""
    return (clips, targets["labels"], *([targets["label_weights"]] if "label_weights" in targets else []))


def tensorboard(folder: Path | None) -> list:
    """Keras' TensorBoard callback for scalars, or nothing. Raises UserError if its package is not installed."""
    import keras

    if folder and importlib.util.find_spec("tensorboard") is None:
        raise UserError("--tensorboard needs the package tensorboard, which is not installed: pip install tensorboard")
    return [keras.callbacks.TensorBoard(str(folder), write_graph=False)] if folder else []


def epoch_log(options: TrainingOptions, clock: WaitClock, clips_per_epoch: int, state: TrainingState):
    """A callback that collects the history, keeps the best epoch's weights, prints a line an epoch and ends early.

    It begins with what `state` holds. `ended` says that no epoch is to follow; after `out_of_time` a run may continue.
    """
    import keras

    class EpochLog(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.epochs: list[dict[str, float]] = list(state.history)
            self.best_weights = state.best()
            self.ended = self.out_of_time = False

        def on_train_begin(self, logs=None):
            self.begun = time.perf_counter()

        def on_epoch_begin(self, epoch, logs=None):
            self.started = time.perf_counter()
            clock.seconds = 0.0
            self.training_seconds = None

        def on_test_begin(self, logs=None):
            self.training_seconds = time.perf_counter() - self.started
            self.wait_share = clock.seconds / self.training_seconds

        def on_epoch_end(self, epoch, logs=None):
            self.epochs.append(
                {
                    "epoch": epoch + 1,
                    **{name: float(value) for name, value in logs.items()},
                    "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
                    "seconds": time.perf_counter() - self.started,
                    "clips_per_second": clips_per_epoch / self.training_seconds,
                    "wait_share": self.wait_share,
                }
            )
            history = history_array(self.epochs)
            is_best = best_epoch(history) == epoch
            if is_best:
                self.best_weights = [variable.numpy() for variable in own_variables(self.model)]
            print(epoch_line(self.epochs[-1], options.epochs, is_best=is_best), flush=True)
            if len(history) < options.epochs:
                seconds = time.perf_counter() - self.begun
                final = no_better_epoch(history, options)
                reason = final or out_of_time(history, options, seconds)
                if reason is not None:
                    print(f"note: stopped after epoch {epoch + 1}: {reason}")
                    self.ended, self.out_of_time, self.model.stop_training = final is not None, final is None, True
            else:
                self.ended = True

    return EpochLog()


def epoch_line(epoch: Mapping[str, float], epochs: int, *, is_best: bool) -> str:
    """One epoch for a person to read."""
    parts = [f"epoch {epoch['epoch']:>{len(str(epochs))}}/{epochs}", loss_text(epoch)]
    if "gradient_ratio" in epoch:
        parts.append(f"soft/hard gradients {epoch['gradient_ratio']:.2g}")
    parts.append(f"| validation loss {epoch['val_loss']:.3f}, accuracy {100 * epoch['val_accuracy']:.1f} %")
    if "val_agreement" in epoch:
        parts.append(f"(agrees with teacher {100 * epoch['val_agreement']:.1f} %)")
    parts.append(f"| {epoch['clips_per_second']:.1f} clips/s, waiting for data {100 * epoch['wait_share']:.1f} %")
    if epoch["epoch"] < epochs:
        parts[-1] += f", {duration((epochs - epoch['epoch']) * epoch['seconds'])} left"
    return "  ".join(parts) + ("  best so far" if is_best else "")
