"""What an experiment has still to do, and about how long that takes on this machine."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.c3d import build_c3d
from utils.networks.student_builders import student_builder
from utils.runtime.errors import as_user_error
from utils.runtime.progress import duration
from utils.settings.options import NetworkOptions, TrainingOptions

STEPS = 3  # timed steps of training and of answering, after the first one


@dataclass(frozen=True)
class Cost:
    """Seconds that a network takes: to be built and traced, and a clip for a step of training and for an answer."""

    start: float
    step: float
    answer: float


def print_plan(grid) -> None:
    """Prints each cell of the Grid with its state and estimated time, then the number of cells and the whole time."""
    experiment = grid.experiment
    classes = grid.class_count
    costs = {}
    for cell in grid.cells:
        role = "teacher" if cell.row.role == "teacher" else "student"
        if not cell.is_trained and not cell.parts and role not in costs:
            builder = build_c3d if role == "teacher" else student_builder(experiment.distillation.student)
            costs[role] = cost_of(builder, classes, cell.options["network"], cell.options["training"])
    total, states = 0.0, Counter()
    for cell in grid.cells:
        state = "tested" if cell.is_tested else "trained" if cell.is_trained else "to do"
        states[state] += 1
        seconds = 0.0 if cell.is_trained or cell.parts else estimate(grid, cell, costs)
        total += seconds
        left = f", about {duration(seconds)}" if seconds else ""
        print(f"{cell.fold}  seed {cell.seed}  {cell.row.name}: {state}{left}")
    print(f"{len(grid.cells)} trainings ({', '.join(f'{count} {state}' for state, count in states.items())})")
    if total:
        print(f"about {duration(total)} on this machine, by {STEPS} steps of each network; reading clips is not in it")


def estimate(grid, cell, costs: dict[str, Cost]) -> float:
    """Seconds that a cell takes: its epochs of training and validation, and its share of its teacher's answers."""
    experiment, split = grid.experiment, grid.splits[cell.fold]
    is_teacher = cell.row.role == "teacher"
    training = cell.options["training"]
    cost = costs["teacher" if is_teacher else "student"]
    seconds = cost.start + training.epochs * (len(split.train) * cost.step + len(split.validation) * cost.answer)
    if cell.row.role == "distilled" and "teacher" in costs and not cell.teacher_cell.parts:
        sharers = len(experiment.temperatures) * len(experiment.alphas)
        views = (experiment.views.views + 1) * len(split.train) + len(split.validation)
        seconds += views * costs["teacher"].answer / sharers
    return seconds


def cost_of(builder: Callable, classes: int, network: NetworkOptions, training: TrainingOptions) -> Cost:
    """What a network costs here: medians of a few steps on random clips."""
    import keras

    from utils.runtime.devices import jit_compile

    start = time.perf_counter()
    size = {"input_shape": network.input_shape, "width": network.width, "dropout": network.dropout}
    with as_user_error("--input_size or --input_frames"):
        model = builder(classes, **size)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss, jit_compile=jit_compile())
    clips = np.random.default_rng(0).integers(0, 256, (training.batch_size, *network.input_shape), np.uint8)
    labels = np.zeros(training.batch_size, np.int64)
    works = (lambda: model.train_on_batch(clips, labels), lambda: model.predict_on_batch(clips))
    for work in works:
        work()
    start = time.perf_counter() - start
    step, answer = (median_seconds(work) / training.batch_size for work in works)
    return Cost(start, step, answer)


def median_seconds(work) -> float:
    """The median time of STEPS calls."""
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))
