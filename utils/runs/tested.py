"""The last test of a model in its record."""

from typing import Annotated

import numpy as np
import pydantic

from utils.base.schemas import Count, Name, NonNegative, Positive, Schema, Share


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

    @property
    def is_unseen(self) -> bool:
        """Whether the model is known to have seen none of these clips."""
        return not self.seen and not self.unknown

    @property
    def correct(self) -> int:
        """Number of test clips that are recognised."""
        return sum(each.correct for each in self.classes)

    @property
    def accuracy(self) -> float:
        return self.correct / self.clips

    @property
    def mean_class_accuracy(self) -> float:
        """Mean of the accuracies of the classes that have test clips."""
        return float(np.mean([each.correct / each.clips for each in self.classes if each.clips]))
