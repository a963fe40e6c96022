"""Checks of JSON files against pydantic models, with errors in one line."""

import codecs
import dataclasses
import itertools
import json
import os
import re
import reprlib
from collections.abc import Callable
from typing import Annotated, TypeVar

import pydantic
import pydantic_core

from utils.base.errors import UserError
from utils.base.files import JSON_BYTES, read_limited

SHOWN = 80  # characters of a value in an error message


class Schema(pydantic.BaseModel):
    """Base class of schemas: types are strict, unknown fields, NaN and infinities are refused.

    A validator that raises ValueError says what was expected and what was found.
    """

    model_config = pydantic.ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


def rule(accepts: Callable, expected: str) -> pydantic.AfterValidator:
    """Return a validator for `Annotated` that refuses values for which `accepts` is false."""

    def check(value):
        if not accepts(value):
            raise ValueError(f"must be {expected}, found {shown(value)}")
        return value

    return pydantic.AfterValidator(check)


Sha256 = Annotated[str, rule(re.compile(r"[0-9a-f]{64}", re.ASCII).fullmatch, "64 hexadecimal digits")]
Count = Annotated[int, pydantic.Field(ge=0, lt=2**63)]
NonNegative = Annotated[float, pydantic.Field(ge=0)]
Positive = Annotated[int, pydantic.Field(ge=1, lt=2**31)]
Share = Annotated[float, pydantic.Field(ge=0, le=1)]
Name = Annotated[str, pydantic.Field(min_length=1)]
Seed = Annotated[int, pydantic.Field(ge=0, lt=2**32)]

Model = TypeVar("Model", bound=pydantic.BaseModel)


def schema_of(kind: type) -> type[Schema]:
    """Return the schema of a dataclass whose fields have types of JSON."""
    fields = {
        field.name: (field.type, ... if field.default is dataclasses.MISSING else field.default)
        for field in dataclasses.fields(kind)
    }
    return pydantic.create_model(kind.__name__, __base__=Schema, **fields)


def read_checked(
    path: str | os.PathLike,
    schema: type[Model],
    *,
    what: str | None = None,
    remedy: str | None = None,
    limit: int = JSON_BYTES,
) -> Model:
    """Read a JSON file as an instance of a pydantic model.

    Raises UserError for the first problem: the file is missing or not a regular file, is larger than `limit` bytes, is
    not JSON, or a field is missing, unknown, or has a wrong type or value. The message starts with `what`, by default
    the path, and ends with `remedy`, which says what to do.
    """
    what = what or str(path)
    try:
        return checked(read_limited(path, what=what, limit=limit), schema, what=what)
    except UserError as error:
        raise UserError(f"{error}; {remedy}" if remedy else str(error)) from None


def checked(text: bytes | str, schema: type[Model], *, what: str) -> Model:
    """Return JSON text as an instance of a pydantic model. Raises UserError that names the first wrong field.

    If the schema has a NEWEST format, a text of a newer one is said to be newer instead.
    """
    text = text.encode(errors="replace") if isinstance(text, str) else text.removeprefix(codecs.BOM_UTF8)
    try:
        return schema.model_validate_json(text)
    except pydantic.ValidationError as error:
        problems = error.errors(include_url=False)
    if problems[0]["type"] == "json_invalid":
        raise UserError(f"{what} is not a JSON file: {problems[0]['ctx']['error']}")
    content = pydantic_core.from_json(text)
    newest, found = getattr(schema, "NEWEST", None), content.get("format") if isinstance(content, dict) else None
    if newest is not None and isinstance(found, int) and found > newest:
        raise UserError(
            f"{what} must have the format {newest} or an older one, found {shown(found)}; it was written by a newer "
            "version of the project"
        )
    raise UserError(f"{what}: {_described(problems, content)}")


def shown(value) -> str:
    """Return a value as text on one line, at most SHOWN characters long."""
    shortener = reprlib.Repr()
    shortener.maxlevel, shortener.maxstring = 2, SHOWN
    text = json.dumps(value) if value is None or isinstance(value, bool) else shortener.repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _described(problems: list[dict], content) -> str:
    """Describe the first of `pydantic.ValidationError.errors` by field, expected and found."""
    problem = problems[0]
    field, kind, place = _field(problem, content), problem["type"], problem["loc"][:-1]
    of_union = itertools.takewhile(lambda each: each["loc"][:-1] == place and _field(each, content) == field, problems)
    message = " or ".join(each["msg"] for each in of_union).replace(" or Input should be ", " or ")
    if kind == "missing":
        return f"{field} is missing"
    if kind == "extra_forbidden":
        return f"{field} is unknown, with the value {shown(problem['input'])}"
    if kind == "value_error":
        return f"{field} {problem['ctx']['error']}".strip()
    if kind in ("model_type", "dict_type"):
        message = "must be a JSON object"
    message = re.sub(r"^\w+ should", "must", message).replace(" after validation, not ", ", found ")
    found = "" if ", found " in message else f", found {shown(problem['input'])}"
    return f"{field} {message}{found}".strip()


def _field(problem: dict, content) -> str:
    """Return the path of a field, such as `split.rows.test[3]`."""
    name = ""
    for part in problem["loc"]:
        if isinstance(part, int):
            is_present = isinstance(content, list) and part < len(content)
        else:
            is_present = isinstance(content, dict) and part in content
        if not is_present and problem["type"] != "missing":  # pydantic adds the name of a type in a union
            break
        content = content[part] if is_present else None
        text = part if isinstance(part, str) and part.isidentifier() and len(part) <= 40 else shown(part)
        name += f"[{text}]" if isinstance(part, int) else f".{text}"
    return name.removeprefix(".")
