"""Files of finished cells that were damaged or edited: one line with the file and what to delete."""

import json
import os
from dataclasses import replace

import pytest

from utils.base.errors import UserError
from utils.base.options import ViewOptions
from utils.experiments.cells import Cell, Row
from utils.networks.averaging import AveragedViews

SETTINGS = {"role": "alone", "arrays": {"shape": [10, 16, 32, 32, 3]}}
TRAINED = {"validation_accuracy": 0.5, "validation_loss": 1.0, "kept_epoch": 3, "seconds": 2.0}
TESTED = {"top1": 0.5, "parameters": 10, "multiply_accumulates": 20, "megabytes": 0.1, "loss": None}
TESTED |= {"rows": [3, 9], "correct": [0, 1]}
CONTENTS = {"trained": TRAINED, "tested": TESTED}


@pytest.fixture
def cell(tmp_path):
    """A cell whose training and test are finished."""
    cell = Cell(Row("alone"), "group", 0, SETTINGS, tmp_path, {})
    for name, content in CONTENTS.items():
        cell.write(name, content)
    cell.model_path.touch()
    return cell


def test_finished_cells_are_read_unchanged(cell, tmp_path):
    """Results of new fields would be lost."""
    for name, content in CONTENTS.items():
        assert cell.read(name) == content | {"settings": SETTINGS}
    assert cell.is_tested
    given = Cell(Row("teacher", "image"), "group", 0, SETTINGS, tmp_path, {}, parts=(tmp_path / "scores.npy",))
    given.write("tested", dict.fromkeys(TESTED) | {"rows": [3, 9]})  # without scores for the test clips
    assert given.read("tested")["correct"] is None
    assert given.read("trained") is None


@pytest.mark.parametrize(
    ("views", "file"),
    [
        (AveragedViews(3), "tested_3_views_seed0.json"),
        (AveragedViews(3, ViewOptions(view_seed=2, flip=False)), "tested_3_views_seed2_no_flip.json"),
    ],
)
def test_each_choice_of_views_has_its_own_test(cell, views, file):
    """The accuracy over several views would be read as that of one view, or replace it."""
    averaged = replace(cell, views=views)
    assert averaged.is_trained
    assert not averaged.is_tested
    averaged.write("tested", TESTED | {"top1": 0.25})
    assert json.loads((cell.folder / file).read_text())["top1"] == averaged.read("tested")["top1"] == 0.25
    assert cell.read("tested")["top1"] == 0.5


def refusal(cell, name, content):
    """Return the message with which a file is refused, without the path at its start and the remedy at its end."""
    path = cell.folder / f"{name}.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UserError) as error:
        assert cell.is_tested
    message, start = str(error.value), f"--output_path: {path}"
    remedy = f"; delete {cell.folder} to train again" if name == "trained" else f"; delete {path} to test again"
    assert message.startswith(start)
    assert message.endswith(remedy)
    assert "\n" not in message
    return message.removeprefix(start).removesuffix(remedy)


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not a JSON file"),
        ("x" * 200_000, "is not a JSON file"),
        ("[" * 100_000, "is not a JSON file: recursion limit"),
        (json.dumps({"a": ["x" * 200_000]}), "settings is missing"),
        ("9" * 5000, "is not a JSON file: number out of range"),
        ("[]", "must be a JSON object, found []"),
        ("{}", "settings is missing"),
        ('{"settings": NaN}', "settings must be a JSON object, found nan"),
    ],
)
def test_files_that_are_not_of_a_cell_are_named(cell, name, content, message):
    """reproduce.py and its --dry_run would end with a traceback until the user finds the file."""
    assert message in refusal(cell, name, content)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("trained", {"validation_accuracy": 1.5}, "validation_accuracy must be less than or equal to 1, found 1.5"),
        ("trained", {"validation_accuracy": None}, "validation_accuracy must be a valid number, found null"),
        ("trained", {"validation_loss": [[1]]}, "validation_loss must be a valid number, found [[1]]"),
        ("trained", {"validation_loss": 10**299}, None),
        ("trained", {"seconds": -1}, "seconds must be greater than or equal to 0, found -1"),
        ("tested", {"top1": -0.5}, "top1 must be greater than or equal to 0, found -0.5"),
        ("tested", {"top1": "0.5"}, "top1 must be a valid number, found '0.5'"),
        ("tested", {"correct": [0, 2]}, "correct[1] must be 0 or 1, found 2"),
        ("tested", {"correct": [0]}, "correct must have 2 items, as rows, found 1"),
        ("tested", {"rows": [], "correct": []}, "rows must have at least 1 item, found 0"),
        ("tested", {"rows": [3, -9]}, "rows[1] must be greater than or equal to 0, found -9"),
        ("tested", {"rows": [3, 10]}, "rows must be below 10, the number of clips, found 10"),
        ("tested", {"rows": [3, 2**63]}, "rows[1] must be less than 9223372036854775808, found 9223372036854775808"),
        ("tested", {"parameters": 1.5}, "parameters must be a valid integer, found 1.5"),
        ("tested", {"settings": 5}, "settings must be a JSON object, found 5"),
    ],
)
def test_wrong_values_are_named(cell, name, change, message):
    """The table of results would show numbers that were never measured, or end with a traceback."""
    content = CONTENTS[name] | {"settings": SETTINGS} | change
    if message is None:
        cell.write(name, content)
        assert cell.read(name)["validation_loss"] == 1e299
        return
    assert refusal(cell, name, content) == f": {message}"


@pytest.mark.parametrize("name", CONTENTS)
def test_missing_fields_are_named(cell, name):
    """A KeyError does not say which file is incomplete."""
    content = CONTENTS[name] | {"settings": SETTINGS}
    for field in set(content) - {"kept_epoch", "loss"}:
        assert refusal(cell, name, {key: value for key, value in content.items() if key != field}) == (
            f": {field} is missing"
        )


def test_settings_of_another_cell_are_refused(cell):
    """The results of moved files would appear in the wrong row."""
    cell.write("trained", TRAINED)
    path = cell.folder / "trained.json"
    path.write_text(path.read_text().replace("alone", "teacher"))
    with pytest.raises(UserError, match=r"trained\.json was made with other settings than the experiment's; move"):
        cell.read("trained")


def test_pipes_and_folders_are_not_opened(cell):
    """reproduce.py would wait forever."""
    path = cell.folder / "tested.json"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match=r"tested\.json must be a regular file, found a pipe.*; delete"):
        cell.read("tested")
