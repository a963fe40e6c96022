"""One fit loop for teacher, baseline and student: seeds, schedule, best epoch, progress, history."""

from collections.abc import Mapping

import numpy as np

from utils.data.batches import Source, batch_loop, evaluation_batches, training_batches
from utils.data.labels import balanced_label_weights
from utils.networks.precision import computing_in, scaled_for, training_precision
from utils.runtime.devices import jit_compile
from utils.runtime.run_log import log_only
from utils.settings.options import TrainingOptions
from utils.splits.protocols import Split
from utils.training.callbacks import after_each_step, epoch_log, keeping, tensorboard
from utils.training.gradient_ratio import gradient_log
from utils.training.guards import Guard, hopeless_ends
from utils.training.history import history_array
from utils.training.progress_bar import WaitClock, progress_bar
from utils.training.state import TrainingState, assign, own_variables

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
    (utils/training/gradient_ratio.py). `state` keeps each epoch that ends; those that it holds are not trained again.
    Returns the history, a structured array with one row an epoch (see history.py). Raises Interrupted after
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


def keras_targets(clips, targets: Mapping):
    """A batch as Keras' own losses take it: clips, labels, and the labels' weights if there are any."""
    return (clips, targets["labels"], *([targets["label_weights"]] if "label_weights" in targets else []))
