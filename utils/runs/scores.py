"""views.json, which describes written views, and the .json next to the scores of a teacher."""

from pathlib import Path
from typing import Annotated, Self

import pydantic

from utils.base.schemas import Positive, Schema, Seed, Sha256, Share, read_checked
from utils.runs.clips import Fingerprint, RecordedSplit
from utils.runs.cost import Cost
from utils.runs.paths import record_path

ViewCount = Annotated[int, pydantic.Field(ge=0, lt=2**31)]


class Key(Fingerprint):
    """What identifies clips and views whose logits a student needs, see `Question.key`."""

    rows: Sha256
    view_version: Positive
    view_seed: Seed
    flip: bool
    unlabelled: Sha256 | None = None


class _Described(Schema):
    key: Key
    split: RecordedSplit | None = None

    @pydantic.model_validator(mode="after")
    def _check_rows(self) -> Self:
        clips = self.key.shape[0]
        if self.split is not None and (last := self.split.last_row) >= clips:
            raise ValueError(f"must have rows below {clips} in split, the number of clips in key.shape, found {last}")
        return self


class ViewsFile(_Described):
    """views.json, as --write_views writes it."""

    split: RecordedSplit
    views: ViewCount
    answers: Positive
    clips: Positive
    classes: Positive
    frames: Positive
    height: Positive
    width: Positive


class ScoresFile(_Described):
    """The .json next to scores: a copy of views.json, or what examples/image_teacher.py writes."""

    views: ViewCount | None = None
    answers: Positive | None = None
    clips: Positive | None = None
    classes: Positive | None = None
    frames: Positive | None = None
    height: Positive | None = None
    width: Positive | None = None
    teacher: str | None = None
    C: Annotated[float, pydantic.Field(gt=0)] | None = None
    labels_per_class: Positive | None = None
    features: str | None = None
    side: Positive | None = None
    accuracy: dict[str, Share] | None = None
    cross_fitted: bool | None = None
    cost: Cost | None = None

    @property
    def arrays(self) -> Fingerprint:
        """The arrays of these clips, as in a record."""
        return self.key


def read_views_file(path: Path, *, argument: str) -> ViewsFile:
    """Read views.json. Raises UserError that names `argument`, the file and the first wrong field."""
    return read_checked(path, ViewsFile, what=f"{argument}: {path}")


def read_scores_file(path: Path, *, argument: str) -> ScoresFile | None:
    """Read the .json next to the scores at `path`, None if there is none. Raises UserError as `read_views_file`."""
    about = record_path(path)
    return read_checked(about, ScoresFile, what=f"{argument}: {about}") if about.is_file() else None
