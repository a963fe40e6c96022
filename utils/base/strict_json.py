"""JSON parsing with limits, for files that may be damaged or edited."""

import json
import math

from utils.base.errors import UserError, first_line

DEPTH = 32  # levels of nesting; the project's own files have at most 8
DIGITS = 300  # of a number, so that each one fits into a float


def parse_json(content: bytes, *, what: str, allow_nan: bool = False):
    """Parse UTF-8 JSON text. Raises UserError that starts with `what` if it is not JSON, or exceeds a limit.

    Stricter than the `json` module: numbers beyond float64, names that occur twice in an object, nesting deeper than
    DEPTH and, unless `allow_nan`, NaN and infinities are refused. A byte order mark is accepted.
    """
    try:
        parsed = json.loads(
            content.decode("utf-8-sig"),
            parse_constant=None if allow_nan else _refused_constant,
            parse_int=_whole_number,
            parse_float=_finite_number,
            object_pairs_hook=_object,
        )
    except RecursionError:
        parsed, depth = None, math.inf
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise UserError(f"{what} is not a JSON file: {first_line(error)}") from None
    else:
        depth = _depth(parsed)
    if depth > DEPTH:
        raise UserError(f"{what} must be nested at most {DEPTH} levels deep, but is nested deeper")
    return parsed


def _refused_constant(name: str):
    raise ValueError(f"{name} is not a JSON number")


def _whole_number(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"numbers must have at most {DIGITS} digits, found {len(text)}")
    return int(text)


def _finite_number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"numbers must fit into 64-bit floats, found {text[:40]}")
    return value


def _object(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"the name {twice[:40]!r} occurs twice in an object")
    return found


def _depth(parsed) -> int:
    """Return the number of levels of nested lists and objects. Not recursive, because the nesting may be deep."""
    depth, level = 0, [parsed]
    while level := [item for item in level if isinstance(item, (list, dict))]:
        depth += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth
