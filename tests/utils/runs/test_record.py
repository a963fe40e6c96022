"""Records that were damaged or edited: each is refused in one line that names the file and the field."""

import copy
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from tests.fake_recognizer import record_content, record_of, recorded_test
from tests.scripts import PROJECT, run_script
from utils.base.errors import UserError
from utils.base.schemas import checked, read_checked
from utils.data.clips import open_clips
from utils.networks.recognizer import read_record
from utils.runs.clips import Fingerprint
from utils.runs.paths import record_path
from utils.runs.record import FORMAT, Record

FULL = {
    **record_content(),
    "teachers": ["3" * 64],
    "unlabelled": {
        "files": [{"path": "more/frames.npy", "arrays": record_content()["arrays"]}],
        "leaks": {"test_clips": 0},
    },
    "seconds": 1.5,
    "devices": 2,
    "arguments": {"group_pattern": None, "view_seed": 3, "flip": False, "views": 8, "data": "f.npy", "paths": "p.npy"},
    "student_weights": "6" * 64,
    "initial_weights": "7" * 64,
    "inherited": {"clips": ["8" * 16], "unknown": ["old.keras has no record"]},
    "calibration": {"temperature": 1.5, "threshold": 0.25, "kept": 0.95, "clips": 20, "rows": "validation"},
    "clip_seconds": {"median": 0.64, "lower_quartile": 0.6, "upper_quartile": 0.7, "clips": 4},
    "cost": {"parameters": 1_000_000, "multiply_accumulates": 2_000_000_000, "megabytes": 4.0},
    "test": recorded_test(unknown=["old.keras has no record"]),
}
DEEP = [[["x"]]]
MUTATIONS = {
    "null": None,
    "text": "text",
    "digits": "3",
    "empty text": "",
    "number": 7.5,
    "true": True,
    "negative": -1,
    "huge": 10**290,
    "nan": float("nan"),
    "empty list": [],
    "empty object": {},
    "nested": DEEP,
}
FREE = ("unlabelled.leaks.",)  # whose content is not read again


def places(content, path=()):
    """Yield the path of each field and of the first item of each list."""
    items = content.items() if isinstance(content, dict) else list(enumerate(content))[:1]
    for name, value in items:
        yield (*path, name)
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, name))


def named(path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def changed(path, value=..., content=FULL):
    """Return `content` with another value at `path`, or without it."""
    content = copy.deepcopy(content)
    place = content
    for part in path[:-1]:
        place = place[part]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return content


def refusal(content) -> str | None:
    """Return the message with which a record is refused, or None."""
    message = None
    try:
        checked(json.dumps(content), Record, what="--source: s.json")
    except UserError as error:
        message = str(error)
    assert message is None or (message.startswith("--source: s.json") and "\n" not in message and len(message) < 250)
    return message


PLACES = [path for path in places(FULL) if not named(path).startswith(FREE)]


def test_every_field_of_the_schema_is_mutated():
    """A new field would have no test."""
    assert set(Record.model_fields) == set(FULL)


@pytest.mark.parametrize("path", PLACES, ids=named)
def test_wrong_values_are_refused_by_the_name_of_their_field(path):
    """An edited record would end the test of a model with a traceback, or test it on clips that it has seen."""
    messages = {name: refusal(changed(path, value)) for name, value in MUTATIONS.items()}
    assert all((messages["nan"], messages["nested"]))
    newer = f"must have the format {FORMAT} or an older one"
    for message in filter(None, messages.values()):
        assert message.startswith(f"--source: s.json: {named(path).removesuffix('[0]')}") or newer in message


OPTIONAL = {name for name, field in Record.model_fields.items() if not field.is_required()}
OPTIONAL |= {f"arguments.{name}" for name in ("view_seed", "flip", "views", "data", "paths")}
OPTIONAL |= {"input.channels", "input.range", "input.sampling", "inherited.clips", "inherited.unknown"}


@pytest.mark.parametrize("path", [path for path in PLACES if not isinstance(path[-1], int)], ids=named)
def test_a_missing_field_is_named_unless_it_is_younger_than_the_format(path):
    """Records of earlier versions could not be read, or those that lost a line would be read."""
    message = refusal(changed(path))
    if named(path) in OPTIONAL | {"validation.val_accuracy", "validation.val_loss", "versions.keras"}:
        assert message is None
    else:
        assert message == f"--source: s.json: {named(path)} is missing"


@pytest.mark.parametrize("path", [(), ("input",), ("split",), ("split", "rows")], ids=named)
def test_an_unknown_field_is_refused(path):
    """A typing error in the name of an optional field would be ignored."""
    name = named((*path, "kept_epohc"))
    assert refusal(changed((*path, "kept_epohc"), 3)) == f"--source: s.json: {name} is unknown, with the value 3"


def test_a_record_of_a_newer_version_says_so():
    """The user would look for a damaged file instead of updating the project."""
    record = FULL | {"format": FORMAT + 1, "clip_minutes": 3}
    assert refusal(record) == (
        f"--source: s.json must have the format {FORMAT} or an older one, found {FORMAT + 1}; it was written by a "
        "newer version of the project"
    )


def with_rows(**rows):
    return changed(("split", "rows"), FULL["split"]["rows"] | rows)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            with_rows(test=[0, 1, 2, 3], train=[6, 8]),
            "split must hold the test rows of the training, but its fingerprint",
        ),
        (
            with_rows(test=[4, 5], validation=[6, 8]),
            "split must hold the test rows of the training, but its fingerprint",
        ),
        (with_rows(test=[6, 7]), "split must hold the test rows of the training, but its fingerprint"),
        (changed(("split", "test"), "5" * 64), "split must hold the test rows of the training, but its fingerprint"),
        (with_rows(train=[0, 1, 2, 6]), "split.rows must be disjoint, found row 6 in train and in test"),
        (with_rows(validation=[3, 4]), "split.rows must be disjoint, found row 3 in train and in validation"),
        (with_rows(validation=[4, 8]), "split.rows must be disjoint, found row 8 in validation and in test"),
        (with_rows(train=[0, 2, 1]), "split.rows.train must be ascending without repetitions, found 1 after 2"),
        (with_rows(train=[0, 0]), "split.rows.train must be ascending without repetitions, found 0 after 0"),
        (with_rows(train=[0, 9]), "split.rows must be rows of the 9 clips in arrays.shape, found 9"),
        (with_rows(train=[0, 2**63]), "split.rows.train[1] must be less than 9223372036854775808, found 9223"),
        (changed(("arrays", "shape"), [8, 16, 32, 32, 3]), "split.rows must be rows of the 8 clips"),
        (changed(("arrays", "shape"), [9, 16, 32, 3]), "arrays.shape must have at least 5 items, found 4"),
        (changed(("class_names",), ["a", "b", "a"]), "class_names must be different names, found ['a', 'b', 'a']"),
        (changed(("class_names",), ["a"]), "class_names must have at least 2 items, found 1"),
        (changed(("input", "channels"), "bgr"), "input.channels must be 'rgb', found 'bgr'"),
        (changed(("fingerprint",), "A" * 64), "fingerprint must be 64 hexadecimal digits, found 'AAA"),
        (changed(("kind",), {"a": "x" * 200_000}), "kind must be a valid string, found {'a': 'xxx"),
        (changed(("class_names", 0), "a" * 200_000), None),
    ],
)
def test_rows_and_names_are_consistent(record, message):
    """With train and test rows exchanged, a recogniser would be tested on its training clips."""
    found = refusal(record)
    assert found is None if message is None else found.startswith(f"--source: s.json: {message}")


def test_a_record_is_restored_from_its_file(arrays, tmp_path):
    """eval.py tests on these rows; with wrong rows it would test on training clips."""
    dataset, split = arrays
    path = record_of(dataset, split).save(tmp_path / "student.v2.h5")
    assert path == tmp_path / "student.v2.json"
    record = read_checked(path, Record)
    assert record == record_of(dataset, split)
    back = record.split.as_split()
    assert (back.protocol, back.split_seed, back.notes) == (split.protocol, split.split_seed, split.notes)
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(back, name), getattr(split, name))
        assert getattr(back, name).dtype == np.int64
    assert record.class_names == ["Class0", "Class1", "Class2"]
    assert record.arguments.data == str(dataset.frames.path)
    assert (record.kept_epoch, record.validation) == (1, {"val_accuracy": 0.5})


def opened(folder):
    return open_clips(folder / "frames.npy", folder / "labels.npy")


def test_row_numbers_hold_for_the_same_videos_with_the_same_labels(arrays, make_arrays):
    """A teacher at 112 pixels and a student at 64 have the same clips; with other labels or names, rows are others."""
    known = record_of(*arrays).arrays
    assert known.has_clips_of(opened(make_arrays("larger", height=40, width=48)))
    assert not known.has_clips_of(opened(make_arrays("more", groups=6)))
    dataset, _ = arrays
    assert not known.has_clips_of(replace(dataset, labels=dataset.labels[::-1].copy()))
    assert not known.has_clips_of(replace(dataset, paths=dataset.paths[::-1].copy()))
    assert not known.has_clips_of(replace(dataset, paths=None))


def test_without_paths_the_frames_are_compared(make_arrays):
    """Many sets of videos have the same labels, for example five clips of each class."""
    folders = [make_arrays(name, height=32, width=32, seed=seed) for name, seed in (("a", 0), ("b", 1))]
    one, other = (replace(opened(folder), paths=None) for folder in folders)
    known = Fingerprint(**one.fingerprint())
    assert known.has_clips_of(one)
    assert not known.has_clips_of(other)
    assert not known.has_clips_of(replace(one, labels=one.labels[::-1].copy()))


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "[" * 100_000, "x" * 200_000, "1e999", '{"a": NaN}'])
def test_a_file_that_is_not_a_record_is_refused_with_a_remedy(tmp_path, content):
    """The user would have to read the code of the project to continue."""
    model = tmp_path / "student.h5"
    record_path(model).write_text(content)
    with pytest.raises(UserError) as error:
        read_record(model, lambda _: "0" * 64, argument="--source")
    assert str(error.value).startswith(f"--source: {tmp_path / 'student.json'}")
    assert str(error.value).endswith("; restore it, or remove it to use the model without a record")
    assert len(str(error.value).splitlines()) == 1
    record_path(model).unlink()
    record_path(model).mkdir()
    with pytest.raises(UserError, match=r"student\.json must be a regular file, found a folder; restore it"):
        read_record(model, lambda _: "0" * 64, argument="--source")


def test_the_scripts_show_one_line(make_arrays, tmp_path):
    """A traceback would follow the message."""
    folder = make_arrays(classes=2, groups=3, clips=1)
    (tmp_path / "student.keras").write_bytes(b"")
    record_path(tmp_path / "student.keras").write_text(json.dumps(with_rows(test=[4, 5], validation=[6, 8])))
    arrays = ["--data", folder / "frames.npy", "--annotations", folder / "labels.npy"]
    tested = run_script("eval.py", *arrays, "--recognizer", "student.keras", cwd=tmp_path, expect=2)
    assert tested == (
        "error: --recognizer: student.json: split must hold the test rows of the training, but its fingerprint "
        "`test` is of other rows; restore it, or remove it to use the model without a record\n"
    )


def test_records_are_read_by_runs_alone():
    """A second reader would check less, or know other names of fields."""
    reads = re.compile(r"""\brecords?(\[["']|\.get\(["'])|\.record\[|read_checked\([^)]*\bRecord\b""")
    files = [path for path in PROJECT.glob("utils/**/*.py") if path.parent.name != "runs"] + [*PROJECT.glob("*.py")]
    alone = PROJECT / "utils/export/example.py"  # runs without the project
    assert len(files) > 100
    assert [str(path) for path in files if path != alone and reads.search(path.read_text())] == []
