"""Costs of given teachers: stated by score files, counted for networks, summed over parts and views."""

import numpy as np
import pytest

from models.c3d import build_c3d
from utils.base.errors import UserError
from utils.base.files import write_json
from utils.base.options import ViewOptions
from utils.experiments.cells import Cell, Row
from utils.experiments.given_teachers import costs_of, file_of_part, has_new_cost, logits_of
from utils.networks.averaging import AveragedViews
from utils.networks.cost import multiply_accumulates
from utils.networks.recognizer import save_model

STATED = {"parameters": 100, "multiply_accumulates": 1000, "megabytes": 0.25}
UNKNOWN = dict.fromkeys(STATED)
TESTED = {"top1": 0.5, "rows": [0, 1], "correct": [0, 1]}


@pytest.fixture
def make_cell(tmp_path):
    """Return a function that makes the cell of a given teacher, with files in `tmp_path`."""
    np.save(tmp_path / "scores.npy", np.zeros((4, 2, 3), np.float32))

    def make(*names, views=1):
        parts = tuple(tmp_path / name for name in names)
        averaged = AveragedViews(views, ViewOptions(views=0))
        return Cell(Row("teacher", "image"), "group", 0, {}, tmp_path / "cells", {}, parts=parts, views=averaged)

    return make


def test_costs_of_parts_and_views(make_cell, tmp_path):
    """The table would show the cost of one network of an average, or of one view of several."""
    model = build_c3d(3, input_shape=(16, 32, 32, 3), width=0.05)
    save_model(model, tmp_path / "t.keras")
    assert costs_of(make_cell("scores.npy")) == UNKNOWN
    assert costs_of(make_cell("scores.npy", "t.keras")) == UNKNOWN
    write_json(tmp_path / "scores.json", {"cost": STATED})
    assert costs_of(make_cell("scores.npy", views=3)) == STATED | {"multiply_accumulates": 3000}
    assert costs_of(make_cell("scores.npy", "t.keras", views=2)) == {
        "parameters": 100 + model.count_params(),
        "multiply_accumulates": 2 * (1000 + multiply_accumulates(model)),
        "megabytes": pytest.approx(0.25 + 4 * model.count_params() / 1e6),
    }


def test_a_cost_that_is_stated_later_reaches_the_table(make_cell, tmp_path):
    """A finished experiment would never show the cost of its teachers."""
    cell = make_cell("scores.npy")
    cell.write("tested", TESTED | UNKNOWN)
    assert not has_new_cost(cell)
    write_json(tmp_path / "scores.json", {"cost": STATED})
    assert has_new_cost(cell)
    cell.write("tested", TESTED | costs_of(cell))
    assert not has_new_cost(cell)


def test_a_wrong_cost_is_found_before_any_training(make_cell, tmp_path):
    """An experiment would end after hours of training."""
    make_cell("scores.npy")
    write_json(tmp_path / "scores.json", {"cost": {**STATED, "parameters": -1}})
    with pytest.raises(UserError, match=r"^--sources: .*scores.json: cost.parameters"):
        file_of_part(str(tmp_path / "scores.npy"), "group", 0)


class FourClips:
    row_count, class_names = 4, "abcde"


def test_scores_are_averaged_over_views(make_cell, tmp_path):
    """Rows of one table would be tests of different numbers of views."""
    scores = np.random.default_rng(0).normal(0, 3, (4, 3, 5)).astype(np.float32)
    scores[3, 1:] = np.nan  # a clip with view 0 only
    np.save(tmp_path / "scores.npy", scores)
    np.save(tmp_path / "flat.npy", scores[:, 0])
    cell, rows = make_cell("scores.npy", views=2), np.array([0, 2])
    exponentials = np.exp(scores[rows, :2].astype(np.float64))
    expected = (exponentials / exponentials.sum(axis=-1, keepdims=True)).mean(axis=1)
    np.testing.assert_allclose(np.exp(logits_of(cell, FourClips, rows, "auto", cell.views)), expected, rtol=1e-5)
    assert logits_of(cell, FourClips, np.array([3]), "auto") is not None
    assert logits_of(cell, FourClips, np.array([3]), "auto", cell.views) is None
    assert logits_of(make_cell("flat.npy", views=2), FourClips, rows, "auto", cell.views) is None
    shares = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    np.save(tmp_path / "shares.npy", shares)  # probabilities, not logits
    of_shares = logits_of(make_cell("shares.npy", views=2), FourClips, rows, "auto", cell.views)
    np.testing.assert_allclose(np.exp(of_shares), expected, rtol=1e-5)
    assert logits_of(make_cell("scores.npy", views=4), FourClips, rows, "auto", AveragedViews(4)) is None
