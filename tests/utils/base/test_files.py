"""Atomic writes, JSON files, locks and checks of free disk space."""

import errno
import json
import math
import os

import numpy as np
import pytest

from utils.base.errors import UserError
from utils.base.files import read_json, replaced_together, require_free_space, write_json, write_text, written_beside


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
    """A record would be unreadable: thousands of lines for the rows of a split."""
    content = {"rows": [1, 2, 3], "deep": {"x": [0.5, -1e-07], "names": ["a [1,\n 2]", "b"]}, "none": None, "empty": []}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == content
    assert '"rows": [1, 2, 3]' in (tmp_path / "a.json").read_text()


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def test_numbers_that_are_not_finite_are_null(tmp_path):
    """A training that ended with NaN would have no record, or one that JSON readers of other languages reject."""
    numbers = (math.nan, math.inf, -math.inf, np.float64("nan"), 0.5)
    write_json(tmp_path / "a.json", {"loss": math.nan, "deep": [{"numbers": numbers}], "path": tmp_path})
    found = json.loads((tmp_path / "a.json").read_text(), parse_constant=refuse)
    assert found == {"loss": None, "deep": [{"numbers": [None, None, None, None, 0.5]}], "path": str(tmp_path)}


NAMES = ("a.h5", "b.json", "c.npy")


def write_set(folder, text, fail_after=None):
    """Write three files together; with `fail_after`, raise ZeroDivisionError after so many of them."""
    with replaced_together():
        for number, name in enumerate(NAMES):
            if number == fail_after:
                raise ZeroDivisionError
            write_text(folder / name, text)


def failing_rename(patched, number, error):
    """Let the rename `number` raise `error`; return the list of the targets so far."""
    replace, targets = os.replace, []

    def failing(source, target):
        targets.append(target)
        if len(targets) == number:
            raise error
        replace(source, target)

    patched.setattr(os, "replace", failing)
    return targets


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("former", [{}, {"b.json": "old"}, dict.fromkeys(NAMES, "old")], ids=["none", "one", "all"])
def test_files_that_belong_together_are_replaced_together(tmp_path, former, monkeypatch):
    """After a full disk, the record of one network would lie beside another network, and the former one be lost."""
    for name, text in former.items():
        (tmp_path / name).write_text(text)
    for number in range(len(NAMES)):
        with pytest.raises(ZeroDivisionError):
            write_set(tmp_path, "new", fail_after=number)
        assert contents(tmp_path) == former
    for number in range(1, 1 + len(NAMES)):
        with monkeypatch.context() as patched:
            calls = failing_rename(patched, number, OSError(errno.ENOSPC, "No space left on device"))
            with pytest.raises(OSError, match="No space left"):
                write_set(tmp_path, "new")
        assert contents(tmp_path) == former
        assert [path.name for path in calls[:number]] == list(NAMES[::-1][:number])
    write_set(tmp_path, "new")
    assert contents(tmp_path) == dict.fromkeys(NAMES, "new")


def test_files_are_replaced_together_without_hard_links(tmp_path, monkeypatch):
    """Some file systems, such as exFAT, have none."""
    write_set(tmp_path, "old")
    monkeypatch.setattr(os, "link", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EPERM, "not permitted")))
    failing_rename(monkeypatch, 2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        write_set(tmp_path, "new")
    assert contents(tmp_path) == dict.fromkeys(NAMES, "old")


def test_an_inner_set_joins_the_outer_one(tmp_path):
    """A model with its record is saved together with its history."""
    with replaced_together():
        write_set(tmp_path, "new")
        write_text(tmp_path / "d.csv", "new")
        assert not list(tmp_path.glob("[!.]*"))
    assert contents(tmp_path) == dict.fromkeys((*NAMES, "d.csv"), "new")


def test_brackets_in_strings_are_unchanged(tmp_path):
    """A group pattern in a record would differ from the given one."""
    write_json(tmp_path / "a.json", {"group_pattern": "[ 0-9 ]", "rows": [1, 2]})
    assert read_json(tmp_path / "a.json") == {"group_pattern": "[ 0-9 ]", "rows": [1, 2]}


def test_an_invalid_json_file_is_named(tmp_path):
    """The user would not know which file is damaged."""
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match=r"a\.json is not a JSON file"):
        read_json(tmp_path / "a.json")


def test_free_space_is_checked_for_a_folder_that_does_not_exist_yet(tmp_path):
    """A run would fail for lack of disk space after hours of work."""
    require_free_space(tmp_path / "not" / "yet", 1, what="the arrays")
    with pytest.raises(UserError, match=r"the arrays needs 1000000000\.00 GB but .* has .* GB free"):
        require_free_space(tmp_path, 10**18, what="the arrays")
