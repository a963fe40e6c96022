"""The clips and views that need teacher logits, and the key that identifies them."""

import json
from dataclasses import dataclass

import numpy as np

from utils.base.files import digest
from utils.base.options import ViewOptions
from utils.data.clips import ClipDataset
from utils.data.protocols import Split
from utils.data.views import VERSION
from utils.runs.loading import SplitDataset


@dataclass(frozen=True)
class Question:
    """The clips and views for which a student needs teacher logits."""

    data: SplitDataset
    views: ViewOptions

    @property
    def dataset(self) -> ClipDataset:
        return self.data.dataset

    @property
    def split(self) -> Split:
        return self.data.split

    def rows(self, view: int) -> np.ndarray:
        """Return training and unlabelled rows for every view, validation rows for view 0, never test rows: int64."""
        rows = [self.split.train, self.dataset.unlabelled_rows]
        return np.concatenate([*rows, self.split.validation] if view == 0 else rows)

    def key(self) -> dict:
        """Return plain values that identify clips and views, except for the number of views, which can be extended."""
        unlabelled = [part.fingerprint() for part in self.dataset.unlabelled]
        return {
            **self.dataset.fingerprint(),
            "rows": digest(b"".join(rows.astype("<i8").tobytes() for rows in (self.split.train, self.rows(0)))),
            "view_version": VERSION,
            "view_seed": self.views.view_seed,
            "flip": self.views.flip,
            **({"unlabelled": digest(json.dumps(unlabelled).encode())} if unlabelled else {}),
        }
