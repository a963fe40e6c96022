"""Recipes: YAML files of settings, which the command line overrides."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import yaml

from utils.base.argument_types import input_size
from utils.base.cli import ArgumentParser, did_you_mean, one_line
from utils.base.errors import UserError

LARGEST = 100_000  # bytes
DEEPEST = 10  # levels of nesting that are read; a valid recipe has three
TAG = "tag:yaml.org,2002:"
SCALARS = tuple(TAG + name for name in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value"))


def values_of_recipe(path: Path, parser: ArgumentParser) -> dict[str, object]:
    """Return the values that a recipe sets, by the name of their attribute in the parsed arguments.

    A recipe maps names of arguments, without `--`, to values. Values are taken as they are written and converted as on
    the command line, so that YAML's own rules for numbers, dates and words such as `no` do not change them. Booleans
    set switches only; null unsets a setting; a list stands for several values.
    Raises UserError, with file, line, setting, expected and found value.
    """
    values, names, settings = {}, {}, parser.settings()
    for name, node, line in _entries(path):
        place = f"--config: {path}, line {line}"
        if name == "config":
            raise UserError(f"{place}: a recipe cannot set config")
        if name not in settings:
            hint = did_you_mean(name, settings) or "; expected one of those that --help lists"
            raise UserError(f"{place}: unknown setting {one_line(name)}{hint}")
        action = settings[name]
        try:
            value = _value(parser, name, action, node)
        except argparse.ArgumentError as error:
            raise UserError(f"{place}: {name} {error.message}") from None
        if values.setdefault(action.dest, value) != value:
            raise UserError(f"{place}: {name} contradicts {names[action.dest]}")
        names[action.dest] = name
    return values


def _entries(path: Path) -> Iterator[tuple[str, yaml.Node, int]]:
    """Yield name, value and line of each setting. Raises UserError if the file is not a mapping of distinct names.

    The nodes are used, not the objects that YAML makes of them: no tag is acted upon, and aliases are not expanded.
    """
    root, seen = _root(path), set()
    if root is None:
        raise UserError(f"--config: {path} must map names of settings to values, but is empty")
    if not isinstance(root, yaml.MappingNode) or root.tag != f"{TAG}map":
        raise UserError(f"--config: {path} must map names of settings to values, got {_kind(root)}")
    for key, node in root.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise UserError(f"--config: {path}, line {line}: the name of a setting must be text, got {_kind(key)}")
        if key.value in seen:
            raise UserError(f"--config: {path}, line {line}: {one_line(key.value)} is set twice")
        seen.add(key.value)
        yield key.value, node, line


class _ShallowLoader(yaml.SafeLoader):
    """A loader that stops at deep nesting, which PyYAML would read in quadratic time until its recursion ends."""

    depth = 0

    def compose_node(self, parent, index):
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.YAMLError(f"nested more than {DEEPEST} levels deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _root(path: Path) -> yaml.Node | None:
    """Return the root node of a YAML file, None if it is empty. Raises UserError."""
    with open(path, "rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise UserError(f"--config: {path} must have at most {LARGEST:,} bytes, got {path.stat().st_size:,}")
    try:
        return yaml.compose(content.decode("utf-8-sig"), _ShallowLoader)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise UserError(f"--config: {path} must be a YAML file ({one_line(str(error))})") from None


def _value(parser: ArgumentParser, name: str, action: argparse.Action, node: yaml.Node):
    """Convert a node to the value of the argument `name`. Raises argparse.ArgumentError."""
    if action.nargs == 0:
        if node.tag != f"{TAG}bool":
            raise _error(f"must be true or false, got {_kind(node)}")
        return (node.value.lower() in ("true", "yes", "on")) == (f"--{name}" == action.option_strings[0])
    if node.tag == f"{TAG}null":
        return parser.value_of_null(action)
    if node.tag not in (*SCALARS, f"{TAG}seq"):
        raise _error(f"must be text or numbers, got {_kind(node)}")
    is_list = isinstance(node, yaml.SequenceNode)
    items = node.value if is_list else [node]
    texts = [_text(item) for item in items]
    if is_list:
        if action.type is input_size and len(texts) == 2:  # [height, width], as in settings.json
            texts = ["x".join(texts)]
        elif action.nargs is None:
            raise _error(f"must be one value, got a list of {len(texts)}")
        elif not texts:
            if action.default not in ((), []):
                raise _error("must be one or several values, got an empty list")
            return action.default
    value = parser.value_of(action, texts)
    for item in items:
        if item.tag == f"{TAG}bool" and item.value.lower() in ("true", "false"):
            raise _error(f"must be text, got {item.value} (quote it to use it as text)")
    return value


def _text(node: yaml.Node) -> str:
    """Return the text of a scalar node as it is written in the file. Raises argparse.ArgumentError for other nodes."""
    if node.tag not in SCALARS or node.tag == f"{TAG}null":
        raise _error(f"must be text or numbers, got {_kind(node)}")
    return node.value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")  # joins the pairs of JSON


def _kind(node: yaml.Node) -> str:
    """Describe a node in an error."""
    if node.tag not in (*SCALARS, f"{TAG}map", f"{TAG}seq"):
        return f"the tag {node.tag.replace(TAG, '!!')}"
    if isinstance(node, yaml.ScalarNode):
        if node.tag == f"{TAG}null":
            return "null"
        return repr(node.value) if node.style else node.value
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _error(message: str) -> argparse.ArgumentError:
    return argparse.ArgumentError(None, message)
