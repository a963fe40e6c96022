"""The clips of a run as its files state them: the arrays, and the split into sets."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
import pydantic

from utils.base.files import digest
from utils.base.schemas import Count, Name, Positive, Schema, Seed, Sha256
from utils.data.clips import ClipDataset
from utils.data.protocols import Split
from utils.data.split_lists import SETS


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
    """A split; `test` is the digest of the test rows."""

    protocol: Name
    split_seed: Seed
    notes: list[str]
    test: Sha256
    rows: RowsBySet

    @pydantic.model_validator(mode="after")
    def _check_digest(self):
        if digest_of_rows(self.rows.test) != self.test:
            raise ValueError("must hold the test rows of the training, but its fingerprint `test` is of other rows")
        return self

    @classmethod
    def of(cls, split: Split) -> "RecordedSplit":
        return cls(
            protocol=split.protocol,
            split_seed=split.split_seed,
            notes=list(split.notes),
            test=digest_of_rows(split.test),
            rows=RowsBySet(**split_rows(split)),
        )

    @property
    def last_row(self) -> int:
        return max(getattr(self.rows, name)[-1] for name in SETS)

    def as_split(self) -> Split:
        """Return the split with its rows as arrays."""
        rows = {name: np.array(getattr(self.rows, name), np.int64) for name in SETS}
        return Split(self.protocol, self.split_seed, **rows, notes=tuple(self.notes))


class Fingerprint(Schema):
    """What identifies arrays, see `ClipDataset.fingerprint`; `paths` is empty if the paths are unknown."""

    shape: Annotated[list[Positive], pydantic.Field(min_length=5, max_length=5)]
    labels: Sha256
    paths: Sha256 | Literal[""]
    content: Annotated[str, pydantic.Field(pattern=r"^xxh3_128:[0-9a-f]{32}$")]

    def has_clips_of(self, dataset: ClipDataset) -> bool:
        """Return whether row numbers of these arrays refer to the same clips in `dataset`.

        They do if labels and paths are equal, at any frame size. Without paths the frames have to be equal as well.
        """
        found = Fingerprint(**dataset.fingerprint())
        if dataset.paths is None:
            return found.model_dump() == self.model_dump(include=set(Fingerprint.model_fields))
        return (self.shape[0], self.labels, self.paths) == (found.shape[0], found.labels, found.paths)


class Inherited(Schema):
    """What the teachers and the initial weights of a model have seen, other than its training and validation clips.

    clips: `clip_ids` in ascending order. unknown: reasons why they may have seen more.
    """

    clips: list[Annotated[str, pydantic.Field(pattern="^[0-9a-f]{16}$")]] = pydantic.Field(default_factory=list)
    unknown: list[str] = pydantic.Field(default_factory=list)


def clip_ids(names: Iterable[str]) -> list[str]:
    """Return a digest for each clip by its `ClipDataset.clip_names`."""
    return [digest(name.encode())[:16] for name in names]


def split_rows(split: Split) -> dict[str, list[int]]:
    """Return the row numbers of a split by set."""
    return {name: getattr(split, name).tolist() for name in SETS}


def digest_of_rows(rows) -> str:
    """Return the SHA-256 of row numbers."""
    return digest(np.asarray(rows, "<i8").tobytes())
