"""The log NAME.log of a run: its command, versions, device and settings, and everything that it printed."""

import contextlib
import contextvars
import functools
import inspect
import json
import os
import platform
import re
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from utils.base.devices import hardware
from utils.base.errors import UserError
from utils.base.files import beside_history, plain
from utils.base.machine import installed_versions
from utils.base.progress import duration

ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # terminal codes for colours and cursor movement
_log = contextvars.ContextVar("log", default=None)  # of the current run


class Tee:
    """A text stream that copies to `stream` and calls `write_line` with each complete line.

    If carriage returns overwrite a line, as progress bars do, `write_line` gets its final state only.
    """

    def __init__(self, stream, write_line: Callable[[str], None]):
        self._stream, self._write_line = stream, write_line
        self._pending = ""

    def write(self, text: str) -> int:
        written = self._stream.write(text)
        *lines, pending = (self._pending + text).split("\n")
        for line in lines:
            self._write_line(line.rstrip("\r").rpartition("\r")[2])
        self._pending = pending[pending.rfind("\r") + 1 :]
        return written

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


class RunLog:
    """The log of a run in the file `path`. Until `begin`, lines are kept in memory, so that a rejected run leaves none.

    Each line starts with date and time. Lines that cannot be written, for example to a full disk, are dropped: a log
    must not end a run.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file, self._waiting = None, []

    def write(self, text: str) -> None:
        """Append the lines of a text."""
        for line in ESCAPES.sub("", text).splitlines():
            if line.strip():
                self._append(f"{datetime.now():%Y-%m-%d %H:%M:%S}  {line.rstrip()}\n".encode(errors="replace"))

    def begin(self) -> None:
        """Write the lines so far to the file, and further lines at once."""
        if self._file is not None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 - unbuffered: lines of several threads stay whole
        for line in self._waiting:
            self._append(line)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _append(self, line: bytes) -> None:
        if self._file is None:
            self._waiting.append(line)
        else:
            with contextlib.suppress(OSError):
                self._file.write(line)


def log_only(text: str) -> None:
    """Write a line to the log of the current run, if there is one, but not to the terminal."""
    if (log := _log.get()) is not None:
        log.write(text)


def begin_log() -> None:
    """Write the log of the current run, if there is one, to its file from now on, because the work begins."""
    if (log := _log.get()) is not None:
        log.begin()


@contextlib.contextmanager
def run_log(path: Path, options: Sequence) -> Iterator[None]:
    """Append the log of a run to the file `path`: header, printed lines, and how the run ended.

    `options` are the dataclasses that hold the run's settings. A run that ends with a UserError before `begin_log` is
    called leaves no log.
    """
    started, log = time.monotonic(), RunLog(path)
    log.write(header(options))
    token = _log.set(log)
    try:
        stdout, stderr = Tee(sys.stdout, log.write), Tee(sys.stderr, log.write)
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            yield
    except UserError as error:
        log.write(f"error: {error}")
        raise
    except BaseException as error:
        is_stop = isinstance(error, KeyboardInterrupt)
        log.write((str(error) or "interrupted") if is_stop else f"failed: {traceback.format_exc()}")
        log.begin()
        raise
    else:
        log.write(f"finished after {duration(time.monotonic() - started)}")
        log.begin()
    finally:
        _log.reset(token)
        log.close()


def header(options: Sequence) -> str:
    """Return the first lines of a log: command, working directory, versions, device and settings."""
    versions = ", ".join(f"{name} {version}" for name, version in installed_versions().items())
    settings = {name: item for group in options for name, item in plain(asdict(group)).items()}
    return (
        f"=== {command_line()}\n"
        f"in {os.getcwd()}, process {os.getpid()}\n"
        f"python {platform.python_version()}, {versions}\n"
        f"device: {hardware()}\n"
        f"settings: {json.dumps(settings)}"
    )


def command_line() -> str:
    """Return the command of this process as it can be typed in a shell."""
    return shlex.join([Path(sys.executable).name, *sys.argv])


def logged(stage: Callable) -> Callable:
    """Decorate a stage to keep a log. Its arguments are dataclasses of settings; `output` is an OutputOptions."""

    @functools.wraps(stage)
    def with_log(*arguments, **named):
        bound = inspect.signature(stage).bind(*arguments, **named)
        bound.apply_defaults()  # the log shows settings with default values too
        with run_log(beside_history(bound.arguments["output"].log_stem, ".log"), list(bound.arguments.values())):
            return stage(*arguments, **named)

    return with_log
