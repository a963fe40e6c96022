"""What the scripts' command lines share: argument types, argument groups, one-line errors.

Nothing here imports TensorFlow, Keras or matplotlib, so that `--help` and an argument error answer at once.
"""

import argparse
import atexit
import os
import signal
import sys
from collections.abc import Callable

from models import STUDENTS
from utils.runtime.errors import UserError
from utils.runtime.files import disk_error
from utils.runtime.interruption import SIGNALS, raise_interrupted

CHANNELS_HELP = "channel order of a model without a record"
STUDENT_HELP = f"{', '.join(STUDENTS)}, or package.module:function that builds your own"
SCALES_HELP = "values that a model without a record takes"


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of each flag that has one, and which flags are required."""

    def _get_help_string(self, action: argparse.Action) -> str:
        if action.required:
            return f"{action.help} (required)"
        has_default = action.default is not None and action.default is not False
        return super()._get_help_string(action) if has_default else action.help


class ArgumentParser(argparse.ArgumentParser):
    """argparse with defaults shown by `--help`, no abbreviated flags, and errors of one line."""

    def __init__(self, description: str):
        super().__init__(description=description, formatter_class=HelpFormatter, allow_abbrev=False)

    def error(self, message: str):
        self.exit(2, f"error: {message.removeprefix('argument ')}\n")


def run(main: Callable[[], None]) -> None:
    """Runs a script's `main`; Ctrl-C gives exit code 130, SIGTERM 143.

    A UserError, a full disk or a file that may not be written becomes one line on stderr and exit code 2.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up messages say nothing to a user
    signal.signal(signal.SIGTERM, raise_interrupted)
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if disk_error(error) is None:
            raise
        print(f"error: {disk_error(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        for number in SIGNALS:  # who presses twice may do so while the interpreter ends
            atexit.register(signal.signal, number, signal.SIG_IGN)
        print(str(stop) or "interrupted", file=sys.stderr)
        sys.exit(128 + getattr(stop, "number", signal.SIGINT))


def start_tensorflow() -> None:
    """Imports TensorFlow quietly; called once the arguments are checked."""
    from utils.runtime import devices

    devices.start_tensorflow()
