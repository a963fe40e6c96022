"""The argument parser of the scripts, and their one-line error messages.

This module does not import TensorFlow, Keras or matplotlib, so that `--help` and argument errors appear at once.
"""

import argparse
import atexit
import os
import signal
import sys
from collections.abc import Callable

from utils.runtime.errors import UserError
from utils.runtime.files import disk_error
from utils.runtime.interruption import SIGNALS, raise_interrupted
from utils.settings.argument_types import metavar_of


class HelpFormatter(argparse.HelpFormatter):
    """Shows short metavars, marks required arguments, and shows the defaults of arguments that take values."""

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return metavar_of(action.type)

    def _get_help_string(self, action: argparse.Action) -> str:
        if action.required:
            return f"{action.help} (required)"
        default = action.default
        if action.nargs == 0 or default in (None, [], argparse.SUPPRESS):
            return action.help
        shown = " ".join(map(str, default)) if isinstance(default, list) else str(default)
        return f"{action.help} (default: {shown.replace('%', '%%')})"


class ArgumentParser(argparse.ArgumentParser):
    """An argparse parser with one-line errors and without abbreviated flags."""

    def __init__(self, description: str, **settings):
        super().__init__(description=description, formatter_class=HelpFormatter, allow_abbrev=False, **settings)

    def error(self, message: str):
        self.exit(2, f"error: {message.removeprefix('argument ')}\n")


def run(main: Callable[[], None]) -> None:
    """Run the `main` function of a script, with exit code 130 after Ctrl-C and 143 after SIGTERM.

    A UserError, a full disk or a missing permission gives one line on stderr and exit code 2.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # no start-up messages of TensorFlow
    signal.signal(signal.SIGTERM, raise_interrupted)
    try:
        main()
    except (UserError, OSError) as error:
        message = str(error) if isinstance(error, UserError) else disk_error(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        for number in SIGNALS:  # ignore a second Ctrl-C while the interpreter exits
            atexit.register(signal.signal, number, signal.SIG_IGN)
        print(str(stop) or "interrupted", file=sys.stderr)
        sys.exit(128 + getattr(stop, "number", signal.SIGINT))


def start_tensorflow() -> None:
    """Import TensorFlow without start-up messages. Call this after the arguments are checked."""
    from utils.runtime import devices

    devices.start_tensorflow()
