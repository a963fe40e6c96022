"""Checks, before any work, of the files that a run will write."""

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from utils.base.errors import UserError

TEMPORARY_CHARACTERS = 32  # what the temporary and lock files of a path add to its name
LONGEST_PATH = 4096 - 1  # PATH_MAX of Linux, without the final NUL
PROBE_BYTES = 1 << 16


@dataclass(frozen=True)
class Input:
    """A file or folder that a run reads, with the argument that names it."""

    argument: str
    path: Path


@dataclass(frozen=True)
class Output:
    """A file that a run writes, or a folder for files that the run names itself.

    is_own: an existing file at this path is of this run, or is appended to, so that nothing is lost.
    """

    argument: str
    path: Path
    is_own: bool = False
    is_folder: bool = False


def check_outputs(inputs: Iterable[Input], outputs: Iterable[Output], *, overwrite: bool = False) -> None:
    """Raise UserError if the outputs cannot be written without loss.

    No output may be an input or another output, or lie below a file. An existing file is replaced only if it is of this
    run, or with `overwrite`. Its name must be short enough, its folder writable, and the disk must have some free
    space. Nothing is created.
    """
    outputs = list(outputs)
    for output in outputs:
        _check_name(output)
    taken = {_identity(read.path): f"{read.argument} reads" for read in inputs}
    for output in outputs:
        identity = _identity(output.path)
        if identity in taken:
            raise UserError(
                f"{output.argument}: would replace {output.path}, which {taken[identity]}; choose another path"
            )
        taken[identity] = f"{output.argument} writes"
    files = {_identity(output.path): output for output in outputs if not output.is_folder}
    for output in outputs:
        for parent in output.path.absolute().parents:
            if (other := files.get(_identity(parent))) is not None:
                raise UserError(f"{output.argument}: {output.path} must not be below the file of {other.argument}")
        _check_replaceable(output, overwrite=overwrite)
    for folder, output in {_existing_parent(output): output for output in outputs}.items():
        _check_writable(output, folder)


def _identity(path: Path) -> tuple[int, int] | Path:
    """Return what two paths of one file share: device and inode, or the resolved path of a file that does not exist."""
    try:
        found = os.stat(path)
    except OSError:
        return Path(os.path.realpath(path))
    return found.st_dev, found.st_ino


def _existing_parent(output: Output) -> Path:
    """Return the nearest existing folder above an output. Raises UserError if a file is in its place."""
    folder = Path(os.path.abspath(output.path)).parent  # "missing/../file" is "file" once "missing" is created
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise UserError(f"{output.argument}: {output.path} must be in a folder, but {folder} is a file")
    return folder


def _check_name(output: Output) -> None:
    """Raise UserError if the path, or a name in it, is too long for the disk or not a possible name."""
    text = os.fspath(output.path.absolute())
    if "\0" in text:
        raise UserError(f"{output.argument}: must be a path without NUL characters, got {text!r}")
    too_long = f"{output.argument}: must be a shorter path, got "
    if len(os.fsencode(text)) + TEMPORARY_CHARACTERS > LONGEST_PATH:
        raise UserError(f"{too_long}{len(os.fsencode(text))} bytes ({text[:40]}...)")
    limit = os.pathconf("/", "PC_NAME_MAX")
    for part in output.path.parts:
        if len(os.fsencode(part)) + TEMPORARY_CHARACTERS > limit:
            raise UserError(f"{too_long}a name of {len(os.fsencode(part))} bytes ({part[:40]}...)")


def _check_replaceable(output: Output, *, overwrite: bool) -> None:
    path = output.path if os.path.lexists(output.path) else Path(os.path.abspath(output.path))
    if not os.path.lexists(path):
        return
    place, is_file = f"{output.argument}: {output.path}", path.is_file()
    if output.is_folder and not path.is_dir():
        raise UserError(f"{place} must be a folder, found a file")
    if not output.is_folder and not is_file:
        raise UserError(f"{place} must be a file, found {'a folder' if path.is_dir() else 'something else'}")
    if not (output.is_folder or output.is_own or overwrite):
        raise UserError(f"{place} exists and is not of this run; choose another path, or replace it with --overwrite")


def _check_writable(output: Output, folder: Path) -> None:
    """Write a nameless file to `folder`, which finds a full disk and missing permissions."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
    except OSError as error:
        raise UserError(
            f"{output.argument}: {output.path} must be in a writable folder, but {folder} is not ({error.strerror})"
        ) from None
