"""Checks of views.json, which describes written views, and of the .json next to the scores of a teacher."""

import re
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from utils.base.files import digest, read_json
from utils.base.schemas import Schema, checked, shown
from utils.runs.cost import Cost

DIGEST = re.compile(r"([a-z0-9_]+:)?[0-9a-f]{32,128}")  # with the name of the hash, unless it is SHA-256


def _digest(text: str) -> str:
    if not DIGEST.fullmatch(text):
        raise ValueError(f"must be a digest in hexadecimal digits, found {shown(text)}")
    return text


Digest = Annotated[str, AfterValidator(_digest)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
RowNumbers = list[Annotated[int, Field(ge=0, lt=2**63)]]
Share = Annotated[float, Field(ge=0, le=1)]


class Key(Schema):
    """The result of `Question.key`."""

    shape: Annotated[list[Count], Field(min_length=5, max_length=5)]
    labels: Digest
    paths: Annotated[str, AfterValidator(lambda text: text and _digest(text))]  # empty: unknown
    content: Digest
    rows: Digest
    view_version: Count
    view_seed: Seed
    flip: bool
    unlabelled: Digest | None = None


class Rows(Schema):
    """The clips of each set."""

    train: RowNumbers
    validation: RowNumbers
    test: RowNumbers


class RecordedSplit(Schema):
    """The result of `split_record`."""

    protocol: Annotated[str, Field(min_length=1)]
    split_seed: Seed
    notes: list[str]
    test: Digest
    rows: Rows

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        rows = [*self.rows.train, *self.rows.validation, *self.rows.test]
        if len(set(rows)) < len(rows):
            raise ValueError("must have each clip in one set, but rows holds a row number twice")
        if digest(np.array(self.rows.test, "<i8").tobytes()) != self.test:
            raise ValueError("must be unchanged, but test is not the digest of rows.test")
        return self


class _Described(Schema):
    """Fields of all descriptions, and the checks between them."""

    key: Key
    split: RecordedSplit | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        clips = self.key.shape[0]
        rows = self.split.rows if self.split else Rows(train=[], validation=[], test=[])
        last = max([*rows.train, *rows.validation, *rows.test], default=0)
        if last >= clips:
            raise ValueError(f"must have rows below {clips} in split, the number of clips in key.shape, found {last}")
        views, answers = getattr(self, "views", None), getattr(self, "answers", None)
        if views is not None and answers not in (None, views + 1):
            raise ValueError(f"must have {views + 1} answers for {views} views, found {answers}")
        return self


class ViewsFile(_Described):
    """views.json, as --write_views writes it."""

    split: RecordedSplit
    views: Annotated[int, Field(ge=0, lt=2**31)]
    answers: Count
    clips: Count
    classes: Count
    frames: Count
    height: Count
    width: Count


class ScoresFile(_Described):
    """The .json next to scores: a copy of views.json, or what examples/image_teacher.py writes."""

    views: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    answers: Count | None = None
    clips: Count | None = None
    classes: Count | None = None
    frames: Count | None = None
    height: Count | None = None
    width: Count | None = None
    teacher: str | None = None
    C: Annotated[float, Field(gt=0)] | None = None
    labels_per_class: Count | None = None
    features: str | None = None
    side: Count | None = None
    accuracy: dict[str, Share] | None = None
    cross_fitted: bool | None = None
    cost: Cost | None = None


def read_views_file(path: Path, *, argument: str) -> dict:
    """Read views.json. Raises UserError that names `argument`, the file and the first wrong field."""
    return _read(path, ViewsFile, argument)


def read_scores_file(path: Path, *, argument: str) -> dict:
    """Read the .json next to scores. Raises UserError that names `argument`, the file and the first wrong field."""
    return _read(path, ScoresFile, argument)


def _read(path: Path, schema: type[Schema], argument: str) -> dict:
    what = f"{argument}: {path}"
    content = read_json(path, what=what)
    checked(content, schema, what=what)
    return content
