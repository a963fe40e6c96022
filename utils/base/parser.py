"""The argument parser of the scripts: one-line errors, recipes, and pointers for flags of other tools."""

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from utils import __version__
from utils.base.argument_types import existing_file, input_size, input_size_text, metavar_of
from utils.base.errors import UserError
from utils.base.text import one_line

SEVERAL_PROCESSES = ("--coordinator", "--num_processes", "--process_id", "--join_timeout")
NULL = ("", "~", "null", "none")  # in recipes
BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
SYNONYMS = {  # names that other tools use for an argument; where a script has several of these, the first is meant
    "input": "source video videos",
    "recognizer": "model weights checkpoint ckpt pretrained source teacher",
    "sources": "source teacher",
    "student": "model",
    "student_weights": "pretrained",
    "initial_weights": "weights checkpoint ckpt pretrained",
    "input_path": "dataset input video videos",
    "data": "dataset input",
    "annotations": "labels",
    "output_path": "out output output_dir save_dir model",
    "output": "out output_path output_dir save_dir",
    "learning_rate": "lr",
    "weight_decay": "wd",
    "temperature": "tau",
    "temperatures": "tau",
    "input_size": "img_size imgsz resolution",
    "input_frames": "num_frames",
    "sequence_length": "num_frames",
    "views": "augment",
    "devices": "device gpus",
    "workers": "num_workers",
    "threads": "num_workers",
    "threshold": "conf",
}


class Switch(argparse.Action):
    """The action of a setting that is true or false: --NAME sets true, --no_NAME sets false."""

    def __init__(self, option_strings: Sequence[str], dest: str, default: bool = False, help: str | None = None):
        (flag,) = option_strings
        super().__init__([flag, f"--no_{flag.removeprefix('--')}"], dest, nargs=0, default=default, help=help)

    def format_usage(self) -> str:
        return " | ".join(self.option_strings)

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, option_string == self.option_strings[0])


class HelpFormatter(argparse.HelpFormatter):
    """Shows short metavars, marks required arguments, and shows the defaults of the others."""

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return metavar_of(action.type)

    def _get_help_string(self, action: argparse.Action) -> str:
        if action.required:
            return f"{action.help} (required)"
        default = action.default
        if default is None or default is False or default in ((), [], argparse.SUPPRESS):
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

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("examples:") else super()._fill_text(text, width, indent)


class ArgumentParser(argparse.ArgumentParser):
    """An argparse parser with one-line errors and without abbreviated flags.

    An argument with `action="store_true"` can also be set to false, by `--no_NAME`. The value `none` unsets an argument
    that has no default value. If the parser has the argument --config, the settings in the recipe that it names replace
    the defaults. `examples` are commands, and `docs` is the page, at the end of --help.
    """

    def __init__(self, description: str, *, examples: Sequence[str] = (), docs: str | None = None, **settings):
        self.examples, self.docs = tuple(examples), docs
        lines = [*("  " + example for example in examples), *([f"documentation: {docs}"] if docs else [])]
        epilog = "\n".join(["examples:", *lines]) if examples else None
        super().__init__(
            description=description, epilog=epilog, formatter_class=HelpFormatter, allow_abbrev=False, **settings
        )
        self.register("action", "store_true", Switch)
        self.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
        self._own_defaults: dict[str, object] = {}  # while those of a recipe are set

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
        if "--config" not in self._option_string_actions:
            return super().parse_args(given, namespace)
        only_recipe = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        only_recipe.error = self.error
        only_recipe.add_argument("--config", type=existing_file)
        recipe = only_recipe.parse_known_args(given)[0].config or default_recipe
        values = {"config": recipe} | (self._values_of_recipe(recipe) if recipe else {})
        by_recipe = [action for action in self._actions if action.required and action.dest in values]
        self._own_defaults = {action.dest: action.default for action in self.settings().values()}
        self.set_defaults(**values)
        for action in by_recipe:
            action.required = False
        try:
            parsed = super().parse_args(given, namespace)
        finally:
            self.set_defaults(**self._own_defaults)
            self._own_defaults = {}
            for action in by_recipe:
                action.required = True
        for action in by_recipe:
            if getattr(parsed, action.dest) is None:
                self.error(f"{action.option_strings[0]}: must have a value, got none")
        return parsed

    def _values_of_recipe(self, path: Path) -> dict[str, object]:
        """Return what a recipe sets, by the name of the attribute. Texts are converted as on the command line."""
        from utils.base.recipes import read_recipe  # loads PyYAML

        values, known = {}, self.settings()
        try:
            for name, content in read_recipe(path).items():
                if name not in known or name == "config":
                    hint = did_you_mean(name, known) or "; expected one of those that --help lists"
                    raise UserError(f"--config: {path}: unknown setting {one_line(name)}{hint}")
                try:
                    values[known[name].dest] = self._value_in_recipe(name, known[name], content)
                except argparse.ArgumentError as error:
                    raise UserError(f"--config: {path}: {name} {error.message}") from None
        except UserError as error:
            self.error(str(error))
        return values

    def _value_in_recipe(self, name: str, action: argparse.Action, content):
        """Convert a text or a list of texts. Raises argparse.ArgumentError."""
        if isinstance(action, Switch):
            if not isinstance(content, str) or content.lower() not in BOOLEANS:
                found = content if isinstance(content, str) else "a list"
                raise argparse.ArgumentError(None, f"must be true or false, got {found}")
            return BOOLEANS[content.lower()] == (f"--{name}" == action.option_strings[0])
        if content == [] or (isinstance(content, str) and content.lower() in NULL[:-1]):
            if _can_be_unset(action.required, action.default):
                return action.default
            content = ["none"]
        texts = content if isinstance(content, list) else [content]
        if other := [text for text in texts if not isinstance(text, str)]:
            found = "a list" if isinstance(other[0], list) else "a mapping"
            raise argparse.ArgumentError(None, f"must be text or numbers, got {found}")
        if action.type is input_size and len(texts) == 2:  # [height, width], as in settings.json
            texts = ["x".join(texts)]
        if action.nargs is None and len(texts) > 1:
            raise argparse.ArgumentError(None, f"must be one value, got a list of {len(texts)}")
        return self._get_values(action, list(texts))

    def _refuse_unknown(self, given: Sequence[str]) -> None:
        """Report an unknown flag before missing arguments, which may be missing because their name is misspelt."""
        for text in given:
            flag, equals, value = text.partition("=")
            if not re.match(r"--.|-[A-Za-z]{2}", flag):
                continue
            if flag in SEVERAL_PROCESSES:
                self.error(f"{flag}: training in several processes was removed; --devices uses several GPUs")
            if flag not in self._option_string_actions:
                self.error(f"unknown argument {flag}{did_you_mean(flag, self.settings(), dashes='--')}")
            action = self._option_string_actions[flag]
            if equals and action.nargs == 0:
                self.error(f"{flag} takes no value, got {value}; expected {' or '.join(action.option_strings)}")

    def _get_values(self, action: argparse.Action, texts: list[str]):
        default = self._own_defaults.get(action.dest, action.default)
        can_be_unset = _can_be_unset(action.required, default) and "none" not in (action.choices or ())
        return default if texts == ["none"] and can_be_unset else super()._get_values(action, texts)

    def _check_value(self, action: argparse.Action, value) -> None:
        if action.choices is not None and value not in action.choices:
            expected = ", ".join(map(str, action.choices))
            raise argparse.ArgumentError(action, f"must be one of {expected}, got {value}")

    def settings(self) -> dict[str, argparse.Action]:
        """Return the arguments by name, without `--`; a switch is listed under both of its names."""
        flags = self._option_string_actions.items()
        return {flag.removeprefix("--"): action for flag, action in flags if action.dest not in ("help", "version")}

    def error(self, message: str):
        self.exit(2, f"error: {one_line(message.removeprefix('argument '))}\n")


def _can_be_unset(required: bool, default) -> bool:
    """Return whether an argument can be without a value: it is optional and has no default."""
    return not required and default in (None, (), [])


def did_you_mean(name: str, known: Iterable[str], *, dashes: str = "") -> str:
    """Return "; did you mean NAME?" for the known name that means the same or is most similar, or an empty string."""
    name, known = name.lstrip("-").replace("-", "_"), list(known)
    alike = [ours for ours, names in SYNONYMS.items() if name in names.split() and ours in known]
    alike += difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {dashes}{alike[0]}?" if alike else ""
