"""Calibration of recognisers, after their training or from their records, on validation clips."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from utils.base.devices import jit_compile
from utils.base.errors import UserError
from utils.base.files import replaced_together
from utils.data.clips import ClipDataset
from utils.networks.recognizer import Recognizer
from utils.runs.calibration import Calibration, calibration_note, fit_calibration
from utils.runs.paths import record_path


def calibration_of(model, dataset: ClipDataset, rows: np.ndarray, *, batch_size: int) -> Calibration | None:
    """Fit the calibration of a trained model to view 0 of the validation clips `rows`, for its record.

    It is None, after a note, if the clips or the logits allow none.
    """
    model.jit_compile = jit_compile()
    recognizer = Recognizer(Path(), model, None)
    logits = recognizer.logits(dataset, rows, batch_size=batch_size) if len(rows) else np.empty((0, 1))
    try:
        calibration = fit_calibration(dataset.labels[rows], logits)
    except ValueError as error:
        print(f"note: the record has no calibration, because {error}.")
        return None
    if note := calibration_note(calibration):
        print(f"note: {note}")
    return calibration


def calibrate_recorded(recognizer: Recognizer, dataset: ClipDataset, *, batch_size: int) -> Recognizer:
    """Fit temperature and threshold to view 0 of the validation clips in a record; return the recogniser with them.

    The file of the record is not changed yet, see `store_calibrations`. Raises UserError for an exported
    file, whose calibration is part of it, if the validation clips are unknown, which they are without a record and for
    other arrays than those of the training, or if they cannot be used.
    """
    path, record = recognizer.path, recognizer.record
    if recognizer.is_exported:
        raise UserError(f"--calibrate: {path} is an exported file; calibrate its Keras file, and export it again")
    if record is None:
        raise UserError(f"--calibrate: {path} must have a record that says which clips are validation clips, has none")
    if not record.arrays.has_clips_of(dataset):
        raise UserError(f"--calibrate: --data must hold the arrays that {path} was trained on, holds others")
    rows = record.split.as_split().validation
    logits = recognizer.logits(dataset, rows, batch_size=batch_size)
    try:
        calibration = fit_calibration(dataset.labels[rows], logits)
    except ValueError as error:
        raise UserError(f"--calibrate: {path} cannot be calibrated: {error}") from None
    return replace(recognizer, record=record.changed(calibration=calibration))


def store_calibrations(recognizers: Sequence[Recognizer]) -> None:
    """Write the records of recognisers from `calibrate_recorded`, all or none, and print their calibrations."""
    with replaced_together():
        for recognizer in recognizers:
            recognizer.record.save(recognizer.path)
    for recognizer in recognizers:
        found = recognizer.record.calibration
        print(
            f"wrote {record_path(recognizer.path)}: temperature {found.temperature:.3g} and rejection threshold "
            f"{found.threshold:.3g} from {found.clips} validation clips"
        )
        if note := calibration_note(found):
            print(f"note: {recognizer.path.name}: {note}")
