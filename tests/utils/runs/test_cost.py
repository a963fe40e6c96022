"""Costs of teachers: of Keras networks by hand, and those stated next to scores."""

import re

import keras
import pytest

from utils.base.errors import UserError
from utils.base.files import write_json
from utils.networks.cost import cost_of_model
from utils.runs.cost import cost_of_weights, stated_cost, total_cost

VALID = {"parameters": 10, "multiply_accumulates": 4_000_000_000, "megabytes": 0.5}


def test_cost_of_a_network_by_hand():
    """The table would compare a teacher's cost with another unit or another count than its students'."""
    model = keras.Sequential([keras.Input((4, 6, 6, 3)), keras.layers.Conv3D(5, 3, padding="same")])
    kernel = 27 * 3 * 5
    found = cost_of_model(model)
    assert (found.parameters, found.multiply_accumulates) == (kernel + 5, 4 * 6 * 6 * kernel)
    assert found.megabytes == pytest.approx(4 * (kernel + 5) / 1e6)
    assert total_cost([found, cost_of_weights(100, 7)]).model_dump() == {
        "parameters": kernel + 105,
        "multiply_accumulates": 4 * 6 * 6 * kernel + 7,
        "megabytes": pytest.approx(4 * (kernel + 105) / 1e6),
    }


def test_stated_cost(tmp_path):
    """Costs that a script has written would not reach the table."""
    path = tmp_path / "scores.npy"
    assert stated_cost(path, argument="--source") is None
    write_json(tmp_path / "scores.json", {"key": {}})
    assert stated_cost(path, argument="--source") is None
    write_json(tmp_path / "scores.json", {"key": {}, "cost": VALID})
    assert stated_cost(path, argument="--source").model_dump() == VALID


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        ([1], "cost must be a JSON object, found [1]"),
        ({**VALID, "parameters": -1}, "cost.parameters .* found -1"),
        ({**VALID, "parameters": 2**63}, "cost.parameters .* found 9223372036854775808"),
        ({**VALID, "parameters": "3"}, "cost.parameters must be a valid integer, found '3'"),
        ({**VALID, "multiply_accumulates": 1.5}, "cost.multiply_accumulates must be a valid integer, found 1.5"),
        ({**VALID, "megabytes": None}, "cost.megabytes must be a valid number, found null"),
        ({"parameters": 1, "megabytes": 1.0}, "cost.multiply_accumulates is missing"),
        ({**VALID, "price": 1}, "cost.price is unknown"),
    ],
)
def test_a_wrong_cost_is_one_line(cost, expected, tmp_path):
    """A mistyped cost would enter the table, or end an experiment with a traceback."""
    write_json(tmp_path / "scores.json", {"cost": cost})
    with pytest.raises(UserError) as error:
        stated_cost(tmp_path / "scores.npy", argument="--sources")
    text = str(error.value)
    assert text.startswith(f"--sources: {tmp_path}/scores.json: ")
    assert "\n" not in text
    pattern = expected.replace("[1]", r"\[1\]")
    assert re.search(pattern, text), text
