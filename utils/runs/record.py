"""The record NAME.json of a model: its data, its settings, its validation metrics and its last test.

A record is validated once, when it is read or made; everything else uses its attributes.
"""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pydantic

from utils.base.errors import UserError
from utils.base.files import escaped, plain, write_json
from utils.base.machine import installed_versions
from utils.base.schemas import Count, Name, NonNegative, Positive, Schema, Seed, Sha256, read_checked, rule
from utils.data.clips import ClipDataset
from utils.data.protocols import Split
from utils.runs.calibration import Calibration
from utils.runs.clips import Fingerprint, Inherited, RecordedSplit
from utils.runs.cost import Cost
from utils.runs.paths import record_path
from utils.runs.tested import RecordedTest

FORMAT = 1  # incremented with each new field, so that older versions of the project say that a record is newer

ClassNames = Annotated[
    list[Name],
    pydantic.Field(min_length=2),
    rule(lambda names: len(set(names)) == len(names), "different names"),
]


class Input(Schema):
    """The input of the network; `shape` is [T, H, W, 3].

    sampling: which frames of a stored clip the network sees, see `window_frames`. shrinking: how stage 1 shrinks frames
    of videos, see `stored_frame`.
    """

    shape: Annotated[list[Positive], pydantic.Field(min_length=4, max_length=4)]
    channels: Literal["rgb"] = "rgb"
    range: Literal["0..255"] = "0..255"
    sampling: Literal["middles"] = "middles"
    shrinking: Literal["area", "bilinear"] = "bilinear"


class Arguments(Schema, extra="allow"):
    """The arguments of the training; only those that later stages read are checked."""

    group_pattern: str | None
    view_seed: Seed = 0
    flip: bool = True
    views: Count = 0
    data: str | None = None
    paths: str | None = None

    def get(self, name: str, default=None):
        """Return an argument by its name, or `default` if the training had no such argument."""
        return getattr(self, name, default)


class UnlabelledFile(Schema):
    path: Name
    arrays: Fingerprint


class Unlabelled(Schema):
    """The files of the unlabelled clips, and what test clips share with them."""

    files: list[UnlabelledFile]
    leaks: dict


class ClipSeconds(Schema):
    """Quartiles of the time in seconds that training clips span, and the number of clips for which it is known."""

    median: NonNegative
    lower_quartile: NonNegative
    upper_quartile: NonNegative
    clips: Positive


class Record(Schema):
    """The content of NAME.json."""

    NEWEST: ClassVar[int] = FORMAT

    format: Annotated[int, pydantic.Field(ge=1, le=FORMAT)]
    fingerprint: Sha256
    kind: Name
    teachers: list[Sha256] = pydantic.Field(default_factory=list)  # fingerprints of their files
    unlabelled: Unlabelled | None = None
    seconds: NonNegative = 0.0
    devices: Positive = 1  # number of devices on which the last part of the training ran
    student_weights: Sha256 | None = None  # digest of the initial weights of an image network
    initial_weights: Sha256 | None = None  # digest of the model from which training started
    inherited: Inherited = pydantic.Field(default_factory=Inherited)
    calibration: Calibration | None = None
    clip_seconds: ClipSeconds | None = None
    cost: Cost | None = None
    test: RecordedTest | None = None
    class_names: ClassNames
    input: Input
    split: RecordedSplit
    arrays: Fingerprint
    arguments: Arguments
    kept_epoch: Count  # 0: the linear probe from which the training started
    validation: dict[str, float | None]  # None: not finite
    history: Name
    versions: dict[str, str]

    @pydantic.model_validator(mode="after")
    def _check_test(self):
        if self.test is None:
            return self
        classes, clips = self.test.classes, sum(each.clips for each in self.test.classes)
        if (len(classes), clips) != (len(self.class_names), self.test.clips):
            raise ValueError(
                f"test.classes must hold {self.test.clips} clips of {len(self.class_names)} classes, found {clips} of "
                f"{len(classes)}"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _check_rows(self):
        clips = self.arrays.shape[0]
        if (last := self.split.last_row) >= clips:
            raise ValueError(f"split.rows must be rows of the {clips} clips in arrays.shape, found {last}")
        return self

    @property
    def is_of_teacher(self) -> bool:
        return "teacher" in self.kind

    @property
    def is_distilled(self) -> bool:
        return "distilled" in self.kind

    def changed(self, **fields) -> "Record":
        """Return a copy with other values of fields, in the present format."""
        return self.model_copy(update={"format": FORMAT, **fields})

    def save(self, model_path: Path) -> Path:
        """Write the record of the model file at `model_path`, atomically; return its path."""
        path = record_path(model_path)
        write_json(path, self.model_dump())
        return path


def make_record(
    dataset: ClipDataset,
    split: Split,
    *,
    input_shape: Sequence[int],
    options: Sequence,
    kept: dict[str, float],
    history_path: Path,
    shrinking: str = "bilinear",
    **about,
) -> Record:
    """Return the record of a finished training.

    `options` are dataclasses, `kept` is the kept row of the history, `about` are further fields of the record, of which
    `fingerprint` and `kind` are required. A validation metric that is not finite is None.
    """
    validation = {name: value for name, value in kept.items() if name.startswith("val_")}
    return Record(
        format=FORMAT,
        class_names=list(dataset.class_names),
        input=Input(shape=list(input_shape), shrinking=shrinking),
        split=RecordedSplit.of(split),
        arrays=Fingerprint(**dataset.fingerprint()),
        arguments=Arguments(**{name: item for group in options for name, item in plain(asdict(group)).items()}),
        kept_epoch=kept["epoch"],
        validation=plain(validation),
        history=escaped(str(history_path)),
        versions={"python": platform.python_version()} | installed_versions(),
        **about,
    )


def load_record(model: str | os.PathLike, *, argument: str) -> Record:
    """Return the record of a model file, which may be of another file. Raises UserError if it is missing or damaged."""
    file = record_path(model)
    remedy = "restore it, or remove it to use the model without a record"
    return read_checked(file, Record, what=f"{argument}: {file}", remedy=remedy)


def read_record(model: str | os.PathLike, fingerprint_of: Callable[[Path], str], *, argument: str) -> Record | None:
    """Return the record of a model file, or None if there is none.

    `fingerprint_of` is called with `model` only if there is a record. Raises UserError if the record is damaged or
    belongs to another file.
    """
    file = record_path(model)
    if not os.path.lexists(file):
        return None
    record = load_record(model, argument=argument)
    if record.fingerprint != fingerprint_of(model):
        raise UserError(
            f"{argument}: {file} must be the record of {model}, but belongs to another file; restore the matching "
            "pair, or remove the record to use the model without one"
        )
    return record
