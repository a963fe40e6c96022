"""The stages as functions of parsed arguments, called by the scripts and by reproduce.py."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models.c3d import build_c3d, set_sports1m_weights, split_at
from models.distiller import Distiller
from models.frames import backbone_of
from models.initialisation import can_be_initialised_by_data, initialise_by_data
from utils.data.batches import clip_reader
from utils.data.clips import open_clips
from utils.data.labels import few_labels
from utils.data.loading import SplitDataset, check_length, load, split_of, unlabelled_files
from utils.evaluation import results as report
from utils.evaluation.calibrating import calibrate_recorded, calibration_record, store_calibrations
from utils.evaluation.tables import summary
from utils.evaluation.testing import choose_test_clips, leaks_of_test, predict, with_seen_unlabelled
from utils.extraction.durations import clip_seconds
from utils.leaks.finder import LeakFinder
from utils.leaks.unlabelled import leaks_of_unlabelled
from utils.networks import sports1m
from utils.networks.averaging import recorded_views
from utils.networks.frozen_features import feature_reader
from utils.networks.initial_weights import ARGUMENT, set_initial_weights, unknown_test_clips
from utils.networks.memory import weights_within_memory
from utils.networks.precision import training_precision
from utils.networks.recognizer import check_format, load_recognizer, save_recognizer
from utils.networks.records import make_record, same_clips
from utils.networks.student_builders import builder_of, student_files, teacher_code
from utils.runtime.errors import as_user_error
from utils.runtime.files import file_fingerprint, replaced_together
from utils.runtime.run_log import logged
from utils.settings.options import (
    TASK_FROM_SCRATCH,
    DataOptions,
    DistillationOptions,
    NetworkOptions,
    OutputOptions,
    TeacherOptions,
    TrainingOptions,
    ViewOptions,
)
from utils.splits.groups import groups_or_reason
from utils.teachers import exchange
from utils.teachers.question import Question
from utils.teachers.targets import live_teacher, teacher_logits
from utils.teachers.teacher import check_teacher, resolve_teachers
from utils.training.fit import fit, set_seeds
from utils.training.history import draw_history, has_finite_losses, history_paths, kept_epoch, save_history
from utils.training.state import TrainingState, settings_of, training_state

INITIALISATION_CLIPS = 32
WHOLE_CLIPS = ViewOptions(views=0)


@dataclass(frozen=True)
class Trained:
    """Result of a training: the model's file, its record, and the history with one row per epoch."""

    output_path: Path
    record: dict
    history: np.ndarray


@logged
def train_teacher(
    *,
    data: DataOptions,
    training: TrainingOptions,
    network: NetworkOptions,
    teacher: TeacherOptions,
    output: OutputOptions,
    views: ViewOptions = WHOLE_CLIPS,
) -> Trained:
    """Stage 2: train a C3D teacher from scratch, or fine-tune it from Sports-1M weights.

    From scratch, each epoch reads a new view of each clip unless `views.views` is 0. Raises UserError for what a user
    can correct.
    """
    training_precision(training.precision)  # fails early if the device does not support it
    loaded = load(data, network.input_shape)
    options = [data, training, network, teacher, views]
    weights = file_fingerprint(teacher.weights) if teacher.weights else None
    files = {"--weights": weights, "code of the network": teacher_code(), **initial_files(training)}
    about = {"kind": "C3D teacher"} | about_weights(files, loaded, training)
    with training_state(output, settings_of(options, loaded, files)) as state:
        set_seeds(training)
        if teacher.task == TASK_FROM_SCRATCH:
            model = build(build_c3d, loaded, network)
            if not state.history:
                initialise(model, loaded, training)
            reader = clip_reader(loaded.dataset, network.input_shape, views, fresh=True)
            history = fit(model, reader, loaded.split, {"labels": loaded.dataset.labels}, training, state=state)
        else:
            model, history = fine_tune(loaded, training, network, teacher, output, views, state)
        return finish(model, history, loaded, output, options, about, state)


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
    model = build(build_c3d, loaded, network, block_dropout=0.0, sports1m_preprocessing=True)
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


def train_student(*, distillation: DistillationOptions, **settings) -> Trained:
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
) -> Trained:
    """Train a student from labels only: the baseline of distillation.

    With `labels_per_class` or `unlabelled`, training uses the labelled clips only, but an epoch has as many steps as
    with all clips, so that baseline and distilled student take the same number of steps. With `fail_on_leak`,
    unlabelled clips are checked as for the distilled student, although they only determine the number of steps. With
    `teacher_mode` "live", each epoch has new views, as for a student of a live teacher.
    """
    training_precision(training.precision)
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
        reader = clip_reader(loaded.dataset, network.input_shape, views, fresh=distillation.teacher_mode == "live")
        distiller = Distiller(student, alpha=1.0)
        epoch_clips = len(loaded.split.train) + len(loaded.dataset.unlabelled_rows)
        history = fit(distiller, reader, split, {"labels": labels}, training, epoch_clips=epoch_clips, state=state)
        return finish(student, history, loaded, output, options, about, state)


@logged
def train_distilled(
    *,
    data: DataOptions,
    training: TrainingOptions,
    network: NetworkOptions,
    distillation: DistillationOptions,
    output: OutputOptions,
    views: ViewOptions = WHOLE_CLIPS,
) -> Trained:
    """Train a student from labels and from the logits of the teachers `distillation.source`.

    Logits are computed once per view before training (utils/teachers/cache.py). With `teacher_mode` "live" they are
    computed in every step, for new views in each epoch. With `labels_per_class`, other clips get the soft loss only, as
    do `unlabelled` clips.
    """
    training_precision(training.precision)
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
    about = about_weights(files, loaded, training)
    with training_state(output, settings_of(options, loaded, files)) as state:
        set_seeds(training)
        student = build_student(distillation, loaded, training, network, output)  # fails before teachers are run
        starts = not state.history
        if starts and training.initial_weights:
            initialise(student, loaded, training)  # also fails before teachers are run
        for teacher in teachers:
            check_teacher(teacher, loaded)
        question, is_live = Question(loaded, views), distillation.teacher_mode == "live"
        if is_live:
            live, targets = live_teacher(teachers[0], question, network.input_shape)
        else:
            live, targets = None, {"teacher_logits": teacher_logits(teachers, question, distillation)}
        if starts and not training.initial_weights:
            initialise(student, loaded, training)
        distiller = Distiller(
            student, live and live.model, temperature=distillation.temperature, alpha=distillation.alpha
        )
        reader = clip_reader(dataset, network.input_shape, views, fresh=is_live)
        history = fit(distiller, reader, trained, {"labels": labels, **targets}, training, state=state)
        teacher = fingerprints if len(fingerprints) > 1 else fingerprints[0]
        about |= {"kind": "distilled student", "teacher": teacher, "unlabelled": leaks}
        return finish(student, history, loaded, output, options, about, state)


def write_views(
    *, data: DataOptions, network: NetworkOptions, views: ViewOptions, unlabelled: Sequence[Path], output_path: Path
) -> None:
    """Write the views whose logits a teacher of another framework must compute, see utils/teachers/exchange.py."""
    question = Question(load(data, network.input_shape, unlabelled), views)
    exchange.write_views(output_path, question, network.input_shape)


def evaluate(
    data: DataOptions,
    recognizers: Sequence[Path],
    *,
    output_path: Path | None = None,
    channels: str = "rgb",
    input_scale: str = "0..255",
    batch_size: int = 16,
    views: int = 1,
    flip: bool = True,
    calibrate: bool = False,
    force: bool = False,
    fail_on_leak: bool = False,
) -> dict:
    """Stage 4: test each recogniser on the test clips in its record, and compare the first with the others.

    `data.split` is None unless the user requests a split. With `views` above 1, the probabilities for that many views
    of each clip are averaged. They are the views of the training in the record, without flips if `flip` is false. With
    `calibrate`, temperature and threshold are first fitted to the validation clips in the records and stored there.
    Prints a table, writes the results to `output_path` if given, and returns {"recognizers": [...], "comparisons":
    [...]} with plain values. Raises UserError for what a user can correct; with `fail_on_leak` also if test clips share
    anything with clips that a recogniser has seen, or if those are unknown.
    """
    dataset = open_clips(data.data, data.annotations, data.paths)
    finders: dict[tuple, LeakFinder] = {}
    asked = None if data.split is None else split_of(data, dataset)
    group_pattern = data.group_pattern
    all_predictions = []
    for path in recognizers:
        recognizer = load_recognizer(path, argument="--recognizer", channels=channels, input_scale=input_scale)
        if group_pattern is None and recognizer.record is not None and same_clips(recognizer.record, dataset):
            group_pattern = recognizer.record["arguments"]["group_pattern"]
        check_length(data, dataset, recognizer.input_shape)
        if calibrate:
            recognizer = calibrate_recorded(recognizer, dataset, batch_size=batch_size)
        clips = choose_test_clips(recognizer, dataset, asked, force=force)
        seen, note = with_seen_unlabelled(dataset, recognizer.record)
        finder = finders.setdefault(tuple(part.frames.path for part in seen.unlabelled), LeakFinder(seen))
        leaks = leaks_of_test(finder, recognizer, clips, group_pattern, note, fail_on_leak=fail_on_leak)
        averaged = recorded_views(views, recognizer.record, flip=flip)
        predictions = predict(recognizer, dataset, clips, batch_size=batch_size, views=averaged)
        all_predictions.append(replace(predictions, leaks=leaks))
    groups, _ = groups_or_reason(dataset.paths, group_pattern)
    results = [report.result_of(predictions, dataset, groups) for predictions in all_predictions]
    if calibrate:
        store_calibrations([predictions.recognizer for predictions in all_predictions])
    compared = report.comparisons(all_predictions, groups)
    print(summary(results, compared))
    if output_path is not None:
        report.write_results(output_path, all_predictions, results, compared, dataset)
        print(f"wrote {output_path}")
    return {"recognizers": results, "comparisons": compared}


def build(builder: Callable, loaded: SplitDataset, network: NetworkOptions, **settings):
    """Build a network for the classes of the dataset. Raises UserError if the requested size is impossible."""
    size = {"input_shape": network.input_shape, "width": network.width, "dropout": network.dropout}
    with as_user_error("--input_size or --input_frames"), weights_within_memory():
        return builder(len(loaded.dataset.class_names), **size, **settings)


def build_student(
    distillation: DistillationOptions,
    loaded: SplitDataset,
    training: TrainingOptions,
    network: NetworkOptions,
    output: OutputOptions,
):
    """Build the student. Raises UserError also if the file format of the output cannot hold it."""
    builder = builder_of(distillation, is_pretrained=training.initial_weights is not None)
    student = build(builder, loaded, network)
    check_format(student, output.output_path)
    return student


def initial_files(training: TrainingOptions) -> dict[str, str]:
    """Return the digest of --initial_weights, for the settings of a training."""
    return {ARGUMENT: file_fingerprint(training.initial_weights)} if training.initial_weights else {}


def about_weights(files: dict[str, str], loaded: SplitDataset, training: TrainingOptions) -> dict[str, str | None]:
    """Return what the record states of the initial weights; `files` are digests by argument.

    Prints why a finished model may have seen test clips. Raises UserError if it has.
    """
    names = ("student_weights", "initial_weights")
    about = {name: files[f"--{name}"] for name in names if f"--{name}" in files}
    if training.initial_weights is not None:
        unknown = unknown_test_clips(training.initial_weights, loaded.dataset, loaded.split.test)
        if unknown:
            print(f"note: it is unknown which test clips the network has seen: {unknown}.")
        about["initial_weights_unknown"] = unknown
    return about


def initialise(model, loaded: SplitDataset, training: TrainingOptions) -> None:
    """Assign --initial_weights, or scale the random weights with some training clips.

    The latter is done if `training.initialisation` is "data", but not for students frames:NAME, whose image network is
    normalised or pretrained. Raises UserError if the initial weights are of another architecture.
    """
    if training.initial_weights is not None:
        set_initial_weights(model, training.initial_weights, loaded.dataset.class_names)
        return
    if training.initialisation != "data" or backbone_of(model) is not None:
        return
    if not can_be_initialised_by_data(model):
        print("note: this network is not a chain of 3D convolutions and dense layers; its weights stay as drawn.")
    else:
        rows = np.random.default_rng(training.seed).permutation(loaded.split.train)[:INITIALISATION_CLIPS]
        initialise_by_data(model, loaded.dataset.view_zero(rows, model.input_shape[1:]))


def finish(
    model,
    history: np.ndarray,
    loaded: SplitDataset,
    output: OutputOptions,
    options: Sequence,
    about: dict,
    state: TrainingState,
) -> Trained:
    """Save model, record, which includes `about`, and history together, draw the curves, and print the paths.

    The training state is removed last, unless the training can be resumed: if the process is killed before, the same
    command saves the files again. The record includes the calibration on validation clips
    (utils/networks/calibration.py) and the time that training clips span, if they are known.
    """
    path = output.output_path
    training = next(group for group in options if isinstance(group, TrainingOptions))
    row = kept_epoch(history, keep=training.keep, epochs=training.epochs)
    history_path, _, _ = history_paths(output.log_stem)
    kept = dict(zip(history.dtype.names, history[row].item()))
    record = about | {"seconds": state.seconds()}
    record |= make_record(
        loaded.dataset,
        loaded.split,
        input_shape=model.input_shape[1:],
        options=options,
        kept=kept,
        history_path=history_path,
    )
    record |= calibration_record(model, loaded.dataset, loaded.split.validation, batch_size=training.batch_size)
    record |= duration_record(loaded)
    with replaced_together():
        save_recognizer(model, path, record)
        save_history(history, output.log_stem)
    draw_history(history, output.log_stem, title=f"{about['kind']}: {path.name}", kept=row)
    print(
        f"saved {path} ({model.count_params():,} parameters) from epoch {kept['epoch']}: "
        f"validation accuracy {100 * kept['val_accuracy']:.1f} %; history in {history_path}"
    )
    if not has_finite_losses(history)[row]:
        print(f"note: no epoch has a finite validation loss, so {path} is not usable")
    if state.can_resume:
        print(f"note: {state.kept()}")
    else:
        state.remove()
    return Trained(path, record, history)


def duration_record(loaded: SplitDataset) -> dict:
    """Return the time that training clips span, from the log of stage 1 next to the arrays; empty if unknown."""
    dataset = loaded.dataset
    if dataset.paths is None:
        return {}
    paths = dataset.paths[loaded.split.train].tolist()
    found = clip_seconds(dataset.frames.path.parent, paths, dataset.frames.shape[1])
    return {"clip_seconds": found} if found else {}
