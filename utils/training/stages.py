"""Stages 2 and 3: train teachers and students, and write views for teachers of other frameworks."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.c3d import build_c3d, set_sports1m_weights, split_at
from models.distiller import Distiller
from models.frames import split_at_features
from utils.base.devices import strategy_scope
from utils.base.errors import as_user_error
from utils.base.files import file_fingerprint
from utils.base.frame_students import IMAGENET, NO_WEIGHTS, PREFIX
from utils.base.options import (
    TASK_FROM_SCRATCH,
    TASK_PROBE,
    DataOptions,
    DistillationOptions,
    NetworkOptions,
    OutputOptions,
    TeacherOptions,
    TrainingOptions,
    ViewOptions,
)
from utils.base.run_log import logged
from utils.data.batches import clip_reader
from utils.data.labels import few_labels
from utils.networks import sports1m
from utils.networks.backbone_weights import weights_fingerprint
from utils.networks.frozen_features import feature_reader
from utils.networks.precision import training_precision
from utils.networks.student_builders import check_student, student_builder, student_code, student_files, teacher_code
from utils.runs.identity import settings_of
from utils.runs.loading import SplitDataset, load, unlabelled_files
from utils.runs.run import Run
from utils.runs.state import TrainingState, training_state
from utils.training import exchange
from utils.training.finishing import finish
from utils.training.fit import fit, set_seeds
from utils.training.networks import about_weights, build, build_student, initial_files, initialise
from utils.training.probe_start import ProbeStart, start_from_probe
from utils.training.question import Question
from utils.training.replicas import check_devices
from utils.training.targets import live_teacher, teacher_logits
from utils.training.teacher import check_teacher, resolve_teachers
from utils.training.unlabelled_leaks import leaks_of_unlabelled

WHOLE_CLIPS = ViewOptions(views=0)


@logged
def train_teacher(
    *,
    data: DataOptions,
    training: TrainingOptions,
    network: NetworkOptions,
    teacher: TeacherOptions,
    output: OutputOptions,
    views: ViewOptions = WHOLE_CLIPS,
) -> Run:
    """Stage 2: train a C3D teacher from scratch, fine-tune it from Sports-1M weights, or fit an image teacher.

    From scratch, each epoch reads a new view of each clip unless `views.views` is 0. Raises UserError for what a user
    can correct.
    """
    training_precision(training.precision)  # fails early if the device does not support it
    check_devices(training)
    if teacher.task == TASK_PROBE:
        return fit_image_teacher(data, training, network, teacher, output, views)
    loaded = load(data, network.input_shape)
    options = [data, training, network, teacher, views]
    weights = file_fingerprint(teacher.weights) if teacher.weights else None
    files = {"--weights": weights, "code of the network": teacher_code(), **initial_files(training)}
    about = {"kind": "C3D teacher"} | about_weights(files, loaded, training)
    with training_state(output, settings_of(options, loaded, files)) as state:
        set_seeds(training)
        if teacher.task == TASK_FROM_SCRATCH:
            model = build(build_c3d, loaded, network, training)
            if not state.history:
                initialise(model, loaded, training)
            reader = clip_reader(loaded.dataset, network.input_shape, views, fresh=True)
            history = fit(model, reader, loaded.split, {"labels": loaded.dataset.labels}, training, state=state)
        else:
            model, history = fine_tune(loaded, training, network, teacher, output, views, state)
        return finish(model, history, loaded, output, options, about, state)


def fit_image_teacher(
    data: DataOptions,
    training: TrainingOptions,
    network: NetworkOptions,
    teacher: TeacherOptions,
    output: OutputOptions,
    views: ViewOptions,
) -> Run:
    """Fit a linear probe to frozen ImageNet features of the frames, averaged over the clip; see probe_start.py."""
    loaded = load(data, network.input_shape)
    student = f"{PREFIX}{teacher.backbone}"
    options = [data, training, network, teacher, views]
    files = {
        "ImageNet weights": weights_fingerprint(teacher.backbone, IMAGENET),
        "code of the network": student_code(student),
    }
    with training_state(output, settings_of(options, loaded, files)) as state:
        began = time.perf_counter()
        model = build(student_builder(student, weights=IMAGENET), loaded, replace(network, dropout=0.0), training)
        check_student(student, model, len(loaded.dataset.class_names), network.input_shape, output.output_path)
        start = start_from_probe(model, loaded, loaded.dataset.labels, views, data.group_pattern)
        history = start.history(time.perf_counter() - began)
        return finish(model, history, loaded, output, options, {"kind": "image teacher"}, state)


def fine_tune(
    loaded: SplitDataset,
    training: TrainingOptions,
    network: NetworkOptions,
    teacher: TeacherOptions,
    output: OutputOptions,
    views: ViewOptions,
    state: TrainingState,
):
    """Train a C3D with Sports-1M weights and a new classifier from layer `teacher.unfreeze` up.

    The outputs of the frozen layers are computed once per clip, for view 0. Returns the model and its history.
    """
    model = build(build_c3d, loaded, network, training, block_dropout=0.0, sports1m_preprocessing=True)
    file = sports1m.weights_file(teacher.weights)
    with as_user_error(f"--weights {file} does not fit --width {network.width} and --input_size"):
        set_sports1m_weights(model, sports1m.read_weights(file))
    with as_user_error("--unfreeze"):
        frozen, trained = split_at(model, teacher.unfreeze)
    dataset, split, targets = loaded.dataset, loaded.split, {"labels": loaded.dataset.labels}
    if not frozen.count_params():
        reader = clip_reader(dataset, network.input_shape, views, fresh=True)
        return model, fit(model, reader, split, targets, training, state=state)
    rows = np.concatenate([split.train, split.validation])
    print(f"computing the frozen layers below {teacher.unfreeze} once for {len(rows)} clips")
    with feature_reader(frozen, dataset, rows, output.output_path.parent) as reader:
        return model, fit(trained, reader, split, targets, training, state=state)


@logged
def train_student(
    *,
    data: DataOptions,
    training: TrainingOptions,
    network: NetworkOptions,
    distillation: DistillationOptions,
    output: OutputOptions,
    views: ViewOptions = WHOLE_CLIPS,
) -> Run:
    """Stage 3: train a student from labels and teachers, or with `alpha` 1 from labels only, the baseline.

    Logits of teachers are computed once per view before training (utils/training/cache.py). With `teacher_mode` "live"
    they are computed in every step, for new views in each epoch; the baseline gets new views as well. With
    `labels_per_class`, other clips get the soft loss only, as do `unlabelled` clips. The baseline is trained on the
    labelled clips, but its epochs have as many steps as those of the distilled student. Unlabelled clips only determine
    that number, yet `fail_on_leak` checks them too. Raises UserError for what a user can correct.
    """
    training_precision(training.precision)  # fails early if the device does not support it
    check_devices(training)
    loaded = load(data, network.input_shape, distillation.unlabelled)
    is_distilled, is_live = distillation.alpha < 1, distillation.teacher_mode == "live"
    leaks = None
    if is_distilled or distillation.fail_on_leak:
        leaks = leaks_of_unlabelled(loaded, data.group_pattern, fail_on_leak=distillation.fail_on_leak)
    labels, split = labels_and_split(loaded, distillation, training.batch_size)
    teachers = resolve_teachers(distillation) if is_distilled else ()
    options = [data, training, network, distillation, views]
    files = {f"--source {number}": teacher.key for number, teacher in enumerate(teachers, start=1)}
    files |= student_files(distillation) | unlabelled_files(loaded) | initial_files(training)
    for teacher in teachers:
        check_teacher(teacher, loaded)
    about = about_weights(files, loaded, training, teachers)
    about["kind"] = "distilled student" if is_distilled else "student"
    if is_distilled:
        about |= {"teachers": [teacher.fingerprint for teacher in teachers], "unlabelled": leaks}
    with training_state(output, settings_of(options, loaded, files)) as state:
        set_seeds(training)
        student = build_student(distillation, loaded, training, network, output)  # fails before teachers are run
        if not state.history:
            initialise(student, loaded, training)
        start = student_start(student, loaded, labels[: len(loaded.dataset)], distillation, views, data.group_pattern)
        if start and distillation.freeze_backbone and not is_distilled:
            return finish(student, start.history(0.0), loaded, output, options, about, state)
        live, targets = None, {"labels": labels}
        if is_distilled and not is_live:
            targets["teacher_logits"] = teacher_logits(teachers, Question(loaded, views), distillation)
        if distillation.freeze_backbone and is_distilled:
            features, head = split_at_features(student)
            rows = np.concatenate([split.train, split.validation])
            with feature_reader(features, loaded.dataset, rows, output.output_path.parent) as reader:
                distiller = Distiller(head, **distillation.loss())
                history = fit(distiller, reader, split, targets, training, state=state)
                return finish(student, history, loaded, output, options, about, state, start)
        with strategy_scope(training.devices):
            if is_distilled and is_live:
                live, clips = live_teacher(teachers[0], Question(loaded, views), network.input_shape)
                targets |= clips
            distiller = Distiller(student, live and live.model, **distillation.loss())
        reader = clip_reader(loaded.dataset, network.input_shape, views, fresh=is_live)
        epoch_clips = len(loaded.split.train) + len(loaded.dataset.unlabelled_rows)
        history = fit(distiller, reader, split, targets, training, epoch_clips=epoch_clips, state=state)
        return finish(student, history, loaded, output, options, about, state, start)


def labels_and_split(loaded: SplitDataset, distillation: DistillationOptions, batch_size: int):
    """Return the labels of all clips, -1 for clips without one, and the split with the clips to train on.

    The baseline trains on labelled clips. If they do not fill a batch, but all training clips do, they are repeated.
    """
    dataset, split, labels = loaded.dataset, loaded.split, loaded.dataset.labels
    if distillation.labels_per_class is not None:
        labels = few_labels(labels, split, distillation.labels_per_class)
    labels = np.concatenate([labels, np.full(len(dataset.unlabelled_rows), -1)])
    rows = np.concatenate([split.train, dataset.unlabelled_rows])
    if distillation.alpha < 1:
        return labels, replace(split, train=rows)
    labelled = rows[labels[rows] >= 0]
    if len(labelled) < batch_size <= len(rows):
        labelled = np.tile(labelled, -(-batch_size // len(labelled)))
    return labels, replace(split, train=labelled)


def student_start(
    student,
    loaded: SplitDataset,
    labels: np.ndarray,
    distillation: DistillationOptions,
    views: ViewOptions,
    group_pattern: str | None,
) -> ProbeStart | None:
    """Let a student with ImageNet weights start from its linear probe; None for any other student."""
    if distillation.student_weights == NO_WEIGHTS:
        return None
    return start_from_probe(student, loaded, labels, views, group_pattern)


def write_views(
    *, data: DataOptions, network: NetworkOptions, views: ViewOptions, unlabelled: Sequence[Path], output_path: Path
) -> None:
    """Write the views whose logits a teacher of another framework must compute, see utils/training/exchange.py."""
    question = Question(load(data, network.input_shape, unlabelled), views)
    exchange.write_views(output_path, question, network.input_shape)
