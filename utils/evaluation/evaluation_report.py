"""The test of recognisers that a page shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from utils.data.clips import ClipDataset
from utils.data.groups import Groups
from utils.evaluation.pictures import Picture, drawn
from utils.evaluation.protocol import Conditions
from utils.evaluation.testing import Predictions, are_comparable
from utils.runs.seen import mark


@dataclass(frozen=True, eq=False)
class EvaluationReport:
    """The test that a page shows: per recogniser its predictions, its result, its name and the name of its files.

    comparisons: see `comparisons` in utils/evaluation/results.py. folder: of the figures as files; None for a page
    without such files. home: relative address of the page of the experiment, if there is one.
    """

    predictions: Sequence[Predictions]
    results: Sequence[dict]
    names: Sequence[str]
    stems: Sequence[str]
    comparisons: Sequence[dict]
    dataset: ClipDataset
    groups: Groups | None
    conditions: Conditions
    folder: Path | None = None
    home: str | None = None

    @cached_property
    def compared(self) -> list[tuple[int, dict]]:
        """The number of each recogniser that is compared with the first, and the comparison."""
        first, *others = self.predictions
        numbers = [number for number, other in enumerate(others, start=1) if are_comparable(first, other)]
        return list(zip(numbers, self.comparisons, strict=True))

    @cached_property
    def marked(self) -> list[str]:
        """Names with what each recogniser has seen of the test clips."""
        return [name + mark(result["seen"]) for name, result in zip(self.names, self.results)]

    def draw(self, display, name: str, caption: str, alt: str) -> Picture | None:
        return drawn(display, caption=caption, alt=alt, name=name, folder=self.folder)
