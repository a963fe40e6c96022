"""What each stage does once its arguments are parsed; the scripts and reproduce.py call these functions."""

import contextlib
import importlib.metadata
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from models.c3d import build_c3d, set_sports1m_weights, split_at
from models.distiller import Distiller
from models.student import build_student
from utils import sports1m
from utils.batches import clip_source
from utils.clips import ClipDataset, open_clips
from utils.errors import UserError
from utils.figures import best_epoch
from utils.frozen import feature_source, teacher_logits
from utils.history import save_history
from utils.options import DataOptions, TrainingOptions
from utils.recognizer import Recognizer, load_recognizer, save_recognizer, split_record
from utils.splits import Split, make_split
from utils.training import fit, set_seeds

PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python-headless")
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
    return finish(model, history, dataset, split, training, arguments, output_path, log_path, kind="C3D teacher")


def train_student(
    data: DataOptions,
    training: TrainingOptions,
    *,
    source: Path | None,
    temperature: float,
    alpha: float,
    output_path: Path,
    log_path: Path,
    width: float = 1.0,
    input_shape: tuple[int, int, int, int] = (16, 112, 112, 3),
    source_channels: str = "rgb",
    source_input_scale: str = "0..255",
) -> Trained:
    """Stage 3: the compact student, from the labels and the answers of the teacher `source`.

    At `alpha` 1 from the labels alone. The teacher answers once a clip, before the student starts. Raises UserError for
    what a user can mend.
    """
    arguments = {
        "source": source,
        "temperature": temperature,
        "alpha": alpha,
        "width": width,
        "input_shape": input_shape,
        "source_channels": source_channels,
        "source_input_scale": source_input_scale,
    }
    dataset, split = open_data(data, input_shape)
    targets = {"labels": dataset.labels}
    teacher_fingerprint = None
    if alpha < 1:
        if source is None:
            raise UserError("--source must name a teacher unless --alpha is 1, got none")
        teacher = load_recognizer(source, argument="--source", channels=source_channels, input_scale=source_input_scale)
        check_teacher(teacher, dataset, split)
        rows = np.concatenate([split.train, split.validation])
        print(f"the teacher {source} answers for {len(rows)} clips, once")
        targets["teacher_logits"] = teacher_logits(teacher, dataset, rows)
        report_teacher(targets["teacher_logits"], dataset, split)
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
        training,
        arguments | {"teacher_fingerprint": teacher_fingerprint},
        output_path,
        log_path,
        kind="student" if alpha == 1 else "distilled student",
    )


def open_data(data: DataOptions, input_shape: tuple[int, int, int, int]) -> tuple[ClipDataset, Split]:
    """Opens the arrays, divides them, and says what was found. Raises UserError if the clips are too short."""
    dataset = open_clips(data.data, data.annotations, data.paths)
    clips, length, height, width, _ = dataset.frames.shape
    if length < input_shape[0]:
        raise UserError(f"--data: {data.data} holds clips of {length} frames, the model takes {input_shape[0]}")
    split = split_of(data, dataset)
    print(f"{clips} clips of {length} frames {height}x{width} (HxW) in {len(dataset.class_names)} classes: {data.data}")
    print(
        f"split {split.protocol}: {len(split.train)} train, {len(split.validation)} validation, {len(split.test)} test"
    )
    for note in split.notes:
        print(f"note: {note}")
    return dataset, split


def split_of(data: DataOptions, dataset: ClipDataset) -> Split:
    """The split that `data` names, of `dataset`."""
    return make_split(
        dataset.labels,
        dataset.paths,
        class_names=dataset.class_names,
        protocol=data.split,
        split_seed=data.split_seed,
        group_pattern=data.group_pattern,
        split_dir=data.split_dir,
    )


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


def check_teacher(teacher: Recognizer, dataset: ClipDataset, split: Split) -> None:
    """Raises UserError if the teacher answers for other classes, or was trained on test clips of this split."""
    classes = dataset.class_names
    if teacher.num_classes != len(classes):
        raise UserError(f"--source: {teacher.path} knows {teacher.num_classes} classes but --data holds {len(classes)}")
    if teacher.class_names not in (None, classes):
        missing = sorted(set(classes) - set(teacher.class_names))[:5]
        raise UserError(f"--source: {teacher.path} knows other classes than --data holds (unknown to it: {missing})")
    if teacher.record is None:
        print(f"note: {teacher.path} has no record, so it cannot be known whether it has seen the test clips.")


def report_teacher(logits: np.ndarray, dataset: ClipDataset, split: Split) -> None:
    """Prints how often the teacher is right: a student learns its mistakes as well."""
    right = logits.argmax(axis=1) == dataset.labels
    print(
        f"teacher: {100 * right[split.train].mean():.1f} % right on training clips, "
        f"{100 * right[split.validation].mean():.1f} % on validation clips"
    )


def finish(
    model,
    history: np.ndarray,
    dataset: ClipDataset,
    split: Split,
    training: TrainingOptions,
    arguments: dict,
    output_path: Path,
    log_path: Path,
    *,
    kind: str,
) -> Trained:
    """Saves model, record and history, and says where they are."""
    best = history[best_epoch(history)]
    history_path = save_history(history, log_path, title=f"{kind}: {output_path.name}")
    record = {
        "kind": kind,
        "class_names": list(dataset.class_names),
        "input": {"shape": list(model.input_shape[1:]), "channels": "rgb", "range": "0..255"},
        "split": split_record(split),
        "arrays": dataset.fingerprint(),
        "arguments": plain(arguments | {"training": asdict(training)}),
        "validation": {name: float(best[name]) for name in history.dtype.names if name.startswith("val_")},
        "best_epoch": int(best["epoch"]),
        "history": str(history_path),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
    }
    save_recognizer(model, output_path, record)
    print(
        f"saved {output_path} ({model.count_params():,} parameters) as of epoch {best['epoch']}: "
        f"validation accuracy {100 * best['val_accuracy']:.1f} %; history in {history_path}"
    )
    return Trained(output_path, record, history)


def plain(value):
    """`value` with paths as text, so that JSON can hold it."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return str(value) if isinstance(value, Path) else value
