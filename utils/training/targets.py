"""Distillation targets: the logits of one or several teachers for each view of each clip."""

import gc
from collections.abc import Sequence

import numpy as np

from utils.base.options import DistillationOptions
from utils.data.batches import RowReader, clip_reader
from utils.networks.averaging import average
from utils.networks.recognizer import Recognizer
from utils.runs.loading import SplitDataset
from utils.training.cache import cached_logits
from utils.training.exchange import read_scores
from utils.training.question import Question
from utils.training.teacher import Teacher


def teacher_logits(teachers: Sequence[Teacher], question: Question, distillation: DistillationOptions) -> np.ndarray:
    """Return distillation targets: logits float32 `(N, views + 1, C)` by row and view.

    Logits of networks are computed, or read from the cache; score files are read. For several teachers, the
    probabilities at `distillation.temperature` are averaged. Prints the accuracy of each teacher. Entries that
    `question` does not ask for are NaN, so that training on them by mistake is noticed. No network stays in memory.
    """
    found = []
    for teacher in teachers:
        if teacher.is_network:
            options = {"cache": distillation.cache, "scheduler": distillation.scheduler}
            found.append(cached_logits(teacher, question, **options))
        else:
            found.append(read_scores(teacher.path, question, teacher.scores))
        print_accuracy(str(teacher.path), found[-1][:, 0], question.data)
    gc.collect()  # Keras models are in reference cycles
    if len(found) == 1:
        return found[0]
    averaged = average(found, distillation.temperature)
    print_accuracy(f"average of {len(found)}", averaged[:, 0], question.data)
    return averaged


def live_teacher(
    teacher: Teacher, question: Question, input_shape: tuple[int, int, int, int]
) -> tuple[Recognizer, dict[str, RowReader]]:
    """Return the network of a live teacher, and `teacher_clips` as a target if its input differs from `input_shape`.

    That target is a reader of the student's views at the teacher's input size.
    """
    network = teacher.load(question.dataset)
    if network.input_shape == input_shape:
        return network, {}
    return network, {"teacher_clips": clip_reader(question.dataset, network.input_shape, question.views)}


def print_accuracy(name: str, logits: np.ndarray, data: SplitDataset) -> None:
    """Print the accuracy of a teacher on training and validation clips; a student learns its mistakes as well."""
    correct = logits[: len(data.dataset)].argmax(axis=1) == data.dataset.labels
    print(
        f"teacher {name}: accuracy {100 * correct[data.split.train].mean():.1f} % on training clips, "
        f"{100 * correct[data.split.validation].mean():.1f} % on validation clips"
    )
