"""What a script runs in: errors of the user are one line and an exit code."""

import errno
import io
import sys

import pytest
import tensorflow as tf

from utils.base import cli
from utils.base.errors import UserError

NO_MEMORY = "error: --batch_size, --width: must fit into the memory of this machine, but: "


@pytest.fixture(autouse=True)
def environment_kept(monkeypatch):
    """`cli.run` sets this for the processes of a script; other tests start processes in the project folder."""
    monkeypatch.setenv("PYTHONSAFEPATH", "")


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (UserError("--data: no such clips"), 2, "error: --data: no such clips\n"),
        (OSError(errno.ENOSPC, "x", "big.npy"), 2, "error: big.npy: No space left on device\n"),
        (PermissionError(errno.EACCES, "x"), 2, "error: Permission denied\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (
            MemoryError("Unable to allocate 89.4 TiB for an array with shape (2000000000, 16)"),
            2,
            f"{NO_MEMORY}Unable to allocate 89.4 TiB for an array with shape (2000000000, 16)\n",
        ),
        (
            MemoryError(),
            2,
            f"{NO_MEMORY}MemoryError\n",
        ),
        (
            tf.errors.ResourceExhaustedError(
                None, None, "{{f}} OOM when allocating tensor with shape[3,9] and\\n type"
            ),
            2,
            f"{NO_MEMORY}OOM when allocating tensor with shape[3,9]\n",
        ),
        (
            tf.errors.UnknownError(None, None, "MemoryError: Unable to allocate 2. GiB for an array\nTraceback"),
            2,
            f"{NO_MEMORY}Unable to allocate 2. GiB for an array Traceback\n",
        ),
    ],
)
def test_an_error_of_the_user_is_one_line_and_an_exit_code(capsys, monkeypatch, raised, code, line):
    """The user would get a traceback, or a pipeline the exit code of a success."""
    monkeypatch.setattr(sys, "argv", ["script.py", "--width=1000", "--batch_size", "8", "--output_path", "views"])

    def main():
        raise raised

    with pytest.raises(SystemExit) as end:
        cli.run(main)
    assert (end.value.code, capsys.readouterr().err) == (code, line)


def test_names_that_cannot_be_encoded_are_printed_as_escapes(monkeypatch):
    """A file name that is no UTF-8 would end a run when it is printed."""
    streams = {name: io.TextIOWrapper(io.BytesIO(), "utf-8") for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)

    def main():
        print("saved v_\udcff.keras 跳")
        raise UserError("no v_\udcff.npy")

    with pytest.raises(SystemExit):
        cli.run(main)
    printed = [(stream.flush(), stream.buffer.getvalue().decode())[1] for stream in streams.values()]
    assert printed == ["saved v_\\udcff.keras 跳\n", "error: no v_\\udcff.npy\n"]


@pytest.mark.parametrize("raised", [ValueError("a bug"), FileNotFoundError(errno.ENOENT, "x", "y")])
def test_a_bug_keeps_its_traceback(raised):
    """Bugs could not be reported."""

    def main():
        raise raised

    with pytest.raises(type(raised)):
        cli.run(main)
