"""views.json and the .json next to scores: each damaged field gives one line that names it."""

import copy
import json

import pytest

from examples.written_views import make_parser, require_size, write_scores
from utils.base.errors import UserError
from utils.base.options import DataOptions, ViewOptions
from utils.runs.clips import RecordedSplit, RowsBySet
from utils.runs.loading import load
from utils.runs.scores import Key, ScoresFile, ViewsFile, read_scores_file, read_views_file
from utils.training import exchange
from utils.training.question import Question

IMAGE_TEACHER = {
    "teacher": "linear probe",
    "C": 0.001,
    "labels_per_class": None,
    "features": "EfficientNet-Lite0",
    "frames": 4,
    "side": 224,
    "accuracy": {"train": 1.0, "validation": 0.5},
    "cross_fitted": True,
    "cost": {"parameters": 3, "multiply_accumulates": 4, "megabytes": 0.5},
}
DAMAGE = {
    "null": None,
    "text": "x",
    "empty": "",
    "negative": -1,
    "fraction": 0.5,
    "huge": 10**200,
    "true": True,
    "nested": [[[[1]]]],
    "object": {"a": {"b": 1}},
    "list": [-1, 2],
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The content of a views.json, with the key of unlabelled clips."""
    from tests.conftest import write_arrays

    folder = tmp_path_factory.mktemp("views")
    arrays = write_arrays(folder / "arrays", classes=2, groups=3, clips=1, height=32, width=32)
    other = write_arrays(folder / "other", classes=1, groups=1, clips=1, height=32, width=32)
    data = DataOptions(arrays / "frames.npy", arrays / "labels.npy")
    question = Question(load(data, (16, 16, 16, 3), [other / "frames.npy"]), ViewOptions(views=1))
    exchange.write_views(folder / "views", question, (16, 16, 16, 3))
    return json.loads((folder / "views/views.json").read_text())


def fields_of(content, prefix=()):
    """Yield the path of each field of an object, and of the objects in it."""
    for name, value in content.items():
        yield (*prefix, name)
        if isinstance(value, dict):
            yield from fields_of(value, (*prefix, name))


def with_field(content, path, value):
    """A copy of `content` with the field at `path` replaced, or removed if `value` is the class KeyError."""
    changed = copy.deepcopy(content)
    parent = changed
    for name in path[:-1]:
        parent = parent[name]
    if value is KeyError:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return changed


def refusal(tmp_path, content, read):
    """The message of the UserError for `content`, or None."""
    path = tmp_path / "views.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    try:
        read(path, argument="--source")
    except UserError as error:
        message = str(error)
        assert message.startswith(f"--source: {path}")
        assert "\n" not in message
        assert len(message) < 400 + len(str(path))
        return message
    return None


def test_what_the_project_writes_is_accepted(written, tmp_path):
    assert refusal(tmp_path, written, read_views_file) is None
    assert refusal(tmp_path, written, read_scores_file) is None
    described = IMAGE_TEACHER | {name: written[name] for name in ("key", "split")}
    assert refusal(tmp_path, described, read_scores_file) is None


def test_the_examples_hold_all_fields(written):
    """A field that is missing here would not be covered by the tests of damaged fields."""
    assert set(written) == set(ViewsFile.model_fields)
    assert set(written) | set(IMAGE_TEACHER) == set(ScoresFile.model_fields)
    assert set(written["key"]) == set(Key.model_fields)
    assert set(written["split"]) == set(RecordedSplit.model_fields)
    assert set(written["split"]["rows"]) == set(RowsBySet.model_fields)


@pytest.mark.parametrize("read", [read_views_file, read_scores_file])
def test_damaged_fields_are_named(written, tmp_path, read):
    """An edited or damaged file would end in a traceback, or its wrong content be used."""
    content = written if read is read_views_file else written | IMAGE_TEACHER
    for path in fields_of(content):
        name = ".".join(path)
        for value in DAMAGE.values():
            message = refusal(tmp_path, with_field(content, path, value), read)
            assert message is None or f": {name}" in message
    assert refusal(tmp_path, with_field(written, ("key", "view_version"), KeyError), read).endswith(
        "key.view_version is missing"
    )
    for path in [("extra",), ("key", "extra"), ("split", "extra"), ("split", "rows", "extra")]:
        assert f"{'.'.join(path)} is unknown" in refusal(tmp_path, with_field(written, path, 1), read)


def test_fields_that_contradict_each_other_are_refused(written, tmp_path):
    """Exchanged test and training clips would let a teacher see the test clips."""
    rows = written["split"]["rows"]
    swapped = rows | {"test": rows["train"], "train": rows["test"]}
    for path, value, message in [
        (("split", "rows"), swapped, "split must hold the test rows of the training"),
        (("split", "rows"), rows | {"validation": rows["train"]}, "split.rows must be disjoint"),
        (("split", "rows", "train"), [*rows["train"], 6], "must have rows below 6 in split"),
        (("key", "shape"), [6, 16, 32, 32], "key.shape"),
        (("key", "labels"), "G" * 64, "key.labels must be 64 hexadecimal digits, found 'GGG"),
    ]:
        found = refusal(tmp_path, with_field(written, path, value), read_views_file)
        assert message.replace("\\", "") in found


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '"text"', "nul", "[" * 100_000, '{"key": NaN}', '{"key": 1e999}'])
def test_files_that_are_not_objects_are_refused(tmp_path, text):
    assert refusal(tmp_path, text, read_scores_file) is not None


def test_a_folder_without_views_is_refused(tmp_path):
    """The examples would end in a traceback for a folder that --write_views has not finished."""
    with pytest.raises(UserError, match=r"^--views_path: .*views\.json does not exist$"):
        require_size(tmp_path, 16, 32, 32)
    args = make_parser("").parse_args(["--views_path", str(tmp_path)])
    with pytest.raises(UserError, match=r"^--views_path: .*views\.json does not exist$"):
        write_scores(args, None, [])
