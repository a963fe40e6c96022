"""The cells of an experiment: single trainings, each in a folder whose name identifies all of its settings."""

import json
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from utils.base.errors import UserError
from utils.base.files import write_json
from utils.base.schemas import Count, NonNegative, Schema, Share, read_checked
from utils.networks.averaging import WHOLE_CLIP, AveragedViews
from utils.runs.identity import key_digest


class TrainedSchema(Schema, extra="allow"):
    """The content of trained.json, of which later steps read these fields; a loss that is not finite is null."""

    settings: dict
    validation_accuracy: Share
    validation_loss: float | None
    seconds: NonNegative


class TestedSchema(Schema, extra="allow"):
    """The content of tested.json, of which later steps read these fields.

    The costs of a given teacher are null if they are unknown. If it lacks scores for the test clips or their views,
    `top1` and `correct` are null.
    """

    settings: dict
    top1: Share | None
    rows: Annotated[list[Count], pydantic.FailFast(), pydantic.Field(min_length=1)]
    correct: Annotated[list[Literal[0, 1]] | None, pydantic.Field(fail_fast=True)]
    parameters: Count | None
    multiply_accumulates: Count | None
    megabytes: NonNegative | None

    @pydantic.model_validator(mode="after")
    def _check_lengths(self):
        if self.correct is not None and len(self.correct) != len(self.rows):
            raise ValueError(f"correct must have {len(self.rows)} items, as rows, found {len(self.correct)}")
        return self


SCHEMAS = {"trained": TrainedSchema, "tested": TestedSchema}


@dataclass(frozen=True)
class Row:
    """The settings of a table row, which its cells share; they differ in fold and seed.

    role: "teacher", "alone" or "distilled". teacher: "scratch", "sports1m" or the name of a given teacher; None for
    a student alone.
    """

    role: str
    teacher: str | None = None
    temperature: float | None = None
    alpha: float | None = None

    @property
    def name(self) -> str:
        teacher = {"scratch": "C3D (scratch)", "sports1m": "C3D (Sports-1M)"}.get(self.teacher, self.teacher)
        if self.role == "teacher":
            return f"teacher: {teacher}"
        if self.role == "alone":
            return "student alone"
        return f"student of {teacher}, T {self.temperature:g}, alpha {self.alpha:g}"


@dataclass(frozen=True, eq=False)
class Cell:
    """One training: a row of the table on one fold with one seed.

    settings: everything on which its weights depend, as plain values for JSON; the key is a digest of them. options:
    the dataclasses of its stage by keyword, empty for a given teacher. teacher_cell: the cell of a student's
    teacher. parts: the members of a given teacher, files (networks or scores) or cells of trained teachers. views: the
    views of the test, on which the weights do not depend.
    """

    row: Row
    fold: str
    seed: int
    settings: dict
    root: Path
    options: dict
    teacher_cell: "Cell | None" = None
    parts: "tuple[Path | Cell, ...]" = ()
    views: AveragedViews = WHOLE_CLIP

    @cached_property
    def key(self) -> str:
        return key_digest(self.settings)

    @property
    def label(self) -> str:
        """The name of the folder without the key."""
        parts = [self.row.role, self.row.teacher]
        if self.row.role == "distilled":
            parts += [f"T{self.row.temperature:g}", f"alpha{self.row.alpha:g}"]
        label = "_".join([*filter(None, parts), self.fold, f"seed{self.seed}"])
        return re.sub(r"[^A-Za-z0-9.]+", "-", label)

    @property
    def folder(self) -> Path:
        return self.root / f"{self.label}_{self.key}"

    @property
    def model_path(self) -> Path:
        return self.folder / ("teacher.keras" if self.row.role == "teacher" else "student.keras")

    @property
    def teaching_files(self) -> tuple[Path, ...]:
        """The sources of a student that is taught by this cell."""
        if not self.parts:
            return (self.model_path,)
        return tuple(part.model_path if isinstance(part, Cell) else part for part in self.parts)

    def path_of(self, name: str, suffix: str = ".json") -> Path:
        """Return the file of a step ("trained", "tested" or "report"); each choice of views has its own test."""
        if name == "trained" or self.views.count == 1:
            return self.folder / f"{name}{suffix}"
        options = self.views.options
        flips = "" if options.flip else "_no_flip"
        return self.folder / f"{name}_{self.views.count}_views_seed{options.view_seed}{flips}{suffix}"

    def read(self, name: str) -> dict | None:
        """Read the file of a step in the folder of the cell; None if this step is not finished.

        Raises UserError if the file is damaged, or if it has other settings than the cell, which happens only if files
        were moved.
        """
        path = self.path_of(name)
        if not os.path.lexists(path):
            return None
        remedy = f"delete {self.folder} to train again" if name == "trained" else f"delete {path} to test again"
        found = read_checked(path, SCHEMAS[name], what=f"--output_path: {path}", remedy=remedy)
        if found.settings != json.loads(json.dumps(self.settings)):
            raise UserError(f"{path} was made with other settings than the experiment's; move {self.folder} away")
        clips, *_ = self.settings.get("arrays", {}).get("shape", [2**63])
        if name == "tested" and max(found.rows) >= clips:
            raise UserError(
                f"--output_path: {path}: rows must be below {clips}, the number of clips, found {max(found.rows)}; "
                f"{remedy}"
            )
        return found.model_dump()

    def write(self, name: str, content: dict) -> None:
        """Write the file of a step, which marks it as finished."""
        write_json(self.path_of(name), content | {"settings": self.settings})

    @property
    def is_trained(self) -> bool:
        return self.read("trained") is not None and (bool(self.parts) or self.model_path.is_file())

    @property
    def is_tested(self) -> bool:
        return self.is_trained and self.read("tested") is not None
