"""Scores of given teachers in reproduce.py: the same rules as for --source."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from tests.fake_recognizer import fake_recognizer, valid_record
from utils.base.errors import UserError
from utils.data.clips import open_clips
from utils.experiments.cells import Cell, Row
from utils.experiments.given_teachers import logits_of

LOGITS = np.random.default_rng(0).normal(size=(30, 2, 3))
ROWS = np.array([3, 9, 20])


@pytest.fixture
def found(make_arrays, tmp_path):
    """Return a function from scores to the result of `logits_of`."""
    folder = make_arrays(height=32, width=32)
    dataset = open_clips(folder / "frames.npy", folder / "labels.npy")

    def of(scores, source_scores="auto"):
        np.save(tmp_path / "s.npy", scores)
        cell = Cell(Row("teacher", "s"), "group", 0, {}, Path(), {}, parts=(tmp_path / "s.npy",))
        return logits_of(cell, dataset, ROWS, source_scores)

    return of


@pytest.mark.parametrize(
    "scores",
    [LOGITS, LOGITS[:, 0], softmax(LOGITS, axis=-1)],
    ids=["logits", "per clip", "probabilities"],
)
def test_logits_of_scores(found, scores):
    """The validation loss and the average of teachers would be those of probabilities taken for logits."""
    np.testing.assert_allclose(log_softmax(found(scores), axis=-1), log_softmax(LOGITS[ROWS, 0], axis=-1), rtol=1e-4)


def test_the_override(found):
    np.testing.assert_allclose(found(np.eye(3)[np.arange(30) % 3], "logits")[0], [1, 0, 0])


def test_parts_are_averaged_as_in_predict(make_arrays, tmp_path, monkeypatch):
    """An overconfident part would decide for the others, where predict.py gives each its calibrated weight."""
    folder = make_arrays(height=32, width=32)
    dataset = open_clips(folder / "frames.npy", folder / "labels.npy")
    sure, unsure = 20 * LOGITS[:, 0], LOGITS[:, 1]
    np.save(tmp_path / "s.npy", unsure)
    calibration = {"temperature": 40.0, "threshold": 0.5, "kept": 0.95, "clips": 20, "rows": "validation"}
    network = fake_recognizer("t.keras", record=valid_record(calibration=calibration), scores=sure)
    monkeypatch.setattr("utils.experiments.given_teachers.load_recognizer", lambda *_, **__: network)
    cell = Cell(Row("teacher", "both"), "group", 0, {}, Path(), {}, parts=(Path("t.keras"), tmp_path / "s.npy"))
    expected = (softmax(sure / 40, axis=-1) + softmax(unsure, axis=-1))[ROWS] / 2
    np.testing.assert_allclose(softmax(logits_of(cell, dataset, ROWS, "logits"), axis=-1), expected, rtol=1e-5)


@pytest.mark.parametrize("missing", [np.nan, 0, np.inf])
def test_clips_without_scores(found, missing):
    """A teacher without scores for the test clips would be tested on rows of zeros."""
    scores = softmax(LOGITS, axis=-1)
    scores[ROWS[1], 0] = missing
    assert found(scores) is None
    scores[ROWS[1], 0] = LOGITS[ROWS[1], 0]
    with pytest.raises(UserError, match=r"^--sources: .*s\.npy must hold logits or probabilities; choose one"):
        found(scores)


@pytest.mark.parametrize("shape", [(30, 4), (29, 3), (30,), (30, 2, 3, 1)])
def test_scores_of_other_clips_or_classes_are_refused(found, shape):
    """Scores of more classes than the arrays have would be averaged with others, or end in a traceback."""
    with pytest.raises(
        UserError, match=r"^--sources: .*s\.npy must hold class scores as floats \(.*, found float64 of"
    ):
        found(np.zeros(shape))
