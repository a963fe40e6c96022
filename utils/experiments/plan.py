"""The remaining trainings of an experiment, with an estimate of their time on this machine."""

import time
import timeit
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.c3d import build_c3d
from utils.base.errors import as_user_error
from utils.base.options import NetworkOptions, TrainingOptions
from utils.base.progress import duration
from utils.data.clips import FrameFile
from utils.experiments.not_reused import print_not_reused
from utils.networks.memory import weights_within_memory
from utils.networks.student_builders import builder_of

STEPS = 3  # timed steps of training and of inference, after a warm-up step


@dataclass(frozen=True)
class Cost:
    """Time of a network in seconds: to build and trace it, and per clip for a training step and a forward pass."""

    start: float
    step: float
    forward: float


def print_plan(grid) -> None:
    """Print each cell of the Grid with its state and estimated time, then their number and the total time."""
    costs = {}
    for cell in grid.cells:
        role = "teacher" if cell.row.role == "teacher" else "student"
        if not cell.is_trained and not cell.parts and role not in costs:
            builder = build_c3d if role == "teacher" else builder_of(grid.experiment.distillation)
            costs[role] = cost_of(builder, grid.class_count, cell.options["network"], cell.options["training"])
    total, states = 0.0, Counter()
    for cell in grid.cells:
        state = "tested" if cell.is_tested else "trained" if cell.is_trained else "to do"
        states[state] += 1
        seconds = 0.0 if cell.is_trained or cell.parts else estimate(grid, cell, costs)
        total += seconds
        left = f", about {duration(seconds)}" if seconds else ""
        print(f"{cell.fold}  seed {cell.seed}  {cell.row.name}: {state}{left}")
    print_not_reused(grid.cells)
    print(f"{len(grid.cells)} training runs ({', '.join(f'{count} {state}' for state, count in states.items())})")
    if total:
        print(f"about {duration(total)} on this machine, from {STEPS} steps of each network, without reading clips")


def estimate(grid, cell, costs: dict[str, Cost]) -> float:
    """Estimate the time of a cell in seconds: training and validation, and its share of computing teacher logits."""
    experiment, split = grid.experiment, grid.splits[cell.fold]
    is_teacher = cell.row.role == "teacher"
    training, trained = cell.options["training"], len(split.train)
    if not is_teacher:
        files = experiment.distillation.unlabelled
        trained += sum(FrameFile(path, "--unlabelled").shape[0] for path in files)
    cost = costs["teacher" if is_teacher else "student"]
    seconds = cost.start + training.epochs * (trained * cost.step + len(split.validation) * cost.forward)
    if cell.row.role == "distilled" and "teacher" in costs and not cell.teacher_cell.parts:
        students = len(experiment.temperatures) * len(experiment.alphas)
        views = (experiment.views.views + 1) * trained + len(split.validation)
        seconds += views * costs["teacher"].forward / students
    return seconds


def cost_of(builder: Callable, classes: int, network: NetworkOptions, training: TrainingOptions) -> Cost:
    """Measure a network: medians of a few steps on random clips."""
    import keras

    from utils.base.devices import jit_compile

    start = time.perf_counter()
    size = {"input_shape": network.input_shape, "width": network.width, "dropout": network.dropout}
    with as_user_error("--input_size or --input_frames"), weights_within_memory():
        model = builder(classes, **size)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss, jit_compile=jit_compile())
    clips = np.random.default_rng(0).integers(0, 256, (training.batch_size, *network.input_shape), np.uint8)
    labels = np.zeros(training.batch_size, np.int64)
    calls = (lambda: model.train_on_batch(clips, labels), lambda: model.predict_on_batch(clips))
    for call in calls:
        call()
    start = time.perf_counter() - start
    medians = [np.median(timeit.repeat(call, number=1, repeat=STEPS)) for call in calls]
    return Cost(start, *(float(median) / training.batch_size for median in medians))
