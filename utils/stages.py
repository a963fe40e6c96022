"""What each stage does once its arguments are parsed; the scripts and reproduce.py call these functions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models.c3d import build_c3d, set_sports1m_weights, split_at
from models.distiller import Distiller
from models.initialisation import can_be_initialised_by_data, initialise_by_data
from utils.data.batches import clip_source
from utils.data.clips import ClipDataset, open_clips
from utils.data.labels import with_few_labels
from utils.data.loading import check_length, open_data, split_of
from utils.evaluation import results as report
from utils.evaluation.testing import answer, choose_test_clips, leaks_of_test
from utils.leaks.finder import LeakFinder
from utils.networks import sports1m
from utils.networks.frozen_features import feature_source
from utils.networks.precision import training_precision
from utils.networks.recognizer import load_recognizer, save_recognizer
from utils.networks.records import make_record, same_clips
from utils.networks.student_builders import source_file, student_builder
from utils.runtime.errors import as_user_error
from utils.runtime.files import file_fingerprint
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
from utils.splits.protocols import Split
from utils.teachers import exchange
from utils.teachers.question import Question
from utils.teachers.targets import named_sources, teaching
from utils.training.fit import fit, set_seeds
from utils.training.history import best_epoch, save_history
from utils.training.state import TrainingState, settings_of, training_state

INITIALISATION_CLIPS = 32
WHOLE_CLIPS = ViewOptions(views=0)


@dataclass(frozen=True)
class Trained:
    """What a training left: the model's file, its record, and the history (one row an epoch)."""

    output_path: Path
    record: dict
    history: np.ndarray


@logged
def train_teacher(
    data: DataOptions,
    training: TrainingOptions,
    network: NetworkOptions,
    teacher: TeacherOptions,
    output: OutputOptions,
    *,
    views: ViewOptions = WHOLE_CLIPS,
) -> Trained:
    """Stage 2: a C3D from scratch or fine-tuned from Sports-1M.

    Fine-tuning replaces the classifier and trains from the layer `teacher.unfreeze` up; what lies below is frozen and
    computed once a clip, for view 0. Where nothing is frozen, each epoch reads a new view of each clip, unless
    `views.views` is 0. Raises UserError for what a user can mend.
    """
    training_precision(training.precision)  # refuses what the device cannot do before any work
    dataset, split = open_data(data, network.input_shape)
    options = [data, training, network, teacher, views]
    with training_state(output, settings_of(options, dataset, split, {"--weights": teacher.weights})) as state:
        set_seeds(training)
        clips = clip_source(dataset, network.input_shape, views, fresh=True)
        targets = {"labels": dataset.labels}
        if teacher.task == TASK_FROM_SCRATCH:
            model = build(build_c3d, dataset, network)
            if not state.history:
                initialise(model, dataset, split, training)
            history = fit(model, clips, split, targets, training, state=state)
        else:
            model = build(build_c3d, dataset, network, block_dropout=0.0, sports1m_preprocessing=True)
            file = sports1m.weights_file(teacher.weights)
            with as_user_error(f"--weights {file} does not fit --width {network.width} and --input_size"):
                set_sports1m_weights(model, sports1m.read_weights(file))
            with as_user_error("--unfreeze"):
                frozen, trained = split_at(model, teacher.unfreeze)
            if frozen.count_params():
                rows = np.concatenate([split.train, split.validation])
                print(f"computing the frozen layers below {teacher.unfreeze} for {len(rows)} clips, once")
                with feature_source(frozen, dataset, rows, output.output_path.parent) as features:
                    history = fit(trained, features, split, targets, training, state=state)
            else:
                history = fit(model, clips, split, targets, training, state=state)
        return finish(model, history, dataset, split, output, options, {"kind": "C3D teacher"}, state)


@logged
def train_student(
    data: DataOptions,
    training: TrainingOptions,
    network: NetworkOptions,
    distillation: DistillationOptions,
    output: OutputOptions,
    *,
    views: ViewOptions = WHOLE_CLIPS,
) -> Trained:
    """Stage 3: the compact student, from the labels and the answers of the teacher `distillation.source`.

    At `alpha` 1 from the labels alone. The teacher answers once for each view of a clip, before the student starts
    (utils/teachers/cache.py); with `distillation.teacher` "live" in every step, and each epoch reads new views, at
    `alpha` 1 too. `labels_per_class` leaves only so many training clips of each class their labels: the others teach
    through the teacher's answers, and not at all at `alpha` 1, where an epoch is still as long as with them, so that
    both take equally many steps.
    Raises UserError for what a user can mend.
    """
    training_precision(training.precision)  # refuses what the device cannot do before any work
    dataset, split = open_data(data, network.input_shape)
    targets, epoch_clips, has_teacher = {"labels": dataset.labels}, len(split.train), distillation.alpha < 1
    about = {"kind": "distilled student" if has_teacher else "student"}
    taught = split  # the record keeps the whole split, by which the student is tested
    if distillation.labels_per_class is not None:
        taught, targets["labels"] = with_few_labels(
            dataset, split, distillation.labels_per_class, keep_unlabelled=has_teacher
        )
    options = [data, training, network, distillation, views]
    is_live = distillation.teacher == "live"  # with alpha 1 too: the baseline of such students sees what they see
    sources = named_sources(distillation) if has_teacher else {}
    if has_teacher:
        fingerprints = [file_fingerprint(source) for source in sources.values()]
        about["teacher"] = fingerprints if len(fingerprints) > 1 else fingerprints[0]
    inputs = sources | {"the code of --student": source_file(distillation.student)}
    with training_state(output, settings_of(options, dataset, split, inputs)) as state:
        set_seeds(training)
        student = build(student_builder(distillation.student), dataset, network)  # whatever is wrong shows at once
        teacher = None
        if has_teacher:
            teacher, answers = teaching(distillation, Question(dataset, split, views), network.input_shape)
            targets |= answers
        if not state.history:
            initialise(student, dataset, split, training)  # not `taught`: alone and distilled start from equal weights
        distiller = Distiller(student, teacher, temperature=distillation.temperature, alpha=distillation.alpha)
        clips = clip_source(dataset, network.input_shape, views, fresh=is_live)
        history = fit(distiller, clips, taught, targets, training, epoch_clips=epoch_clips, state=state)
        return finish(student, history, dataset, split, output, options, about, state)


def write_views(data: DataOptions, network: NetworkOptions, views: ViewOptions, *, output_path: Path) -> None:
    """Stage 3 for a teacher of another framework: what it is to answer, as files; see utils/teachers/exchange.py."""
    dataset, split = open_data(data, network.input_shape)
    exchange.write_views(output_path, Question(dataset, split, views), network.input_shape)


def evaluate(
    data: DataOptions,
    recognizers: Sequence[Path],
    *,
    output_path: Path | None = None,
    channels: str = "rgb",
    input_scale: str = "0..255",
    batch_size: int = 16,
    force: bool = False,
    fail_on_leak: bool = False,
) -> dict:
    """Stage 4: tests each recogniser on the clips that its record keeps for testing; compares the first with others.

    `data.split` None leaves the choice to the records. Prints a table, writes what there is to `output_path` if given,
    and returns {"recognizers": [...], "comparisons": [...]} of plain values. Raises UserError for what a user can mend,
    and with `fail_on_leak` if test clips share anything with clips that a recogniser has seen, or if that is unknown.
    """
    dataset = open_clips(data.data, data.annotations, data.paths)
    finder = LeakFinder(dataset)
    asked = None if data.split is None else split_of(data, dataset)
    group_pattern = data.group_pattern
    all_answers = []
    for path in recognizers:
        recognizer = load_recognizer(path, argument="--recognizer", channels=channels, input_scale=input_scale)
        if group_pattern is None and recognizer.record is not None and same_clips(recognizer.record, dataset):
            group_pattern = recognizer.record["arguments"]["group_pattern"]
        check_length(data, dataset, recognizer.input_shape)
        clips = choose_test_clips(recognizer, dataset, asked, force=force)
        leaks = leaks_of_test(finder, recognizer, clips, group_pattern, fail_on_leak=fail_on_leak)
        all_answers.append(replace(answer(recognizer, dataset, clips, batch_size=batch_size), leaks=leaks))
    groups, _ = groups_or_reason(dataset.paths, group_pattern)
    results = [report.result_of(answers, dataset, groups) for answers in all_answers]
    compared = report.comparisons(all_answers, groups)
    print(report.summary(results, compared))
    if output_path is not None:
        report.write_results(output_path, all_answers, results, compared, dataset)
        print(f"wrote {output_path}")
    return {"recognizers": results, "comparisons": compared}


def build(builder: Callable, dataset: ClipDataset, network: NetworkOptions, **settings):
    """A network for the dataset's classes; a size that it cannot have is the user's error."""
    size = {"input_shape": network.input_shape, "width": network.width, "dropout": network.dropout}
    with as_user_error("--input_size or --input_frames"):
        return builder(len(dataset.class_names), **size, **settings)


def initialise(model, dataset: ClipDataset, split: Split, training: TrainingOptions) -> None:
    """Fits random weights to some training clips, unless the options leave them as drawn."""
    if training.initialisation == "data" and not can_be_initialised_by_data(model):
        print("note: this network is no chain of 3D convolutions and dense layers; its weights stay as drawn.")
    elif training.initialisation == "data":
        rows = np.random.default_rng(training.seed).permutation(split.train)[:INITIALISATION_CLIPS]
        initialise_by_data(model, dataset.view_zero(rows, model.input_shape[1:]))


def finish(
    model,
    history: np.ndarray,
    dataset: ClipDataset,
    split: Split,
    output: OutputOptions,
    options: Sequence,
    about: dict,
    state: TrainingState,
) -> Trained:
    """Saves history, model and record, and says where they are; the record takes `about` as it is.

    Then `state` is removed, unless there are epochs to come.
    """
    path = output.output_path
    history_path = save_history(history, output.log_path, title=f"{about['kind']}: {path.name}")
    best = dict(zip(history.dtype.names, history[best_epoch(history)].item()))
    about = about | {"seconds": state.seconds()}
    record = about | make_record(
        dataset, split, input_shape=model.input_shape[1:], options=options, best=best, history_path=history_path
    )
    save_recognizer(model, path, record)
    if state.ended:
        state.remove()
    print(
        f"saved {path} ({model.count_params():,} parameters) as of epoch {best['epoch']}: "
        f"validation accuracy {100 * best['val_accuracy']:.1f} %; history in {history_path}"
    )
    if not state.ended:
        print(f"note: {state.kept()}")
    return Trained(path, record, history)
