"""Types of arguments: what they accept, and one-line errors that say what was expected."""

import re
from pathlib import Path

import pytest

from utils.base import argument_types
from utils.base.parser import ArgumentParser


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (argument_types.positive_int, "1", 1),
        (argument_types.seed, "0", 0),
        (argument_types.seed, "4294967295", 4294967295),
        (argument_types.positive_float, "1e-9", 1e-9),
        (argument_types.non_negative_float, "0", 0.0),
        (argument_types.share, "1", 1.0),
        (argument_types.input_size, "112", (112, 112)),
        (argument_types.input_size, "120X160", (120, 160)),
        (argument_types.output_model, "a/b.h5", Path("a/b.h5")),
    ],
)
def test_values_at_the_limits_are_accepted(kind, text, value):
    """A valid value would be rejected, or height and width be swapped."""
    assert kind(text) == value


NUMBERS = ("positive_int", "non_negative_int", "view_count", "seed", "positive_float", "non_negative_float", "width")
NUMBERS += ("share", "clip_norm")
TOO_LARGE = {
    "positive_int": 2147483647,
    "non_negative_int": 2147483647,
    "view_count": 10000,
    "width": 100,
    "positive_float": 3.4e38,
    "non_negative_float": 3.4e38,
}
WHOLE = ("positive_int", "non_negative_int", "view_count", "seed")


def accepted(name, text):
    """Return the value of an argument, or None if it is refused in one short line."""
    message = ""
    try:
        return getattr(argument_types, name)(text)
    except argument_types.Error as error:
        message = str(error)
    assert message.startswith("must be ")
    assert "\n" not in message
    assert len(message) < 130
    return None


@pytest.mark.parametrize("name", NUMBERS)
def test_other_spellings_of_numbers_are_refused(name):
    """Python reads 1_000 and digits of other scripts, which are typing errors here, and NaN passes comparisons."""
    texts = ["", " ", "1 2", " 1", "1\n", "9" * 5000, "1" * 400, "1e39" if name != "share" else "1e1"]
    texts += [
        "1_000",
        "١٢",
        "１",
        "0x1",
        "1,5",
        "nan",
        "-nan",
        "inf",
        "-inf",
        "Infinity",
        "1e999",
        "10**400",
        "--1",
        "1e",
    ]
    texts += ["-1", "-1e999"]
    assert [text for text in texts if accepted(name, text) is not None] == []


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_beyond_what_numpy_and_tensorflow_take_are_refused(name):
    """2**63 ends in an OverflowError of NumPy, 1e300 is infinite in float32."""
    assert accepted(name, str(2**63)) is None or name in ("positive_float", "non_negative_float")
    assert accepted(name, "1e300") is None
    if name in TOO_LARGE:
        limit = TOO_LARGE[name]
        assert accepted(name, str(limit)) == limit
        beyond = str(limit + 1) if limit < 1e30 else "3.5e38"
        with pytest.raises(argument_types.Error, match=rf"^must be at most {re.escape(str(limit))}, got {beyond}$"):
            getattr(argument_types, name)(beyond)


@pytest.mark.parametrize("name", NUMBERS)
def test_zero_has_one_form(name):
    """-0.0 would be another setting than 0.0, and train the same network again."""
    allowed = name in ("non_negative_int", "view_count", "seed", "non_negative_float", "share")
    for text in ("0", "-0", "+0", "00"):
        value = accepted(name, text)
        assert (value is not None) == allowed
        assert value is None or str(value) == ("0" if name in WHOLE else "0.0")
    if name not in WHOLE:
        assert accepted(name, ".5") == accepted(name, "5e-1") == accepted(name, "+0.50") == 0.5
        assert accepted(name, "1e-400") == (0 if allowed else None)


@pytest.mark.parametrize("text", ["١٢", "1_1x1", "2147483648", "1x99999999999", "1e2", "-1x1", "x", "1x", " 1x1"])
def test_sizes_follow_the_same_rules(text):
    """A side beyond 2**31 would overflow in TensorFlow."""
    assert accepted("input_size", text) is None


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (argument_types.positive_int, "0", "must be a whole number of at least 1, got 0"),
        (argument_types.positive_int, "1.5", "must be a whole number of at least 1, got 1.5"),
        (argument_types.seed, "-1", "must be a whole number from 0 to 4294967295, got -1"),
        (argument_types.seed, "4294967296", "must be a whole number from 0 to 4294967295, got 4294967296"),
        (argument_types.positive_float, "0", "must be a number above 0, got 0"),
        (argument_types.positive_float, "nan", "must be a number above 0, got nan"),
        (argument_types.positive_float, "inf", "must be a number above 0, got inf"),
        (argument_types.non_negative_float, "-0.1", "must be a number of at least 0, got -0.1"),
        (argument_types.share, "1.01", "must be a number from 0 to 1, got 1.01"),
        (argument_types.share, "half", "must be a number from 0 to 1, got half"),
        (argument_types.input_size, "32x", "must be SIDE or HEIGHTxWIDTH in pixels, e.g. 112 or 120x160, got 32x"),
        (argument_types.input_size, "1x2x3", "must be SIDE or HEIGHTxWIDTH in pixels, e.g. 112 or 120x160, got 1x2x3"),
        (argument_types.existing_file, ".", "must be an existing file, got ."),
        (argument_types.existing_folder, "nowhere", "must be an existing folder, got nowhere"),
        (argument_types.existing_model, "scores.npy", "must end in .keras or .h5, got scores.npy"),
        (argument_types.existing_model, "nowhere.h5", "must be an existing file, got nowhere.h5"),
        (argument_types.existing_recognizer, "net.pb", "must end in .keras, .h5, .onnx, .xml or .tflite, got net.pb"),
        (argument_types.existing_recognizer, "nowhere.onnx", "must be an existing file, got nowhere.onnx"),
        (argument_types.output_model, "saved_model", "must end in .keras or .h5, got saved_model"),
        (argument_types.output_stem, "", "must end in a file name, got nothing"),
        (argument_types.output_stem, ".", "must end in a file name, got ."),
        (argument_types.output_model, "FOLDER", "must be a file, got the folder FOLDER"),
    ],
)
def test_an_error_is_one_line_with_argument_expected_and_found(tmp_path, capsys, kind, text, message):
    """A wrong value would be found only after the training, when the result cannot be written."""
    folder = tmp_path / "folder.h5"
    folder.mkdir()
    text, message = text.replace("FOLDER", str(folder)), message.replace("FOLDER", str(folder))
    parser = ArgumentParser("a script")
    parser.add_argument("--flag", type=kind)
    with pytest.raises(SystemExit) as end:
        parser.parse_args([f"--flag={text}"])
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: --flag: {message}\n"
