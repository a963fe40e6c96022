"""Averages over the models of an ensemble and over several views of a clip, as logits; see `mean_probabilities`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, logsumexp

from utils.base.options import ViewOptions
from utils.data.clips import ClipDataset
from utils.networks.recognizer import Recognizer
from utils.runs.record import Record

VIEW_DEFAULTS = ViewOptions(views=0)


@dataclass(frozen=True)
class AveragedViews:
    """The views of a test: 0 to `count` - 1, as the seed and the flips of `options` define them."""

    count: int = 1
    options: ViewOptions = VIEW_DEFAULTS


WHOLE_CLIP = AveragedViews()


def recorded_views(count: int, record: Record | None, *, flip: bool = True) -> AveragedViews:
    """Return `count` views with the seed and the flips of the training in a record, by default those of ViewOptions.

    With `flip` false, no view is flipped.
    """
    known = VIEW_DEFAULTS if record is None else record.arguments
    return AveragedViews(count, ViewOptions(views=0, view_seed=known.view_seed, flip=known.flip and flip))


def averaged_logits(
    recognizer: Recognizer, dataset: ClipDataset, rows: np.ndarray, views: AveragedViews, *, batch_size: int = 16
) -> np.ndarray:
    """Return logits float32 `(len(rows), C)` whose calibrated probabilities are the mean of those for `views`.

    For a single view they are the logits of the recogniser.
    """
    return mean_of_views(
        [
            recognizer.logits(dataset, rows, batch_size=batch_size, view=view, options=views.options)
            for view in range(views.count)
        ],
        recognizer.temperature,
    )


def mean_of_views(all_logits: Sequence[np.ndarray], temperature: float) -> np.ndarray:
    """Return `average`; a single view is returned unchanged."""
    return all_logits[0] if len(all_logits) == 1 else average(all_logits, temperature)


def average(all_logits: Sequence[np.ndarray], temperature: float) -> np.ndarray:
    """Return logits float32 whose probabilities at `temperature` are the mean of those of `all_logits`."""
    logarithms = [log_softmax(np.asarray(logits, np.float64) / temperature, axis=-1) for logits in all_logits]
    return (temperature * (logsumexp(logarithms, axis=0) - np.log(len(all_logits)))).astype(np.float32)
