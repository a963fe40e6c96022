"""Training states that are damaged: one line with the file and what to do."""

import json
import os
import struct
import zipfile

import keras
import numpy as np
import pytest

from utils.base.errors import UserError
from utils.runs.state import FORMAT, TrainingState

SETTINGS = {"--epochs": 3}
EPOCH = {"epoch": 1, "seconds": 2.0, "loss": 1.0, "val_loss": float("nan"), "val_accuracy": 0.5}
HEADER = {
    "format": FORMAT,
    "settings": SETTINGS,
    "versions": {},
    "history": [EPOCH, EPOCH | {"epoch": 2}],
    "seconds": 4.0,
    "ending": "out of time",
}


def write_state(path, header, arrays=()):
    """Write a state with the text or the object `header`, and the content of array files by name."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", header if isinstance(header, (str, bytes)) else json.dumps(header))
        for name, content in dict(arrays).items():
            archive.writestr(name, content)
    return path


def read(path):
    return TrainingState(path, SETTINGS)


def test_a_valid_state_is_read(tmp_path):
    """A training with --keep_going could not be resumed after its loss became NaN."""
    state = read(write_state(tmp_path / "net.training", HEADER))
    assert [row["epoch"] for row in state.history] == [1, 2]
    assert np.isnan(state.history[0]["val_loss"])
    assert (state.ending, state.can_resume) == ("out of time", True)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "header.json is not a JSON file"),
        ("x" * 200_000, "header.json is not a JSON file"),
        ("[" * 100_000, "header.json is not a JSON file: recursion limit"),
        (b"\xff", "header.json is not a JSON file"),
        ([1], "header.json: must be a JSON object, found [1]"),
        (HEADER | {"format": FORMAT - 1}, f"header.json: format must be {FORMAT}, found {FORMAT - 1}"),
        (HEADER | {"format": ["x" * 999]}, f"header.json: format must be {FORMAT}, found ['xxx"),
        ({name: value for name, value in HEADER.items() if name != "versions"}, "header.json: versions is missing"),
        (HEADER | {"history": None}, "header.json: history must be a valid array, found null"),
        (
            HEADER | {"history": [{"loss": "1"}]},
            (
                "header.json: history[0].loss must be a valid integer or a valid number or "
                "'nan', 'inf' or '-inf', found '1'"
            ),
        ),
        (HEADER | {"history": [{"loss": 1.0}]}, "history[0] must hold epoch 1 with the metrics of all epochs"),
        (HEADER | {"history": [EPOCH, EPOCH]}, "history[1] must hold epoch 2 with the metrics of all epochs"),
        (HEADER | {"seconds": -1}, "header.json: seconds must be greater than or equal to 0, found -1"),
        (HEADER | {"seconds": float("inf")}, "header.json: seconds must be a finite number, found inf"),
        (HEADER | {"ending": "finished"}, "header.json: ending must be 'last epoch', 'no improvement'"),
        (HEADER | {"settings": []}, "header.json: settings must be a JSON object, found []"),
        (HEADER | {"more": 1}, "header.json: more is unknown, with the value 1"),
        (b" " * (2**26 + 1), "header.json must have at most 67,108,864 bytes, found 67,108,865"),
    ],
)
def test_a_damaged_header_is_named_with_a_remedy(tmp_path, header, message):
    """A traceback would not say that the unfinished training can be discarded."""
    path = write_state(tmp_path / "net.training", header)
    with pytest.raises(UserError) as error:
        read(path)
    assert str(error.value).startswith(f"--output_path: {path}")
    assert message in str(error.value)
    assert str(error.value).endswith("; use --overwrite to start over, or remove it")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x05\x06" + bytes(18), b"PK\x03\x04" * 99])
def test_a_file_that_is_not_a_state_is_named(tmp_path, content):
    """A user could not tell which of the output files is damaged."""
    (tmp_path / "net.training").write_bytes(content)
    with pytest.raises(UserError, match=r"net\.training must be a complete training state, but .*; use --overwrite"):
        read(tmp_path / "net.training")


def test_a_pipe_is_not_opened(tmp_path):
    """The training would wait forever."""
    os.mkfifo(tmp_path / "net.training")
    with pytest.raises(UserError, match=r"net\.training must be a regular file, found a pipe.*; use --overwrite"):
        read(tmp_path / "net.training")


def npy(shape, descr="'<f4'", values=b""):
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + values


@pytest.mark.parametrize(
    "content",
    [npy("(1000000000000000,)"), npy("(-1,)"), npy("(3,)", values=b"1"), npy("(1,)", "'|O'"), npy("(2, 9)"), b"", b"x"],
)
def test_a_damaged_array_is_named(tmp_path, content):
    """NumPy would allocate what a header states, or weights of another network be assigned."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    model.compile("sgd")
    model.optimizer.build(model.trainable_variables)
    state = read(write_state(tmp_path / "net.training", HEADER, {"model/0.npy": content, "model/1.npy": content}))
    with pytest.raises(UserError, match=r"net\.training must be a complete training state, but .*; use --ov") as error:
        state.restore(model)
    assert "\n" not in str(error.value)
