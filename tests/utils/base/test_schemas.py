"""JSON files that were edited or damaged: one line that names the file, the field and the value found."""

import json
import os

import pytest

from utils.base.errors import UserError
from utils.base.files import read_json
from utils.base.schemas import Schema, checked, read_checked, shown


class Part(Schema):
    rows: list[int]
    share: float = 0.5


class Whole(Schema):
    name: str
    teacher: str | list[str] | None = None
    part: Part


VALID = {"name": "a", "part": {"rows": [1, 2]}}


def test_a_valid_file_is_returned_as_an_instance_with_defaults(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(VALID).encode())  # editors may add the mark
    whole = read_checked(tmp_path / "a.json", Whole)
    assert (whole.name, whole.teacher, whole.part.rows, whole.part.share) == ("a", None, [1, 2], 0.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "FILE: must be a JSON object, found [1]"),
        ({"name": "a"}, "FILE: part is missing"),
        ({"name": "a", "part": {}}, "FILE: part.rows is missing"),
        (VALID | {"nmae": "b"}, "FILE: nmae is unknown, with the value 'b'"),
        (VALID | {"a\nb" * 99: 1}, "FILE: 'a\\nba\\nba\\nba"),
        (VALID | {"name": None}, "FILE: name must be a valid string, found null"),
        (VALID | {"name": 1}, "FILE: name must be a valid string, found 1"),
        (VALID | {"name": True}, "FILE: name must be a valid string, found true"),
        (VALID | {"teacher": ["a", 1]}, "FILE: teacher must be a valid string, found ['a', 1]"),
        (VALID | {"part": {"rows": [1, "2"]}}, "FILE: part.rows[1] must be a valid integer, found '2'"),
        (VALID | {"part": {"rows": [1, True]}}, "FILE: part.rows[1] must be a valid integer, found true"),
        (VALID | {"part": {"rows": [], "share": float("nan")}}, "FILE: part.share must be a finite number, found nan"),
        (VALID | {"part": 7}, "FILE: part must be a JSON object, found 7"),
    ],
)
def test_the_first_wrong_field_is_named(content, message):
    """The user of a file with 200 settings could not find the one to correct."""
    with pytest.raises(UserError) as error:
        checked(json.dumps(content), Whole, what="FILE")
    assert str(error.value).startswith(message)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 200


TEXTS = [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b"[NaN", b"-Infinit", b"x" * 200_000]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_text_that_is_not_json_is_refused(tmp_path, text):
    """A traceback of the parser does not say which file is damaged."""
    path = tmp_path / "a.json"
    path.write_bytes(text)
    for read in (read_json, lambda path: read_checked(path, Whole)):
        with pytest.raises(UserError) as error:
            read(path)
        assert str(error.value).startswith(str(path))
        assert len(str(error.value)) < len(str(path)) + 120
        assert len(str(error.value).splitlines()) == 1


def test_a_file_beyond_the_limit_is_not_read(tmp_path):
    """A sparse file of a terabyte would exhaust the memory."""
    path = tmp_path / "a.json"
    path.touch()
    os.truncate(path, 10**12)
    with pytest.raises(UserError, match=r"a\.json must have at most 67,108,864 bytes, found 1,000,000,000,000"):
        read_json(path)


def test_only_regular_files_are_read(tmp_path):
    """Reading a pipe without a writer would never return."""
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(UserError, match=r"pipe\.json must be a regular file, found a pipe"):
        read_json(tmp_path / "pipe.json")
    with pytest.raises(UserError, match="must be a regular file, found a folder"):
        read_json(tmp_path, what="--config: it")
    with pytest.raises(UserError, match=r"none\.json does not exist"):
        read_json(tmp_path / "none.json")


@pytest.mark.parametrize("value", ["x" * 10**5, [["y" * 99] * 99] * 99, {"a\nb": {"c": list(range(10**5))}}, 10**290])
def test_values_in_messages_are_short(value):
    text = shown(value)
    assert len(text) <= 80
    assert "\n" not in text
