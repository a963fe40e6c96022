"""What a script runs in: one-line error messages, exit codes, and the start of TensorFlow.

This module does not import TensorFlow, Keras or matplotlib, so that `--help` and argument errors appear at once.
"""

import atexit
import io
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from utils.base.argument_types import MODEL_SUFFIXES
from utils.base.errors import UserError, out_of_memory
from utils.base.files import disk_error
from utils.base.interruption import SIGNALS, raise_interrupted

SIZES = (  # arguments on which the memory that a run needs depends
    *("--batch_size", "--input_size", "--width", "--teacher_width", "--student_width", "--input_frames", "--views"),
    *("--sequence_length", "--frame_height", "--frame_width", "--frame_size", "--unlabelled"),
)


def run(main: Callable[[], None]) -> None:
    """Run the `main` function of a script, with exit code 130 after Ctrl-C and 143 after SIGTERM.

    A UserError, a full disk, a missing permission or a lack of memory gives one line on stderr and exit code 2. If the
    reader of the output has ended, the exit code is 141, without a message. Characters that cannot be encoded, as in
    some file names, are printed as escapes.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # no start-up messages of TensorFlow
    os.environ["PYTHONSAFEPATH"] = "1"  # other processes of the run import nothing from the folder it was started in
    signal.signal(signal.SIGTERM, raise_interrupted)
    try:
        main()
    except BrokenPipeError:  # the reader of the output has ended, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes stdout when it exits
        sys.exit(128 + signal.SIGPIPE)
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        for number in SIGNALS:  # ignore a second Ctrl-C while the interpreter exits
            atexit.register(signal.signal, number, signal.SIG_IGN)
        print(str(stop) or "interrupted", file=sys.stderr)
        sys.exit(128 + getattr(stop, "number", signal.SIGINT))


def user_message(error: Exception) -> str | None:
    """Return one line on an error that the user can correct, or None."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return disk_error(error)
    reason = out_of_memory(error)
    if reason is None:
        return None
    given = [name for name in SIZES if any(part == name or part.startswith(f"{name}=") for part in sys.argv)]
    return f"{', '.join(given or SIZES[:3])}: must fit into the memory of this machine, but: {reason}"


def start_tensorflow() -> None:
    """Import TensorFlow without start-up messages. Call this after the arguments are checked."""
    from utils.base import devices

    devices.start_tensorflow()


def start_tensorflow_for(recognizers: Iterable[Path]) -> None:
    """Call `start_tensorflow` if one of the models is a Keras file; exported files are run without it."""
    if any(path.suffix in MODEL_SUFFIXES for path in recognizers):
        start_tensorflow()
