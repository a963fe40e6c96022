"""Named settings in YAML files, read as arguments that a command line may override."""

from pathlib import Path

import yaml

from utils.runtime.errors import UserError


def arguments_of_recipe(path: Path, known: set[str]) -> list[str]:
    """A recipe's settings as command-line arguments, to be put before those that the user typed, so that these win.

    A recipe maps argument names (without `--`) to values: a list stands for several values, true for a flag, false and
    null for an argument left out. Raises UserError if it is not such a mapping or names an argument not in `known`.
    """
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"--config: {path} must be a YAML file ({' '.join(str(error).split())})") from None
    if not isinstance(settings, dict):
        raise UserError(f"--config: {path} must map argument names to values, got {type(settings).__name__}")
    arguments = []
    for name, value in settings.items():
        if name not in known:
            raise UserError(f"--config: {path} names the unknown setting {name}; known are {', '.join(sorted(known))}")
        if value is None or value is False:
            continue
        arguments.append(f"--{name}")
        if value is not True:
            arguments += [str(item) for item in (value if isinstance(value, list) else [value])]
    return arguments
