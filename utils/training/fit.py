"""The fit loop of teachers and students: seeds, optimiser, batches, callbacks."""

import contextlib
from collections.abc import Iterator, Mapping

import keras
import numpy as np

from models.distiller import Distiller, is_correct
from models.frames import backbone_variables
from utils.base.devices import jit_compile, strategy_scope
from utils.base.errors import UserError
from utils.base.options import TrainingOptions
from utils.base.run_log import begin_log, log_only
from utils.data.batches import RowReader, batch_loop, evaluation_batches, training_batches
from utils.data.labels import balanced_label_weights
from utils.data.protocols import Split
from utils.networks.precision import computing_in, training_precision
from utils.runs.history import history_array
from utils.runs.state import Ending, TrainingState, assign, own_variables
from utils.training.callbacks import AfterEachStep, EpochLog, tensorboard
from utils.training.guards import Guard, HopelessTraining
from utils.training.optimizers import optimizer
from utils.training.progress_bar import progress_bar
from utils.training.replicas import (
    ReplicatedLossScale,
    evenly_batched,
    replica_count,
    seed_per_replica,
    synchronised_statistics,
    use_replicas,
)


def set_seeds(options: TrainingOptions) -> None:
    """Seed Python, NumPy and Keras for initialisation and dropout; the order of batches has its own generator."""
    keras.utils.set_random_seed(options.seed)


def fit(
    model,
    reader: RowReader,
    split: Split,
    targets: Mapping[str, np.ndarray | RowReader],
    options: TrainingOptions,
    *,
    epoch_clips: int | None = None,
    state: TrainingState | None = None,
) -> np.ndarray:
    """Train `model` on the training rows of `split` and give it the weights of the epoch to keep.

    A Distiller has its own loss; any other model returns logits and is trained by cross entropy. `targets` are as in
    `training_batches`: `labels`, and for a Distiller with alpha < 1 `teacher_logits` or the inputs of its live teacher.
    An epoch has `epoch_clips` clips, by default all training rows. Class weights apply to training only.

    `state` holds the epochs of an interrupted training and receives each new one; afterwards `state.ending` is the
    reason why training ended. Returns the history, a structured array with one row per epoch (history.py). Raises
    Interrupted after the step in which a signal arrived, and UserError if training is hopeless from the first epoch.
    """
    state = state or TrainingState()
    steps = (epoch_clips or len(split.train)) // options.batch_size
    with strategy_scope(options.devices):
        precision = compile_model(model, options, steps)
    strategy = use_replicas(model, options)
    log = EpochLog(options, steps * options.batch_size, state)
    if state.can_resume:
        done = len(state.history)
        train, validation = batches(model, reader, split, targets, options, steps, done)
        guard = Guard(model, reader, split, targets, options, past=log.epochs)
        begin_log()
        with (
            batch_loop() as check,
            computing_in(model, precision),
            stopping_when_hopeless(log),
            progress_bar(options, steps, first_epoch=done) as bar,
            synchronised_statistics(model, strategy),
        ):
            callbacks = [AfterEachStep(check), *bar, guard, log, *seed_per_replica(strategy)]
            model.fit(
                train,
                steps_per_epoch=steps,
                initial_epoch=done,
                epochs=options.epochs,
                validation_data=validation,
                callbacks=[*callbacks, *tensorboard(options.tensorboard)],
                verbose=0,
                shuffle=False,  # training_batches has shuffled
            )
    assign(own_variables(model), log.kept_weights)
    return history_array(log.epochs)


def compile_model(model, options: TrainingOptions, steps_per_epoch: int) -> str:
    """Compile a Distiller, or a model of logits with cross entropy; return the dtype policy to train in."""
    precision = training_precision(options.precision)
    log_only(f"training precision: {precision}")
    adam = optimizer(options, steps_per_epoch, backbone_variables(getattr(model, "student", model)))
    if precision == "mixed_float16":
        scaled = ReplicatedLossScale if replica_count() > 1 else keras.optimizers.LossScaleOptimizer
        adam = scaled(adam)  # keeps small gradients from underflowing
    settings = {"optimizer": adam, "jit_compile": jit_compile() if replica_count() == 1 else False}
    if not isinstance(model, Distiller):  # which has its own loss and metrics
        accuracy = keras.metrics.MeanMetricWrapper(is_correct, name="accuracy")
        settings |= {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "metrics": [accuracy]}
    model.compile(**settings)
    return precision


def batches(model, reader: RowReader, split: Split, targets: Mapping, options: TrainingOptions, steps: int, done: int):
    """Return training batches from epoch `done` on, and validation batches, with targets as `model` takes them."""
    rows, batch_size = split.train, options.batch_size
    weighted = targets
    if options.class_weights == "balanced":
        weighted = {**targets, "label_weights": balanced_label_weights(targets["labels"], rows)}
    passes, skipped = divmod(done * steps, max(1, len(rows) // batch_size))
    train = training_batches(reader, rows, weighted, batch_size=batch_size, seed=options.seed, first_epoch=passes)
    train = train.skip(skipped)
    validation = evaluation_batches(reader, split.validation, targets, batch_size=batch_size)
    if not isinstance(model, Distiller):
        train, validation = train.map(keras_targets), validation.map(keras_targets)
    return train, evenly_batched(validation, options, clips=len(split.validation))


def keras_targets(clips, targets: Mapping):
    """Return a batch as Keras' own losses take it: clips, labels, and sample weights if there are any."""
    weights = targets.get("label_weights")
    return (clips, targets["labels"]) if weights is None else (clips, targets["labels"], weights)


@contextlib.contextmanager
def stopping_when_hopeless(log: EpochLog) -> Iterator[None]:
    """End a hopeless training with its best epoch so far. Raises UserError if no epoch has finished."""
    try:
        yield
    except HopelessTraining as reason:
        if not log.epochs:
            raise UserError(f"{reason} (--keep_going continues regardless)") from None
        print(f"note: stopped: {reason}; keeping the best epoch so far (--keep_going continues regardless)", flush=True)
        log.state.ending = Ending.HOPELESS
