"""What each stage does once its arguments are parsed; the scripts and reproduce.py call these functions."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from models.c3d import build_c3d, set_sports1m_weights, split_at
from models.distiller import Distiller
from models.student import build_student
from utils import report, sports1m
from utils.batches import clip_source
from utils.clips import ClipDataset, open_clips
from utils.errors import UserError
from utils.evaluation import answer, choose_test_clips
from utils.figures import best_epoch
from utils.frozen import feature_source
from utils.history import save_history
from utils.options import DataOptions, TrainingOptions
from utils.prepared import check_length, known_groups, open_data, split_of, with_few_labels
from utils.recognizer import load_recognizer, save_recognizer
from utils.records import make_record
from utils.splits import Split
from utils.teachers import check_teacher, teacher_logits
from utils.training import fit, set_seeds

TASK_FROM_SCRATCH = "train_local_teacher"


@dataclass(frozen=True)
class Trained:
    """What a training left: the model's file, its record, and the history (one row an epoch)."""

    output_path: Path
    record: dict
    history: np.ndarray


def train_teacher(
    data: DataOptions,
    training: TrainingOptions,
    *,
    task: str,
    output_path: Path,
    log_path: Path,
    weights: Path | None = None,
    unfreeze: str = "fc8",
    width: float = 1.0,
    input_shape: tuple[int, int, int, int] = (16, 112, 112, 3),
) -> Trained:
    """Stage 2: a C3D from scratch (`task` "train_local_teacher") or fine-tuned from Sports-1M (any other).

    Fine-tuning replaces the classifier and trains from the layer `unfreeze` up; what lies below is frozen and computed
    once a clip. Raises UserError for what a user can mend.
    """
    arguments = {"task": task, "weights": weights, "unfreeze": unfreeze, "width": width, "input_shape": input_shape}
    dataset, split = open_data(data, input_shape)
    set_seeds(training)
    clips, targets = clip_source(dataset, input_shape), {"labels": dataset.labels}
    size = {"input_shape": input_shape, "width": width}
    if task == TASK_FROM_SCRATCH:
        model = build(build_c3d, dataset, **size)
        history = fit(model, clips, split, targets, training)
    else:
        model = build(build_c3d, dataset, **size, block_dropout=0.0, sports1m_preprocessing=True)
        file = sports1m.weights_file(weights)
        with as_user_error(f"--weights {file} does not fit --width {width} and --input_size"):
            set_sports1m_weights(model, sports1m.read_weights(file))
        with as_user_error("--unfreeze"):
            frozen, trained = split_at(model, unfreeze)
        if frozen.count_params():
            rows = np.concatenate([split.train, split.validation])
            print(f"computing the frozen layers below {unfreeze} for {len(rows)} clips, once")
            with feature_source(frozen, dataset, rows, output_path.parent) as features:
                history = fit(trained, features, split, targets, training)
        else:
            history = fit(model, clips, split, targets, training)
    return finish(model, history, dataset, split, data, training, arguments, output_path, log_path, kind="C3D teacher")


def train_student(
    data: DataOptions,
    training: TrainingOptions,
    *,
    source: Path | None,
    temperature: float,
    alpha: float,
    output_path: Path,
    log_path: Path,
    labels_per_class: int | None = None,
    width: float = 1.0,
    input_shape: tuple[int, int, int, int] = (16, 112, 112, 3),
    source_channels: str = "rgb",
    source_input_scale: str = "0..255",
) -> Trained:
    """Stage 3: the compact student, from the labels and the answers of the teacher `source`.

    At `alpha` 1 from the labels alone. The teacher answers once a clip, before the student starts. `labels_per_class`
    leaves only so many training clips of each class their labels: the others teach through the teacher's answers, and
    not at all at `alpha` 1. Raises UserError for what a user can mend.
    """
    arguments = {
        "source": source,
        "temperature": temperature,
        "alpha": alpha,
        "labels_per_class": labels_per_class,
        "width": width,
        "input_shape": input_shape,
        "source_channels": source_channels,
        "source_input_scale": source_input_scale,
    }
    dataset, split = open_data(data, input_shape)
    targets = {"labels": dataset.labels}
    if labels_per_class is not None:
        split, targets["labels"] = with_few_labels(dataset, split, labels_per_class, keep_unlabelled=alpha < 1)
    teacher_fingerprint = None
    if alpha < 1:
        if source is None:
            raise UserError("--source must name a teacher unless --alpha is 1, got none")
        teacher = load_recognizer(source, argument="--source", channels=source_channels, input_scale=source_input_scale)
        check_teacher(teacher, dataset, split)
        targets["teacher_logits"] = teacher_logits(teacher, dataset, split)
        teacher_fingerprint = teacher.fingerprint
        del teacher
    set_seeds(training)
    student = build(build_student, dataset, input_shape=input_shape, width=width)
    distiller = Distiller(student, temperature=temperature, alpha=alpha)
    history = fit(distiller, clip_source(dataset, input_shape), split, targets, training)
    return finish(
        student,
        history,
        dataset,
        split,
        data,
        training,
        arguments | {"teacher_fingerprint": teacher_fingerprint},
        output_path,
        log_path,
        kind="student" if alpha == 1 else "distilled student",
    )


def evaluate(
    data: DataOptions,
    recognizers: Sequence[Path],
    *,
    output_path: Path | None = None,
    channels: str = "rgb",
    input_scale: str = "0..255",
    batch_size: int = 16,
    force: bool = False,
) -> dict:
    """Stage 4: tests each recogniser on the clips that its record keeps for testing; compares the first with others.

    `data.split` None leaves the choice to the records. Prints a table, writes what there is to `output_path` if given,
    and returns {"recognizers": [...], "comparisons": [...]} of plain values. Raises UserError for what a user can mend.
    """
    dataset = open_clips(data.data, data.annotations, data.paths)
    asked = None if data.split is None else split_of(data, dataset)
    group_pattern = data.group_pattern
    all_answers = []
    for path in recognizers:
        recognizer = load_recognizer(path, argument="--recognizer", channels=channels, input_scale=input_scale)
        if group_pattern is None and recognizer.record is not None:
            group_pattern = recognizer.record["arguments"]["group_pattern"]
        check_length(data, dataset, recognizer.input_shape)
        clips = choose_test_clips(recognizer, dataset, asked, force=force)
        all_answers.append(answer(recognizer, dataset, clips, batch_size=batch_size))
    groups = known_groups(dataset, group_pattern)
    results = [report.result_of(answers, dataset, groups) for answers in all_answers]
    compared = report.comparisons(all_answers, groups)
    print(report.summary(results, compared))
    if output_path is not None:
        report.write_results(output_path, all_answers, results, compared, dataset)
        print(f"wrote {output_path}")
    return {"recognizers": results, "comparisons": compared}


def build(builder, dataset: ClipDataset, **size):
    """A network for the dataset's classes; a size that it cannot have is the user's error."""
    with as_user_error("--input_size"):
        return builder(len(dataset.class_names), **size)


@contextlib.contextmanager
def as_user_error(prefix: str) -> Iterator[None]:
    """A ValueError of `models`, which know no arguments, as a UserError that names the argument."""
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{prefix}: {error}") from None


def finish(
    model,
    history: np.ndarray,
    dataset: ClipDataset,
    split: Split,
    data: DataOptions,
    training: TrainingOptions,
    arguments: dict,
    output_path: Path,
    log_path: Path,
    *,
    kind: str,
) -> Trained:
    """Saves model, record and history, and says where they are."""
    history_path = save_history(history, log_path, title=f"{kind}: {output_path.name}")
    best = dict(zip(history.dtype.names, history[best_epoch(history)].item()))
    record = make_record(
        kind=kind,
        dataset=dataset,
        split=split,
        arguments=arguments | asdict(data) | asdict(training),
        best=best,
        history_path=history_path,
        input_shape=model.input_shape[1:],
    )
    save_recognizer(model, output_path, record)
    print(
        f"saved {output_path} ({model.count_params():,} parameters) as of epoch {best['epoch']}: "
        f"validation accuracy {100 * best['val_accuracy']:.1f} %; history in {history_path}"
    )
    return Trained(output_path, record, history)
