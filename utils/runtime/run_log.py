"""NAME.log: what a run printed and what it ran on, so that it can be understood a month later."""

import contextlib
import contextvars
import functools
import inspect
import json
import os
import re
import shlex
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from utils.runtime.devices import hardware, installed_versions
from utils.runtime.errors import UserError
from utils.runtime.files import beside_history, plain
from utils.runtime.progress import duration

ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # of colours and cursors
_write_line = contextvars.ContextVar("write_line", default=None)


class Tee:
    """A text stream that writes to `stream` and hands each complete line to `line`; progress bars are left out.

    Of a line that was drawn over by carriage returns the last state counts.
    """

    def __init__(self, stream, line: Callable[[str], None]):
        self._stream, self._line = stream, line
        self._pending = ""

    def write(self, text: str) -> int:
        written = self._stream.write(text)
        *lines, pending = (self._pending + text).split("\n")
        for line in lines:
            self._line(line.rstrip("\r").rpartition("\r")[2])
        self._pending = pending[pending.rfind("\r") + 1 :]
        return written

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


def log_only(text: str) -> None:
    """Writes a line to the log of this run, if there is one, and not to the terminal."""
    write_line = _write_line.get()
    if write_line is not None:
        write_line(text)


@contextlib.contextmanager
def run_log(path: Path, options: Sequence) -> Iterator[None]:
    """Appends to the file `path`: command, versions, device, the settings `options`, all lines printed, the end.

    Each line begins with date and time. What cannot be written (a full disk) is left out: the run is worth more.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = threading.RLock()
    with open(path, "ab", buffering=0) as file:

        def write_line(text: str) -> None:
            text = ESCAPES.sub("", text).rstrip()
            if text:
                with lock, contextlib.suppress(OSError):
                    file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S}  {text}\n".encode(errors="replace"))

        started = time.monotonic()
        for line in opening(options):
            write_line(line)
        token = _write_line.set(write_line)
        try:
            out, err = Tee(sys.stdout, write_line), Tee(sys.stderr, write_line)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                yield
        except BaseException as error:
            for line in ending(error).splitlines():
                write_line(line)
            raise
        else:
            write_line(f"finished after {duration(time.monotonic() - started)}")
        finally:
            _write_line.reset(token)


def opening(options: Sequence) -> list[str]:
    """What a run begins with: command, place, versions, device, settings."""
    versions = ", ".join(f"{name} {version}" for name, version in installed_versions().items())
    settings = {name: item for group in options for name, item in plain(asdict(group)).items()}
    return [
        f"=== {shlex.join([Path(sys.executable).name, *sys.argv])}",
        f"in {os.getcwd()}, process {os.getpid()}",
        f"python {'.'.join(map(str, sys.version_info[:3]))}, {versions}",
        f"device: {hardware()}",
        f"settings: {json.dumps(settings)}",
    ]


def ending(error: BaseException) -> str:
    """What a run ends with that did not finish: the line that the user sees, or the traceback of a bug."""
    if isinstance(error, UserError):
        return f"error: {error}"
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "interrupted"
    return "failed: " + "".join(traceback.format_exception(error))


def logged(stage: Callable) -> Callable:
    """Makes a stage, whose arguments are dataclasses with an OutputOptions `output` among them, keep its log."""

    @functools.wraps(stage)
    def with_log(*arguments, **named):
        given = inspect.signature(stage).bind(*arguments, **named)
        given.apply_defaults()
        with run_log(beside_history(given.arguments["output"].log_path, ".log"), list(given.arguments.values())):
            return stage(*arguments, **named)

    return with_log
