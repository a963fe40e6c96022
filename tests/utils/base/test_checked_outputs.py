"""Checks of output files before a run: a mistake in a path must not cost the user a file."""

import os

import pytest

from utils.base import checked_outputs as outputs
from utils.base.checked_outputs import Input, Output, check_outputs
from utils.base.errors import UserError


def refused(inputs, *written) -> str:
    """Return the message of the UserError."""
    with pytest.raises(UserError) as error:
        check_outputs(inputs, written)
    return str(error.value)


@pytest.mark.parametrize("way", ["same", "dots", "symlink", "hard link", "linked folder"])
def test_an_output_that_is_an_input_is_refused(tmp_path, way):
    """The user's data would be replaced, whatever path leads to the file."""
    source = tmp_path / "frames.npy"
    source.write_text("frames")
    (tmp_path / "folder").mkdir()
    path = {"dots": tmp_path / "folder/../frames.npy", "same": source}.get(way, tmp_path / "other.npy")
    if way == "symlink":
        path.symlink_to(source)
    if way == "hard link":
        os.link(source, path)
    if way == "linked folder":
        (tmp_path / "link").symlink_to(tmp_path)
        path = tmp_path / "link/frames.npy"
    message = refused([Input("--data", source)], Output("--log_path", path))
    assert message == f"--log_path: would replace {path}, which --data reads; choose another path"


def test_an_output_that_will_be_an_input_is_refused_before_it_exists(tmp_path):
    """A missing optional input would be created by the run, and be read as the user's next time."""
    path = tmp_path / "paths.npy"
    assert "--paths reads" in refused([Input("--paths", path)], Output("--log_path", tmp_path / "a/../paths.npy"))


def test_two_outputs_of_one_path_are_refused(tmp_path):
    """The later one would replace the earlier one."""
    written = [Output("--output_path", tmp_path / "a.json"), Output("--cache", tmp_path / "a.json")]
    assert refused([], *written).startswith(f"--cache: would replace {tmp_path}/a.json, which --output_path writes")


def test_only_files_of_this_run_are_replaced(tmp_path):
    """A holiday picture or a folder would be replaced by a result."""
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo")
    check_outputs(
        [], [Output("--a", tmp_path / "file", is_own=True), Output("--b", tmp_path / "folder", is_folder=True)]
    )
    assert refused([], Output("--a", tmp_path / "file")) == (
        f"--a: {tmp_path}/file exists and is not of this run; choose another path, or replace it with --overwrite"
    )
    check_outputs([], [Output("--a", tmp_path / "file")], overwrite=True)
    for name in ("dangling", "fifo"):
        assert refused([], Output("--a", tmp_path / name, is_own=True)).endswith("must be a file, found something else")
    assert refused([], Output("--a", tmp_path / "folder")).endswith("must be a file, found a folder")
    assert refused([], Output("--a", tmp_path / "file", is_folder=True)).endswith("must be a folder, found a file")


def test_outputs_below_files_are_refused(tmp_path):
    """A run would end with a traceback after an epoch, when it cannot make the folder."""
    (tmp_path / "file").write_text("")
    assert "is a file" in refused([], Output("--a", tmp_path / "file/x"))
    assert "must be a folder" in refused([], Output("--a", tmp_path / "missing/../file", is_folder=True))
    below = Output("--log_path", tmp_path / "m.keras/history.npy")
    assert "must not be below the file of --output_path" in refused(
        [], Output("--output_path", tmp_path / "m.keras"), below
    )


@pytest.mark.parametrize("name", ["n" * 224, "é" * 112, "a/" * 2040 + "x", "x\0y"])
def test_impossible_names_are_refused(tmp_path, name):
    """Saving would fail after the first epoch, because temporary names are longer."""
    message = refused([], Output("--output_path", tmp_path / name))
    assert message.startswith("--output_path: must be a")
    assert len(message) < 200


def test_the_longest_accepted_name_can_be_saved(tmp_path):
    """The limit must leave room for the temporary name, and not be stricter than needed."""
    from utils.base.files import write_text
    from utils.base.locks import exclusive_lock

    path = tmp_path / ("n" * (255 - outputs.TEMPORARY_CHARACTERS))
    check_outputs([], [Output("--output_path", path)])
    with exclusive_lock(path.with_name(f".{path.name}.training.lock"), what="test"):
        write_text(path, "saved")
    assert path.read_text() == "saved"


@pytest.mark.parametrize("number", ["ENOSPC", "EROFS", "EACCES", "EDQUOT"])
def test_a_folder_that_cannot_be_written_is_found(tmp_path, monkeypatch, number):
    """A full or read-only disk would cost the first epoch."""
    import errno

    def fail(**settings):
        raise OSError(getattr(errno, number), os.strerror(getattr(errno, number)))

    monkeypatch.setattr(outputs.tempfile, "TemporaryFile", fail)
    message = refused([], Output("--output_path", tmp_path / "new/m.keras"))
    assert f"but {tmp_path} is not ({os.strerror(getattr(errno, number))})" in message


def test_nothing_is_created(tmp_path):
    """A rejected command would leave empty folders or files."""
    check_outputs([], [Output("--output_path", tmp_path / "new/folder/m.keras")])
    assert list(tmp_path.iterdir()) == []
