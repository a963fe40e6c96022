"""Teachers before their student starts: whether they may teach, and what they answer."""

import gc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import log_softmax, logsumexp

from utils.data.batches import clip_source
from utils.data.clips import ClipDataset
from utils.networks.recognizer import Recognizer, load_recognizer, read_record
from utils.networks.records import recorded_split, same_clips
from utils.runtime.errors import UserError
from utils.settings.options import DistillationOptions
from utils.splits.checks import refuse_seen_test_clips
from utils.splits.protocols import Split
from utils.teachers.cache import cached_answers
from utils.teachers.exchange import read_scores
from utils.teachers.question import Question


def named_sources(distillation: DistillationOptions) -> dict[str, Path]:
    """The teachers' files by what to call them in messages. Raises UserError if there are none."""
    sources = distillation.sources
    if not sources:
        raise UserError("--source must name a teacher unless --alpha is 1, got none")
    return {"--source" if len(sources) == 1 else f"--source no. {k}": path for k, path in enumerate(sources, 1)}


def teaching(
    distillation: DistillationOptions, question: Question, input_shape: tuple[int, int, int, int]
) -> tuple[object | None, dict]:
    """What a Distiller of clips `input_shape` needs: a teacher for the step or None, and targets beside the labels.

    A teacher in the step gives new answers in every step; of another input shape it is shown the same views at its
    own. Without one the targets are its stored answers. Raises UserError if a source may not teach.
    """
    for source in distillation.models:
        check_record(source, read_record(source, argument="--source"), question.dataset, question.split)
    if distillation.teacher != "live":
        return None, {"teacher_logits": teacher_answers(distillation, question)}
    if len(distillation.sources) > 1 or not distillation.models:
        raise UserError(
            "--teacher live must have one network as --source, got " + " ".join(map(str, distillation.sources))
        )
    teacher = load_teacher(distillation.models[0], distillation, question.dataset)
    if teacher.input_shape == input_shape:
        return teacher.model, {}
    return teacher.model, {"teacher_clips": clip_source(question.dataset, teacher.input_shape, question.views)}


def teacher_answers(distillation: DistillationOptions, question: Question) -> np.ndarray:
    """What the student is taught: float32 `(N, K + 1, C)` by row and view of the clips, logits at the temperature.

    Computed by the networks among the sources or read from where that was done before, or read from files of scores.
    Of several sources the softened probabilities are averaged. Prints how often each is right. What `question` does
    not ask for is NaN, which makes a clip that was not meant to be trained on visible at once. No network is in
    memory afterwards. Raises UserError for what a user can mend.
    """
    answers = []
    for source in distillation.sources:
        if source in distillation.models:
            conventions = conventions_of(source, distillation)
            answers.append(
                cached_answers(
                    source,
                    lambda source=source: load_teacher(source, distillation, question.dataset),
                    question,
                    conventions=conventions,
                    cache=distillation.cache,
                )
            )
        else:
            answers.append(read_scores(source, question))
        report_teacher(str(source), answers[-1][:, 0], question.dataset, question.split)
    gc.collect()  # a Keras model is part of reference cycles
    if len(answers) == 1:
        return answers[0]
    averaged = average(answers, distillation.temperature)
    report_teacher(f"average of {len(answers)}", averaged[:, 0], question.dataset, question.split)
    return averaged


def average(answers: Sequence[np.ndarray], temperature: float) -> np.ndarray:
    """Logits whose probabilities at `temperature` are the mean of those of all `answers`; float32, of their shape."""
    logarithms = [log_softmax(np.asarray(logits, np.float64) / temperature, axis=-1) for logits in answers]
    return (temperature * (logsumexp(logarithms, axis=0) - np.log(len(answers)))).astype(np.float32)


def load_teacher(source: Path, distillation: DistillationOptions, dataset: ClipDataset) -> Recognizer:
    """The network in the file `source`. Raises UserError if it has other classes or takes longer clips."""
    conventions = conventions_of(source, distillation)
    teacher = load_recognizer(source, argument="--source", **conventions)
    check_network(teacher, dataset)
    return teacher


def conventions_of(source: Path, distillation: DistillationOptions) -> dict[str, str]:
    """What the network in `source` expects; beside other sources, one with a record is not meant by the arguments."""
    if len(distillation.sources) > 1 and read_record(source, argument="--source") is not None:
        return {"channels": "rgb", "input_scale": "0..255"}
    return {"channels": distillation.source_channels, "input_scale": distillation.source_input_scale}


def check_record(source: Path, record: dict | None, dataset: ClipDataset, split: Split) -> None:
    """Raises UserError if a record says other classes, or that its network has seen test clips of this split."""
    what = f"--source {source}"
    if record is None:
        print(f"note: {what} has no record, so it cannot be known whether it has seen the test clips.")
        return
    known, classes = tuple(record["class_names"]), dataset.class_names
    if len(known) == len(classes) and known != classes:
        differing = [f"{name} / {found}" for name, found in zip(known, classes) if name != found]
        raise UserError(
            f"--source: {source} must know the classes of --data in their order, but {len(differing)} differ "
            f"(its class / that of --data: {', '.join(differing[:3])})"
        )
    if len(known) != len(classes):
        raise UserError(f"--source: {source} knows {len(known)} classes but --data holds {len(classes)}")
    if not same_clips(record, dataset):
        print(f"note: {what} was trained on other arrays, so it cannot be known whether it has seen the test clips.")
    else:
        refuse_seen_test_clips(split, recorded_split(record), what=what)


def check_network(teacher: Recognizer, dataset: ClipDataset) -> None:
    """Raises UserError if a network has another number of classes or takes longer clips than there are."""
    classes, stored = len(dataset.class_names), dataset.frames.shape[1]
    if teacher.num_classes != classes:
        raise UserError(f"--source: {teacher.path} knows {teacher.num_classes} classes but --data holds {classes}")
    if stored < teacher.input_shape[0]:
        raise UserError(
            f"--source: {teacher.path} takes {teacher.input_shape[0]} frames but --data holds clips of {stored}"
        )


def report_teacher(name: str, logits: np.ndarray, dataset: ClipDataset, split: Split) -> None:
    """Prints how often a teacher is right: a student learns its mistakes as well."""
    right = logits.argmax(axis=1) == dataset.labels
    print(
        f"teacher {name}: {100 * right[split.train].mean():.1f} % right on training clips, "
        f"{100 * right[split.validation].mean():.1f} % on validation clips"
    )
