"""The argument parser of the scripts, and their one-line error messages.

This module does not import TensorFlow, Keras or matplotlib, so that `--help` and argument errors appear at once.
"""

import argparse
import atexit
import contextlib
import difflib
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from utils.base.argument_types import MODEL_SUFFIXES, existing_file, input_size, input_size_text, metavar_of
from utils.base.errors import UserError, out_of_memory
from utils.base.files import disk_error
from utils.base.interruption import SIGNALS, raise_interrupted

LONGEST_ERROR = 500  # characters


class Switch(argparse.Action):
    """The action of a setting that is true or false: --NAME sets true, --no_NAME sets false."""

    def __init__(self, option_strings: Sequence[str], dest: str, default: bool = False, help: str | None = None):
        (flag,) = option_strings
        super().__init__([flag, f"--no_{flag.removeprefix('--')}"], dest, nargs=0, default=default, help=help)

    def format_usage(self) -> str:
        return " | ".join(self.option_strings)

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, option_string == self.option_strings[0])


SEVERAL_PROCESSES = ("--coordinator", "--num_processes", "--process_id", "--join_timeout")
SIZES = (  # arguments on which the memory that a run needs depends
    *("--batch_size", "--input_size", "--width", "--teacher_width", "--student_width", "--input_frames", "--views"),
    *("--sequence_length", "--frame_height", "--frame_width", "--frame_size", "--unlabelled"),
)


class HelpFormatter(argparse.HelpFormatter):
    """Shows short metavars, marks required arguments, and shows the defaults of the others."""

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return metavar_of(action.type)

    def _get_help_string(self, action: argparse.Action) -> str:
        if action.required:
            return f"{action.help} (required)"
        default = action.default
        if default in (None, False, (), [], argparse.SUPPRESS):
            return action.help
        if isinstance(action, Switch):
            shown = "yes"
        elif action.type is input_size and isinstance(default, tuple):
            shown = input_size_text(default)
        elif isinstance(default, (list, tuple)):
            shown = " ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in default)
        else:
            shown = str(default)
        return f"{action.help} (default: {shown.replace('%', '%%')})"


class ArgumentParser(argparse.ArgumentParser):
    """An argparse parser with one-line errors and without abbreviated flags.

    An argument with `action="store_true"` can also be set to false, by `--no_NAME`. The value `none` unsets an argument
    that has no default value. If the parser has the argument --config, the file that it names is a recipe, whose
    settings replace the defaults (utils/base/recipes.py).
    """

    def __init__(self, description: str, **settings):
        super().__init__(description=description, formatter_class=HelpFormatter, allow_abbrev=False, **settings)
        self.register("action", "store_true", Switch)

    def parse_args(
        self,
        args: Sequence[str] | None = None,
        namespace: argparse.Namespace | None = None,
        *,
        default_recipe: Path | None = None,
    ) -> argparse.Namespace:
        """Parse the arguments, by default those of the command line; `default_recipe` is used without --config."""
        given = sys.argv[1:] if args is None else list(args)
        self._refuse_unknown(given)
        if "--config" not in self._option_string_actions or {"-h", "--help"} & set(given):
            return super().parse_args(given, namespace)
        only_recipe = ArgumentParser("", add_help=False)
        only_recipe.add_argument("--config", type=existing_file)
        recipe = only_recipe.parse_known_args(given)[0].config or default_recipe
        namespace = namespace or argparse.Namespace()
        vars(namespace).update(self._values_of_recipe(recipe) if recipe else {})
        by_recipe = [action for action in self._actions if action.required and hasattr(namespace, action.dest)]
        for action in by_recipe:
            action.required = False
        parsed = super().parse_args(given, namespace)
        for action in by_recipe:
            action.required = True
            if getattr(parsed, action.dest) is None:
                self.error(f"{action.option_strings[0]}: must have a value, got none")
        parsed.config = recipe
        return parsed

    def _values_of_recipe(self, path: Path) -> dict[str, object]:
        from utils.base.recipes import values_of_recipe  # loads PyYAML

        try:
            return values_of_recipe(path, self)
        except UserError as error:
            self.error(str(error))

    def _refuse_unknown(self, given: Sequence[str]) -> None:
        """Report an unknown flag before missing arguments, which may be missing because their name is misspelt."""
        for text in given:
            flag, equals, value = text.partition("=")
            if not re.match(r"--.|-[A-Za-z]{2}", flag):
                continue
            if flag in SEVERAL_PROCESSES:
                self.error(f"{flag}: training in several processes was removed; --devices uses several GPUs")
            if flag not in self._option_string_actions:
                self.error(f"unknown argument {flag}{did_you_mean(flag, self._option_string_actions)}")
            action = self._option_string_actions[flag]
            if equals and action.nargs == 0:
                self.error(f"{flag} takes no value, got {value}; expected {' or '.join(action.option_strings)}")

    def _get_values(self, action: argparse.Action, texts: list[str]):
        return action.default if texts == ["none"] and _none_unsets(action) else super()._get_values(action, texts)

    def _check_value(self, action: argparse.Action, value) -> None:
        if action.choices is not None and value not in action.choices:
            expected = ", ".join(map(str, action.choices))
            raise argparse.ArgumentError(action, f"must be one of {expected}, got {value}")

    def settings(self) -> dict[str, argparse.Action]:
        """Return the arguments by name, without `--`; a switch is listed under both of its names."""
        flags = self._option_string_actions.items()
        return {flag.removeprefix("--"): action for flag, action in flags if flag not in ("-h", "--help")}

    def value_of(self, action: argparse.Action, texts: Sequence[str]):
        """Convert the texts of an argument as on the command line. Raises argparse.ArgumentError."""
        if texts == ["none"] and _none_unsets(action):
            return action.default
        values = [self._get_value(action, text) for text in texts]
        for value in values:
            self._check_value(action, value)
        return values if action.nargs == "+" else values[0]

    def value_of_null(self, action: argparse.Action):
        """Return the value of an argument that is unset. Raises argparse.ArgumentError if it must have a value."""
        if _can_be_unset(action):
            return action.default
        with contextlib.suppress(argparse.ArgumentError):
            if self.value_of(action, ["none"]) is None:
                return None
        self.value_of(action, ["null"])  # raises an error that says what is expected
        raise argparse.ArgumentError(action, "must have a value, got null")

    def error(self, message: str):
        self.exit(2, f"error: {one_line(message.removeprefix('argument '))}\n")


def _can_be_unset(action: argparse.Action) -> bool:
    """Return whether an argument can be without a value: it is optional and has no default."""
    return not action.required and action.default in (None, (), [])


def _none_unsets(action: argparse.Action) -> bool:
    return _can_be_unset(action) and "none" not in (action.choices or ())


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean NAME?" with the most similar of the known names, or an empty string if none is similar."""
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def one_line(text: str) -> str:
    """Return `text` on one line, shortened in the middle if it is very long."""
    line, half = " ".join(text.split()), LONGEST_ERROR // 2
    return line if len(line) <= LONGEST_ERROR else f"{line[:half]} ... {line[-half:]}"


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
