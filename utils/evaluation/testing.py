"""Testing recognisers: which clips are new to one, and what its answers for them are worth."""

import time
from dataclasses import dataclass

import numpy as np

from utils.data.clips import ClipDataset
from utils.leaks.finder import LeakFinder
from utils.leaks.report import LeakReport
from utils.networks.recognizer import Recognizer
from utils.networks.records import recorded_split, same_clips
from utils.runtime.errors import UserError
from utils.splits.checks import overlap, refuse_contradiction, split_differences
from utils.splits.protocols import Split


@dataclass(frozen=True)
class ChosenClips:
    """The clips that a recogniser is tested on.

    rows: int64 (n,), rows of the arrays, ascending. labels: int64 (n,), in the recogniser's numbering of classes.
    class_names: the recogniser's. protocol: how the rows were chosen, for tables.
    notes: whole sentences that say what is not known or not as it should be; they stand in all that is written.
    trained_by: the split whose training and validation clips it has seen: its record's, else the one asked for, else
    None.
    """

    rows: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    protocol: str
    notes: tuple[str, ...]
    trained_by: Split | None = None


@dataclass(frozen=True)
class Answers:
    """A recogniser's logits (n, C) for its test clips, and how fast they came, reading and rendering included.

    leaks: what these clips share with those that it has seen; None if it is not known which those are.
    """

    recognizer: Recognizer
    clips: ChosenClips
    logits: np.ndarray
    clips_per_second: float
    leaks: LeakReport | None = None


def choose_test_clips(
    recognizer: Recognizer, dataset: ClipDataset, asked: Split | None, *, force: bool = False
) -> ChosenClips:
    """The clips on which `recognizer` is tested: those that its record keeps for testing, where there is one.

    `asked` is the split that the user asked for, or None. One that contradicts the record is refused with UserError
    unless `force`. Arrays that are not those of the record are tested whole unless a split is asked for, with classes
    matched by name; a model without a record likewise, with classes matched by number.
    """
    name = recognizer.path.name
    if recognizer.record is None:
        if recognizer.num_classes != len(dataset.class_names):
            raise UserError(
                f"--recognizer: {recognizer.path} knows {recognizer.num_classes} classes but --data holds "
                f"{len(dataset.class_names)}"
            )
        notes = [f"{name} has no record, so it cannot be known which of these clips it was trained on."]
        rows, protocol = asked_rows(dataset, asked)
        return ChosenClips(rows, dataset.labels[rows], dataset.class_names, protocol, tuple(notes), asked)
    if not same_clips(recognizer.record, dataset):
        rows, protocol = asked_rows(dataset, asked)
        rows, labels, notes = matched_by_name(recognizer, dataset, rows)
        warning = (
            f"These are not the arrays that {name} was trained on: classes are matched by name, and whether it has "
            "seen any of these clips cannot be known."
        )
        return ChosenClips(rows, labels, recognizer.class_names, protocol, (warning, *notes), asked)

    recorded, notes = recorded_split(recognizer.record), []
    if asked is not None:
        if not force:
            refuse_contradiction(recorded, asked, what=f"--recognizer {recognizer.path}")
        if split_differences(recorded, asked):
            seen = overlap(np.concatenate([recorded.train, recorded.validation]), asked.test)
            verdict = "; its accuracy on them is no test" if len(seen) else ""
            notes.append(
                f"FORCED: {name} was trained by {recorded.protocol} (--split_seed {recorded.split_seed}) and has seen "
                f"{len(seen)} of these {len(asked.test)} clips{verdict}."
            )
    split = asked or recorded
    labels = dataset.labels[split.test]
    protocol = f"{described(split)}, FORCED" if notes else described(split)
    return ChosenClips(split.test, labels, recognizer.class_names, protocol, (*notes, *split.notes), recorded)


def asked_rows(dataset: ClipDataset, asked: Split | None) -> tuple[np.ndarray, str]:
    """The test rows of the split asked for, or all rows; and what to call them."""
    if asked is None:
        return np.arange(len(dataset)), "all clips"
    return asked.test, described(asked)


def described(split: Split) -> str:
    """A split in a table: its protocol, with the seed where one matters."""
    seeded = split.protocol in ("random", "group") or split.protocol.startswith("fold:")
    return f"{split.protocol}, seed {split.split_seed}" if seeded else split.protocol


def matched_by_name(recognizer: Recognizer, dataset: ClipDataset, rows: np.ndarray):
    """Rows whose class the recogniser knows, their labels in its numbering, and a note if others were left out."""
    number = {name: label for label, name in enumerate(recognizer.class_names)}
    known = np.array([number.get(name, -1) for name in dataset.class_names])
    labels = known[dataset.labels[rows]]
    unknown = sorted({dataset.class_names[label] for label in dataset.labels[rows][labels < 0]})
    if (labels < 0).all():
        raise UserError(
            f"--recognizer: {recognizer.path} knows none of the classes in --data, which are "
            f"{', '.join(dataset.class_names[:5])}; it knows {', '.join(recognizer.class_names[:5])}"
        )
    notes = []
    if unknown:
        notes.append(f"{(labels < 0).sum()} clips of classes that it does not know are left out: {', '.join(unknown)}.")
    return rows[labels >= 0], labels[labels >= 0], notes


def leaks_of_test(
    finder: LeakFinder, recognizer: Recognizer, clips: ChosenClips, group_pattern: str | None, *, fail_on_leak: bool
) -> LeakReport | None:
    """What a recogniser's test clips share with clips that it has seen; None if it is not known which those are.

    With `fail_on_leak` raises UserError if there is anything, or if it is not known.
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
    return report


def answer(recognizer: Recognizer, dataset: ClipDataset, clips: ChosenClips, *, batch_size: int) -> Answers:
    """Runs the recogniser over its test clips, once to warm up on a batch and once in earnest."""
    recognizer.logits(dataset, clips.rows[:batch_size], batch_size=batch_size)
    start = time.perf_counter()
    logits = recognizer.logits(dataset, clips.rows, batch_size=batch_size)
    return Answers(recognizer, clips, logits, len(logits) / (time.perf_counter() - start))
