"""The test of a recogniser: the choice of clips that it has not seen, its predictions and its leaks."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.data.clips import ClipDataset, with_unlabelled
from utils.data.leak_finder import LeakFinder
from utils.data.leak_report import LeakReport
from utils.data.protocols import Split
from utils.data.split_checks import split_differences
from utils.networks.averaging import WHOLE_CLIP, AveragedViews, averaged_logits
from utils.networks.recognizer import Recognizer
from utils.runs.record import Record
from utils.runs.seen import Seen, seen_clips


@dataclass(frozen=True)
class ChosenClips:
    """The clips on which a recogniser is tested.

    rows: int64 (n,), rows of the arrays, ascending. labels: int64 (n,), indices into `class_names`.
    class_names: those of the recogniser. protocol: how the rows were chosen, for tables.
    notes: sentences on this choice; they accompany all results. seen: which of the rows the recogniser has seen.
    trained_by: the split whose training and validation clips the recogniser has seen: that of its record, otherwise the
    requested one, otherwise None.
    """

    rows: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    protocol: str
    notes: tuple[str, ...]
    seen: Seen
    trained_by: Split | None = None


@dataclass(frozen=True)
class Predictions:
    """Logits (n, C) of a recogniser for its test clips, and its speed including reading and rendering the clips.

    leaks: what these clips share with the clips that the recogniser has seen; None if those are unknown.
    views: number of views per clip over which the probabilities were averaged; the speed is that for all of them.
    milliseconds_per_clip: inference of one clip in memory, for all views; None if it was not measured.
    """

    recognizer: Recognizer
    clips: ChosenClips
    logits: np.ndarray
    clips_per_second: float
    leaks: LeakReport | None = None
    views: int = 1
    milliseconds_per_clip: float | None = None


def are_comparable(predictions: Predictions, other: Predictions) -> bool:
    """Return whether two recognisers were tested on the same clips and have the same classes."""
    clips, other_clips = predictions.clips, other.clips
    return np.array_equal(clips.rows, other_clips.rows) and clips.class_names == other_clips.class_names


def choose_test_clips(
    recognizer: Recognizer, dataset: ClipDataset, asked: Split | None, *, force: bool = False
) -> ChosenClips:
    """Choose the clips on which to test `recognizer`: the test clips in its record, if it has one.

    `asked` is the split that the user requested, or None. Raises UserError if it contradicts the record, unless
    `force`. If the record is of other arrays or missing, all clips are chosen unless a split is requested. Classes are
    then matched by name, or by number if the recogniser has no class names.
    """
    path, record = recognizer.path, recognizer.record
    if recognizer.class_names is None:
        if recognizer.num_classes != len(dataset.class_names):
            raise UserError(
                f"--recognizer: {path} has {recognizer.num_classes} classes but --data has {len(dataset.class_names)}"
            )
        rows, protocol = asked_rows(dataset, asked)
        seen = seen_clips(record, dataset, rows, path=path)
        return ChosenClips(rows, dataset.labels[rows], dataset.class_names, protocol, (), seen, asked)
    if record is None or not record.arrays.has_clips_of(dataset):
        rows, protocol = asked_rows(dataset, asked)
        rows, labels, notes = matched_by_name(recognizer, dataset, rows)
        if record is not None:
            notes.insert(0, f"These are not the arrays that {path.name} was trained on: classes are matched by name.")
        seen = seen_clips(record, dataset, rows, path=path)
        return ChosenClips(rows, labels, recognizer.class_names, protocol, tuple(notes), seen, asked)

    recorded, notes = record.split.as_split(), []
    differences = () if asked is None else split_differences(recorded, asked)
    if differences and not force:
        raise UserError(f"--recognizer {path} must be tested on the split in its record, but {'; '.join(differences)}")
    if differences:
        trained = f"--split {recorded.protocol} --split_seed {recorded.split_seed}"
        notes.append(f"FORCED: {path.name} was trained with {trained} and is tested on the clips of another split.")
    split = asked or recorded
    labels = dataset.labels[split.test]
    protocol = f"{described(split)}, FORCED" if differences else described(split)
    seen = seen_clips(record, dataset, split.test, path=path)
    return ChosenClips(split.test, labels, recognizer.class_names, protocol, (*notes, *split.notes), seen, recorded)


def asked_rows(dataset: ClipDataset, asked: Split | None) -> tuple[np.ndarray, str]:
    """Return the test rows of the requested split, or all rows, and a name for this choice."""
    if asked is None:
        return np.arange(len(dataset)), "all clips"
    return asked.test, described(asked)


def described(split: Split) -> str:
    """Return the protocol of a split for tables, with the seed if it has an effect."""
    seeded = split.protocol in ("random", "group") or split.protocol.startswith("fold:")
    return f"{split.protocol}, seed {split.split_seed}" if seeded else split.protocol


def matched_by_name(recognizer: Recognizer, dataset: ClipDataset, rows: np.ndarray):
    """Return the rows of classes that the recogniser has, their labels in its numbering, and notes on the others.

    Raises UserError if no class matches.
    """
    number = {name: label for label, name in enumerate(recognizer.class_names)}
    known = np.array([number.get(name, -1) for name in dataset.class_names])
    labels = known[dataset.labels[rows]]
    is_unknown = labels < 0
    if is_unknown.all():
        raise UserError(
            f"--recognizer: {recognizer.path} has none of the classes in --data, which are "
            f"{', '.join(dataset.class_names[:5])}; it has {', '.join(recognizer.class_names[:5])}"
        )
    unknown = sorted({dataset.class_names[label] for label in dataset.labels[rows][is_unknown]})
    notes = [f"{is_unknown.sum()} clips of unknown classes are left out: {', '.join(unknown)}."] if unknown else []
    return rows[~is_unknown], labels[~is_unknown], notes


def with_seen_unlabelled(dataset: ClipDataset, record: Record | None) -> tuple[ClipDataset, str]:
    """Return the dataset with the unlabelled clips in the record of a recogniser, and "".

    If a file in the record is missing, has changed or does not fit `dataset`, return `dataset` and a note on it.
    """
    files = record.unlabelled.files if record is not None and record.unlabelled is not None else []
    try:
        seen = with_unlabelled(dataset, [Path(file.path) for file in files])
        parts = zip(seen.unlabelled, files)
        problem = ", ".join(str(p.frames.path) for p, file in parts if file.arrays.model_dump() != p.fingerprint())
        problem = problem and f"{problem} changed since the training"
    except UserError as error:
        problem = str(error).removeprefix("--unlabelled: ")
    if problem:
        return dataset, f"Unlabelled clips of the training could not be searched for leaks: {problem}."
    return seen, ""


def leaks_of_test(
    finder: LeakFinder,
    recognizer: Recognizer,
    clips: ChosenClips,
    group_pattern: str | None,
    note: str = "",
    *,
    fail_on_leak: bool,
) -> LeakReport | None:
    """Find what the test clips share with clips that the recogniser has seen; None if those are unknown.

    `note` says which unlabelled clips could not be searched, if any. With `fail_on_leak`, raises UserError if there are
    leaks or if seen clips are unknown.
    """
    split = clips.trained_by
    if split is None:
        if fail_on_leak:
            raise UserError(
                f"--fail_on_leak: {recognizer.path} must have a record of these arrays, or --split must say what it "
                "was trained on; found neither"
            )
        return None
    report = finder.find(clips.rows, split.train, split.validation, group_pattern=group_pattern)
    if fail_on_leak:
        report.refuse()
        if note:
            raise UserError(f"--fail_on_leak: {recognizer.path}: {note}")
        if recognizer.record is not None:
            clips.seen.refuse(f"--fail_on_leak: {recognizer.path} must be new to its test clips")
    return replace(report, notes=(*report.notes, note)) if note else report


def predict(
    recognizer: Recognizer,
    dataset: ClipDataset,
    clips: ChosenClips,
    *,
    batch_size: int,
    views: AveragedViews = WHOLE_CLIP,
) -> Predictions:
    """Run the recogniser on `views` of its test clips and time it, after a warm-up on one batch."""
    recognizer.logits(dataset, clips.rows[:batch_size], batch_size=batch_size)
    start = time.perf_counter()
    logits = averaged_logits(recognizer, dataset, clips.rows, views, batch_size=batch_size)
    seconds = time.perf_counter() - start
    return Predictions(recognizer, clips, logits, len(logits) / seconds, views=views.count)
