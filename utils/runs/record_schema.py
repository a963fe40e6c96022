"""The schema of records: what NAME.json next to a model must hold."""

from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
import pydantic

from utils.base.errors import UserError
from utils.base.files import digest
from utils.base.schemas import Count, NonNegative, Positive, Schema, Sha256, checked, rule, shown
from utils.runs.calibration import Calibration
from utils.runs.cost import Cost

FORMAT = 1  # incremented with each new field, so that older versions of the project say that a record is newer

Name = Annotated[str, pydantic.Field(min_length=1)]
Share = Annotated[float, pydantic.Field(ge=0, le=1)]
Seed = Annotated[int, pydantic.Field(ge=0, lt=2**32)]


def _ascending(rows: list[int]) -> list[int]:
    for before, row in pairwise(rows):
        if row <= before:
            raise ValueError(f"must be ascending without repetitions, found {row} after {before}")
    return rows


Rows = Annotated[
    list[Count], pydantic.FailFast(), pydantic.Field(min_length=1), pydantic.AfterValidator(_ascending)
]  # one error is enough of what may be a million


class RowsBySet(Schema):
    """Row numbers of the clips of each set; the sets are disjoint."""

    train: Rows
    validation: Rows
    test: Rows

    @pydantic.model_validator(mode="after")
    def _check_disjoint(self):
        for name, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
            shared = np.intersect1d(getattr(self, name), getattr(self, other))
            if len(shared):
                raise ValueError(f"must be disjoint, found row {shared[0]} in {name} and in {other}")
        return self


class RecordedSplit(Schema):
    """A split, see `split_record`; `test` is the digest of the test rows."""

    protocol: Name
    split_seed: Seed
    notes: list[str]
    test: Sha256
    rows: RowsBySet

    @pydantic.model_validator(mode="after")
    def _check_digest(self):
        if digest_of_rows(self.rows.test) != self.test:
            raise ValueError("must hold the test rows of the training, but its digest `test` is of other rows")
        return self


class Fingerprint(Schema):
    """What identifies arrays, see `ClipDataset.fingerprint`; `paths` is empty if the paths are unknown."""

    shape: Annotated[list[Positive], pydantic.Field(min_length=5, max_length=5)]
    labels: Sha256
    paths: Sha256 | Literal[""]
    content: Annotated[str, pydantic.Field(pattern=r"^xxh3_128:[0-9a-f]{32}$")]


class Input(Schema):
    """The input of the network; `shape` is [T, H, W, 3].

    sampling: which frames of a stored clip the network sees, see `window_frames`.
    """

    shape: Annotated[list[Positive], pydantic.Field(min_length=4, max_length=4)]
    channels: Literal["rgb"]
    range: Literal["0..255"]
    sampling: Literal["middles"]


class Arguments(Schema, extra="allow"):
    """The arguments of the training; only those that later stages read are checked."""

    group_pattern: str | None
    view_seed: Seed = 0
    flip: bool = True


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


class TestedClass(Schema):
    """Number of test clips of a class, and how many of them are recognised."""

    clips: Count
    correct: Count

    @pydantic.model_validator(mode="after")
    def _check_correct(self):
        if self.correct > self.clips:
            raise ValueError(f"must have at most as many correct clips as clips, found {self.correct} of {self.clips}")
        return self


class RecordedTest(Schema):
    """The last test by eval.py or reproduce.py on the test clips of the record.

    interval: limits of the 95 % interval of the accuracy, None if there is none; method and caution: see `Interval`.
    classes: in the order of `class_names`. seen: number of test clips that the model has seen; unknown: why it may have
    seen more. leaking: number of test clips that share anything with seen clips, None if unknown.
    milliseconds_per_clip: for all `views` of a clip, including reading and rendering.
    """

    protocol: Name
    clips: Positive
    views: Positive
    interval: Annotated[list[Share], pydantic.Field(min_length=2, max_length=2)] | None
    method: Name
    caution: str
    top5: Share | None
    classes: list[TestedClass]
    seen: Count
    unknown: list[str]
    leaking: Count | None
    milliseconds_per_clip: NonNegative
    batch_size: Positive
    threads: Positive
    hardware: Name


class Record(Schema):
    """The content of NAME.json. Fields with a default are younger than the first version of the format."""

    format: Annotated[int, pydantic.Field(ge=1, le=FORMAT)] = 1
    fingerprint: Sha256
    kind: Name
    teacher: Sha256 | list[Sha256] | None = None  # fingerprint of its file, or of those of several teachers
    unlabelled: Unlabelled | None = None
    seconds: NonNegative = 0.0
    devices: Positive = 1  # number of devices on which the last part of the training ran
    student_weights: Sha256 | None = None  # digest of the initial weights of an image network
    initial_weights: Sha256 | None = None  # digest of the model from which training started
    initial_weights_unknown: str | None = None  # why that model may have seen test clips
    calibration: Calibration | None = None
    clip_seconds: ClipSeconds | None = None
    cost: Cost | None = None
    test: RecordedTest | None = None
    class_names: Annotated[
        list[Name],
        pydantic.Field(min_length=2),
        rule(lambda names: len(set(names)) == len(names), "different names"),
    ]
    input: Input
    split: RecordedSplit
    arrays: Fingerprint
    arguments: Arguments
    kept_epoch: Positive | None = None
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
        last = max(rows[-1] for rows in (self.split.rows.train, self.split.rows.validation, self.split.rows.test))
        if last >= clips:
            raise ValueError(f"split.rows must be rows of the {clips} clips in arrays.shape, found {last}")
        return self


def digest_of_rows(rows) -> str:
    """Return the SHA-256 of row numbers."""
    return digest(np.asarray(rows, "<i8").tobytes())


def check_record(content, *, what: str) -> dict:
    """Return the content of a record, unchanged. Raises UserError that names the first wrong field.

    what: the start of the message, which names the file.
    """
    require_known_format(content, FORMAT, what=what)
    checked(content, Record, what=what)
    return content


def require_known_format(content, newest: int, *, what: str) -> None:
    """Raise UserError that starts with `what` if parsed JSON has a `format` above `newest`."""
    version = content.get("format", 1) if isinstance(content, dict) else 1
    if isinstance(version, int) and version > newest:
        raise UserError(
            f"{what} must have the format {newest} or an older one, found {shown(version)}; it was written by a newer "
            "version of the project"
        )
