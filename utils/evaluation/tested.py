"""The test in the record and the card of a model."""

from pathlib import Path

import numpy as np

from utils.base.devices import hardware, threads
from utils.base.errors import UserError
from utils.base.files import disk_error, plain, replaced_together
from utils.data.clips import ClipDataset
from utils.evaluation import metrics
from utils.evaluation.testing import Predictions, described
from utils.runs.card import write_card_or_note
from utils.runs.cost import cost_of_weights
from utils.runs.paths import card_path, record_path
from utils.runs.record import load_record
from utils.runs.tested import RecordedTest, TestedClass


def store_test(predictions: Predictions, result: dict, dataset: ClipDataset, *, batch_size: int) -> Path | None:
    """Write the result of a test, see `result_of`, to the record of the model, and update its card; return its path.

    Does nothing for an exported file, for a model without a record and for other clips than the test clips of the
    record. If a file cannot be written, prints a note, because the results of the test are complete without it. Returns
    None without a new card.
    """
    recognizer = predictions.recognizer
    record, path = recognizer.record, record_path(recognizer.path)
    if recognizer.is_exported or record is None or not is_test_of_record(predictions, dataset):
        return None
    try:
        current = load_record(recognizer.path, argument="--recognizer")
    except UserError as error:
        print(f"note: the result was not stored: {error}")
        return None
    if current.fingerprint != record.fingerprint:
        print(f"note: the result was not stored, because {path} was replaced during the test")
        return None
    entry = test_entry(predictions, result, batch_size=batch_size)
    cost = cost_of_weights(result["parameters"], result["multiply_accumulates"] // result["views"])
    current = current.changed(test=entry, cost=current.cost or cost)
    try:
        with replaced_together():
            current.save(recognizer.path)
            is_written = write_card_or_note(recognizer.path, current)
    except OSError as error:
        if disk_error(error) is None:
            raise
        print(f"note: the record and the card of {recognizer.path} were not updated ({disk_error(error)})")
        return None
    return card_path(recognizer.path) if is_written else None


def is_test_of_record(predictions: Predictions, dataset: ClipDataset) -> bool:
    """Return whether the clips of a test are the test clips of the record, not those of other arrays or forced ones."""
    clips, record = predictions.clips, predictions.recognizer.record
    if not record.arrays.has_clips_of(dataset):
        return False
    split = record.split.as_split()
    return clips.protocol == described(split) and np.array_equal(clips.rows, split.test)


def test_entry(predictions: Predictions, result: dict, *, batch_size: int) -> RecordedTest:
    """Return the test in a record."""
    clips, interval, seen = predictions.clips, result["interval"], result["seen"]
    correct = metrics.correct_predictions(clips.labels, predictions.logits)
    classes = len(clips.class_names)
    totals, hits = (np.bincount(labels, minlength=classes) for labels in (clips.labels, clips.labels[correct]))
    return RecordedTest(
        protocol=result["split"],
        clips=result["clips"],
        views=result["views"],
        interval=None if interval["low"] is None else plain([interval["low"], interval["high"]]),
        method=interval["method"],
        caution=interval["caution"],
        top5=result["top5"],
        classes=[TestedClass(clips=total, correct=hit) for total, hit in zip(totals.tolist(), hits.tolist())],
        seen=seen["seen_test_clips"],
        unknown=seen["unknown"],
        leaking=None if result["leaks"] is None else result["leaks"]["leaking_test_clips"],
        milliseconds_per_clip=1000 / result["clips_per_second"],
        batch_size=batch_size,
        threads=threads(),
        hardware=hardware(),
    )
