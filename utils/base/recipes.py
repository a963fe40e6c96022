"""Recipes: YAML files of settings, which the command line overrides."""

from pathlib import Path

import yaml

from utils.base.errors import UserError
from utils.base.files import read_limited
from utils.base.text import one_line

LARGEST = 100_000  # bytes


def read_recipe(path: Path) -> dict[str, object]:
    """Return the settings of a recipe by name: texts, and lists of texts, as they are written in the file.

    YAML's own types are not used: `no` is not false, 010 not 8 and 1_000 not 1000, so that a value means what it means
    on the command line. Tags have no effect. Raises UserError if the file does not map names to values.
    """
    content = read_limited(path, what=f"--config: {path}", limit=LARGEST)
    try:
        found = yaml.load(content.decode("utf-8-sig"), _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"--config: {path} must be a YAML file ({one_line(str(error))})") from None
    if not isinstance(found, dict) or not found:
        raise UserError(f"--config: {path} must map names of settings to values")
    return {name: _joined(value) for name, value in found.items()}


class _Loader(yaml.BaseLoader):
    """A loader of texts that refuses a name that is set twice, of which YAML would ignore the first."""

    def construct_mapping(self, node, deep=False):
        found = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            raise yaml.YAMLError("a name is set twice")
        return found


def _joined(value):
    """Join the surrogate pairs that JSON, which is YAML, has for some characters."""
    if isinstance(value, list):
        return [_joined(item) if isinstance(item, str) else item for item in value]
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return value
