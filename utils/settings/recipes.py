"""Recipes: YAML files of arguments, which the command line overrides."""

from pathlib import Path

import yaml

from utils.runtime.errors import UserError


def arguments_of_recipe(path: Path, known: set[str]) -> list[str]:
    """Return the settings of a recipe as command-line arguments. Placed before the user's, they are overridden.

    A recipe maps argument names without `--` to values. A list stands for several values, true for a flag; false and
    null omit the argument. Raises UserError if the file is not such a mapping, or if a name is not in `known`.
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
            raise UserError(
                f"--config: {path} has the unknown setting {name}, expected one of {', '.join(sorted(known))}"
            )
        if value is None or value is False:
            continue
        arguments.append(f"--{name}")
        if value is not True:
            arguments += [str(item) for item in (value if isinstance(value, list) else [value])]
    return arguments
