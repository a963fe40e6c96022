"""Atomic writes, JSON files, locks and checks of free disk space."""

import json
import multiprocessing

import pytest

from utils.runtime.errors import UserError
from utils.runtime.files import exclusive_lock, read_json, require_free_space, write_json, write_text, written_beside


def fail_halfway(path):
    with written_beside(path) as temporary:
        temporary.write_text("ne")
        raise ZeroDivisionError


def test_a_failed_write_leaves_the_old_file(tmp_path):
    """A failed run would destroy an earlier result or leave temporary files behind."""
    path = tmp_path / "deep" / "result.json"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError):
        fail_halfway(path)
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["result.json"]


def test_the_temporary_name_keeps_the_suffix(tmp_path):
    """Keras and NumPy would save in another format: they choose it by the suffix."""
    with written_beside(tmp_path / "model.h5") as temporary:
        assert temporary.suffix == ".h5"
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"x")


def test_json_round_trips_and_keeps_number_lists_on_one_line(tmp_path):
    """A record would be unreadable: thousands of lines for the rows of a split, or invalid JSON for NaN."""
    content = {"rows": [1, 2, 3], "deep": {"x": [0.5, -1e-07], "names": ["a [1,\n 2]", "b"]}, "none": None, "empty": []}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == content
    assert '"rows": [1, 2, 3]' in (tmp_path / "a.json").read_text()
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == content


def test_brackets_in_strings_are_unchanged(tmp_path):
    """A group pattern in a record would differ from the given one."""
    write_json(tmp_path / "a.json", {"group_pattern": "[ 0-9 ]", "rows": [1, 2]})
    assert read_json(tmp_path / "a.json") == {"group_pattern": "[ 0-9 ]", "rows": [1, 2]}


def test_an_invalid_json_file_is_named(tmp_path):
    """The user would not know which file is damaged."""
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match=r"a\.json is not a JSON file"):
        read_json(tmp_path / "a.json")


def hold_lock(path, ready, leave):
    with exclusive_lock(path, what="the output"):
        ready.set()
        leave.wait()


def test_a_lock_refuses_a_second_run_and_ends_with_its_owner(tmp_path):
    """Two runs would write to the same output, or the lock of a killed run would block every later run."""
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    owner = context.Process(target=hold_lock, args=(tmp_path / "lock", ready, leave), daemon=True)
    owner.start()
    assert ready.wait(120)
    with (
        pytest.raises(UserError, match="the output is in use by another run"),
        exclusive_lock(tmp_path / "lock", what="the output"),
    ):
        pass
    owner.kill()
    owner.join(60)
    with exclusive_lock(tmp_path / "lock", what="the output"):
        pass


def test_free_space_is_checked_for_a_folder_that_does_not_exist_yet(tmp_path):
    """A run would fail for lack of disk space after hours of work."""
    require_free_space(tmp_path / "not" / "yet", 1, what="the arrays")
    with pytest.raises(UserError, match=r"the arrays needs 1000000000\.00 GB but .* has .* GB free"):
        require_free_space(tmp_path, 10**18, what="the arrays")
