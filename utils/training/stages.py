"""Stages 2 and 3: train teachers and students, and write views for teachers of other frameworks."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.c3d import build_c3d, set_sports1m_weights, split_at
from models.distiller import Distiller
from models.frames import split_at_features
from utils.base.devices import strategy_scope, training_devices
from utils.base.errors import as_user_error, first_line
from utils.base.files import file_fingerprint, replaced_together
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
from utils.evaluation.calibrating import calibration_of
from utils.networks import sports1m
from utils.networks.backbone_weights import weights_fingerprint
from utils.networks.cost import cost_of_model
from utils.networks.frozen_features import feature_reader
from utils.networks.precision import training_precision
from utils.networks.recognizer import check_format, save_model
from utils.networks.student_builders import student_builder, student_code, student_files, teacher_code
from utils.runs.card import write_card_or_note
from utils.runs.cost import Cost
from utils.runs.history import draw_history, has_finite_losses, kept_epoch, save_history
from utils.runs.identity import settings_of
from utils.runs.loading import SplitDataset, load, unlabelled_files
from utils.runs.paths import RunFiles
from utils.runs.record import ClipSeconds, make_record
from utils.runs.run import Run
from utils.training import exchange
from utils.training.fit import fit, set_seeds
from utils.training.networks import about_weights, build, build_student, initial_files, initialise
from utils.training.probe_start import ProbeStart, keep_better, start_from_probe
from utils.training.question import Question
from utils.training.replicas import check_devices
from utils.training.state import TrainingState, training_state
from utils.training.targets import live_teacher, teacher_logits
from utils.training.teacher import check_teacher, resolve_teachers
from utils.training.unlabelled_leaks import leaks_of_unlabelled
from utils.video.about_arrays import clip_seconds, shrinking_of

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
        check_format(model, output.output_path)
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


def train_student(*, distillation: DistillationOptions, **settings) -> Run:
    """Stage 3: train a student with `train_alone` if `alpha` is 1, otherwise with `train_distilled`.

    `settings` are the other arguments of these functions. Raises UserError for what a user can correct.
    """
    train = train_alone if distillation.alpha == 1 else train_distilled
    return train(distillation=distillation, **settings)


@logged
def train_alone(
    *,
    data: DataOptions,
    training: TrainingOptions,
    network: NetworkOptions,
    distillation: DistillationOptions,
    output: OutputOptions,
    views: ViewOptions = WHOLE_CLIPS,
) -> Run:
    """Train a student from labels only: the baseline of distillation.

    With `labels_per_class` or `unlabelled`, training uses the labelled clips only, but an epoch has as many steps as
    with all clips, so that baseline and distilled student take the same number of steps. With `fail_on_leak`,
    unlabelled clips are checked as for the distilled student, although they only determine the number of steps. With
    `teacher_mode` "live", each epoch has new views, as for a student of a live teacher.
    """
    training_precision(training.precision)
    check_devices(training)
    loaded = load(data, network.input_shape, distillation.unlabelled)
    labels, split = loaded.dataset.labels, loaded.split
    if distillation.fail_on_leak:
        leaks_of_unlabelled(loaded, data.group_pattern, fail_on_leak=True)
    if distillation.labels_per_class is not None:
        labels = few_labels(labels, split, distillation.labels_per_class)
        split = replace(split, train=split.train[labels[split.train] >= 0])
    options = [data, training, network, distillation, views]
    files = student_files(distillation) | unlabelled_files(loaded) | initial_files(training)
    about = {"kind": "student"} | about_weights(files, loaded, training)
    with training_state(output, settings_of(options, loaded, files)) as state:
        set_seeds(training)
        student = build_student(distillation, loaded, training, network, output)
        if not state.history:
            initialise(student, loaded, training)  # with all clips, as for the distilled student
        start = student_start(student, loaded, labels, distillation, views, data.group_pattern)
        if start and distillation.freeze_backbone:
            return finish(student, start.history(0.0), loaded, output, options, about, state)
        reader = clip_reader(loaded.dataset, network.input_shape, views, fresh=distillation.teacher_mode == "live")
        with strategy_scope(training.devices):
            distiller = Distiller(student, alpha=1.0)
        epoch_clips = len(loaded.split.train) + len(loaded.dataset.unlabelled_rows)
        history = fit(distiller, reader, split, {"labels": labels}, training, epoch_clips=epoch_clips, state=state)
        return finish(student, history, loaded, output, options, about, state, start)


@logged
def train_distilled(
    *,
    data: DataOptions,
    training: TrainingOptions,
    network: NetworkOptions,
    distillation: DistillationOptions,
    output: OutputOptions,
    views: ViewOptions = WHOLE_CLIPS,
) -> Run:
    """Train a student from labels and from the logits of the teachers `distillation.source`.

    Logits are computed once per view before training (utils/training/cache.py). With `teacher_mode` "live" they are
    computed in every step, for new views in each epoch. With `labels_per_class`, other clips get the soft loss only, as
    do `unlabelled` clips.
    """
    training_precision(training.precision)
    check_devices(training)
    loaded = load(data, network.input_shape, distillation.unlabelled)
    dataset, split = loaded.dataset, loaded.split
    leaks = leaks_of_unlabelled(loaded, data.group_pattern, fail_on_leak=distillation.fail_on_leak)
    labels = dataset.labels
    if distillation.labels_per_class is not None:
        labels = few_labels(labels, split, distillation.labels_per_class)
    labels = np.concatenate([labels, np.full(len(dataset.unlabelled_rows), -1)])
    trained = replace(split, train=np.concatenate([split.train, dataset.unlabelled_rows]))
    teachers = resolve_teachers(distillation)
    fingerprints = [teacher.fingerprint for teacher in teachers]
    options = [data, training, network, distillation, views]
    files = {f"--source {number}": teacher.key for number, teacher in enumerate(teachers, start=1)}
    files |= student_files(distillation) | unlabelled_files(loaded) | initial_files(training)
    for teacher in teachers:
        check_teacher(teacher, loaded)
    about = about_weights(files, loaded, training, teachers)
    with training_state(output, settings_of(options, loaded, files)) as state:
        set_seeds(training)
        student = build_student(distillation, loaded, training, network, output)  # fails before teachers are run
        starts = not state.history
        if starts and training.initial_weights:
            initialise(student, loaded, training)  # also fails before teachers are run
        question, is_live = Question(loaded, views), distillation.teacher_mode == "live"
        if is_live:
            with strategy_scope(training.devices):
                live, targets = live_teacher(teachers[0], question, network.input_shape)
        else:
            live, targets = None, {"teacher_logits": teacher_logits(teachers, question, distillation)}
        if starts and not training.initial_weights:
            initialise(student, loaded, training)
        start = student_start(student, loaded, labels[: len(dataset)], distillation, views, data.group_pattern)
        loss = {"temperature": distillation.temperature, "alpha": distillation.alpha}
        targets["labels"] = labels
        if distillation.freeze_backbone:
            features, head = split_at_features(student)
            rows = np.concatenate([trained.train, split.validation])
            with feature_reader(features, dataset, rows, output.output_path.parent) as reader:
                history = fit(Distiller(head, **loss), reader, trained, targets, training, state=state)
        else:
            with strategy_scope(training.devices):
                distiller = Distiller(student, live and live.model, **loss)
            reader = clip_reader(dataset, network.input_shape, views, fresh=is_live)
            history = fit(distiller, reader, trained, targets, training, state=state)
        about |= {"kind": "distilled student", "teachers": fingerprints, "unlabelled": leaks}
        return finish(student, history, loaded, output, options, about, state, start)


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


def finish(
    model,
    history: np.ndarray,
    loaded: SplitDataset,
    output: OutputOptions,
    options: Sequence,
    about: dict,
    state: TrainingState,
    start: ProbeStart | None = None,
) -> Run:
    """Save model, record, which includes `about`, card and history together, draw the curves, and print the paths.

    The training state is removed last, unless the training can be resumed: if the process is killed before, the same
    command saves the files again. The record includes the calibration on validation clips
    (utils/runs/calibration.py), the cost of the network and the time that training clips span, if they are known.
    """
    path = output.output_path
    training = next(group for group in options if isinstance(group, TrainingOptions))
    row = kept_epoch(history, keep=training.keep, epochs=training.epochs)
    files = RunFiles.of(output)
    kept = dict(zip(history.dtype.names, history[row].item()))
    if start is not None:
        kept = keep_better(model, start, kept)
    calibration = calibration_of(model, loaded.dataset, loaded.split.validation, batch_size=training.batch_size)
    with replaced_together():
        fingerprint = save_model(model, path)  # first, so that the file is replaced last
        record = make_record(
            loaded.dataset,
            loaded.split,
            input_shape=model.input_shape[1:],
            options=options,
            kept=kept,
            history_path=files.history,
            fingerprint=fingerprint,
            shrinking=shrinking_of(loaded.dataset.frames.path.parent),
            seconds=state.seconds(),
            devices=len(training_devices(training.devices)),
            calibration=calibration,
            clip_seconds=duration_of_clips(loaded),
            cost=cost_if_known(model),
            **about,
        )
        record.save(path)
        save_history(history, files)
        write_card_or_note(path, record)
    draw_history(history, files, title=f"{about['kind']}: {path.name}", kept=row)
    print(
        f"saved {path} ({model.count_params():,} parameters) from epoch {kept['epoch']}: "
        f"validation accuracy {100 * kept['val_accuracy']:.1f} %; history in {files.history}"
    )
    if not has_finite_losses(history)[row]:
        print(f"note: no epoch has a finite validation loss, so {path} is not usable")
    if state.history and state.can_resume:
        print(f"note: {state.kept()}")
    else:
        state.remove()
    return Run(path, record)


def cost_if_known(model) -> Cost | None:
    """Return the cost of a network; None, after a note, if TensorFlow cannot count it."""
    try:
        return cost_of_model(model)
    except Exception as error:  # of a user's layers; the training must not be lost
        print(f"note: the record has no cost of the model ({first_line(error)})")
        return None


def duration_of_clips(loaded: SplitDataset) -> ClipSeconds | None:
    """Return the time that training clips span, from the log of stage 1 next to the arrays; None if it is unknown."""
    dataset = loaded.dataset
    if dataset.paths is None:
        return None
    paths = dataset.paths[loaded.split.train].tolist()
    found = clip_seconds(dataset.frames.path.parent, paths, dataset.frames.shape[1])
    return ClipSeconds(**found) if found else None
