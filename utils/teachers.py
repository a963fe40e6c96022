"""A teacher before its student starts: whether it may teach, and its answers, computed once."""

import numpy as np

from utils.clips import ClipDataset
from utils.errors import UserError
from utils.options import DistillationOptions, ViewOptions
from utils.recognizer import Recognizer, load_recognizer
from utils.records import recorded_split, same_clips
from utils.split_checks import refuse_seen_test_clips
from utils.splits import Split


def load_teacher(distillation: DistillationOptions) -> Recognizer:
    """The teacher that `--source` names. Raises UserError if there is none."""
    if distillation.source is None:
        raise UserError("--source must name a teacher unless --alpha is 1, got none")
    return load_recognizer(
        distillation.source,
        argument="--source",
        channels=distillation.source_channels,
        input_scale=distillation.source_input_scale,
    )


def check_teacher(teacher: Recognizer, dataset: ClipDataset, split: Split) -> None:
    """Raises UserError if the teacher has other classes, takes longer clips, or has seen test clips of this split."""
    classes = dataset.class_names
    if teacher.num_classes != len(classes):
        raise UserError(f"--source: {teacher.path} knows {teacher.num_classes} classes but --data holds {len(classes)}")
    if teacher.class_names not in (None, classes):
        differing = [f"{known} / {found}" for known, found in zip(teacher.class_names, classes) if known != found]
        raise UserError(
            f"--source: {teacher.path} must know the classes of --data in their order, but {len(differing)} differ "
            f"(its class / that of --data: {', '.join(differing[:3])})"
        )
    if dataset.frames.shape[1] < teacher.input_shape[0]:
        raise UserError(
            f"--source: {teacher.path} takes {teacher.input_shape[0]} frames but --data holds clips of "
            f"{dataset.frames.shape[1]}"
        )
    what = f"--source {teacher.path}"
    if teacher.record is None:
        print(f"note: {what} has no record, so it cannot be known whether it has seen the test clips.")
    elif not same_clips(teacher.record, dataset):
        print(f"note: {what} was trained on other arrays, so it cannot be known whether it has seen the test clips.")
    else:
        refuse_seen_test_clips(split, recorded_split(teacher.record), what=what)


def teacher_logits(teacher: Recognizer, dataset: ClipDataset, split: Split, views: ViewOptions) -> np.ndarray:
    """The teacher's logits of views 0..K of the training clips and of view 0 of the validation clips.

    Float32 `(N, K + 1, C)` by row of the dataset. Others are NaN, which makes a clip that was not meant to be trained
    on visible at once.
    """
    rows = np.concatenate([split.train, split.validation])
    print(f"the teacher {teacher.path} answers for {len(rows)} clips, once for each of their views")
    logits = np.full((len(dataset), views.views + 1, teacher.num_classes), np.nan, np.float32)
    logits[rows, 0] = teacher.logits(dataset, rows)
    for view in range(1, views.views + 1):
        logits[split.train, view] = teacher.logits(dataset, split.train, view=view, options=views)
    report_teacher(logits[:, 0], dataset, split)
    return logits


def report_teacher(logits: np.ndarray, dataset: ClipDataset, split: Split) -> None:
    """Prints how often the teacher is right: a student learns its mistakes as well."""
    right = logits.argmax(axis=1) == dataset.labels
    print(
        f"teacher: {100 * right[split.train].mean():.1f} % right on training clips, "
        f"{100 * right[split.validation].mean():.1f} % on validation clips"
    )
