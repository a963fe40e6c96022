"""The clips on which exported files are compared with Keras, and those on which integers are calibrated."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from utils.base.errors import UserError
from utils.base.options import DataOptions
from utils.data.clips import ClipDataset
from utils.data.groups import groups_or_reason
from utils.data.views import evenly_spaced, whole_view
from utils.evaluation.intervals import Interval, accuracy_interval
from utils.networks.averaging import recorded_views
from utils.networks.recognizer import Recognizer
from utils.runs.loading import check_length
from utils.video.actions import ACTIONS, Look, render_clip

BATCH = 4  # clips per call, more than one, so that a file with a dynamic batch is tested with it
SYNTHETIC = 16


@dataclass(frozen=True)
class ComparisonClips:
    """Clips `read(numbers)`, uint8 `(len(numbers), T, H, W, 3)`, for numbers from 0 to `count` - 1.

    source: what they are, for tables. labels: int64 `(count,)` and groups `(count,)` of test clips; labels are None if
    no clip is a test clip, groups are None if they are unknown.
    """

    read: Callable[[np.ndarray], np.ndarray]
    count: int
    source: str
    labels: np.ndarray | None = None
    groups: np.ndarray | None = None

    def batches(self) -> Iterator[np.ndarray]:
        """Yield all clips in batches, float32."""
        for start in range(0, self.count, BATCH):
            yield self.read(np.arange(start, min(start + BATCH, self.count))).astype(np.float32)

    def accuracy(self, scores: np.ndarray) -> Interval | None:
        """Return the accuracy of scores `(count, C)` on the test clips; None if no clip is one."""
        return None if self.labels is None else accuracy_interval(scores.argmax(axis=1) == self.labels, self.groups)


def synthetic_clips(input_shape: tuple[int, int, int, int]) -> ComparisonClips:
    """Return clips of the built-in videos at a model's input size."""
    length, height, width, _ = input_shape
    actions, clips = tuple(ACTIONS), []
    for number in range(SYNTHETIC):
        video = render_clip(actions[number % len(actions)], subject=1, clip=number, look=Look())
        short = np.arange(length) * len(video) // length  # repeats frames if the model takes more than there are
        clips.append(whole_view(video[short], height=height, width=width))
    stacked = np.stack(clips)
    return ComparisonClips(lambda numbers: stacked[numbers], SYNTHETIC, "synthetic clips")


def clips_of_data(recognizer: Recognizer, data: DataOptions, dataset: ClipDataset, limit: int) -> ComparisonClips:
    """Return up to `limit` clips of --data: the test clips of the record if it is of these arrays, otherwise any clips.

    Without a record they are every second clip, because the others calibrate integers.
    """
    check_length(data, dataset, recognizer.input_shape)
    record = recognizer.record
    is_same = record is not None and record.arrays.has_clips_of(dataset)
    others = np.arange(len(dataset)) if record is not None else np.arange(1, len(dataset), 2)
    rows = record.split.as_split().test if is_same else others
    rows = rows[evenly_spaced(limit, len(rows))]

    def read(numbers: np.ndarray) -> np.ndarray:
        return dataset.view_zero(rows[numbers], recognizer.input_shape)

    if not is_same:
        return ComparisonClips(read, len(rows), "clips of --data")
    groups, _ = groups_or_reason(dataset.paths, record.arguments.group_pattern)
    keys = groups.keys[rows] if groups else None
    return ComparisonClips(read, len(rows), "test clips", dataset.labels[rows], keys)


def calibration_clips(
    recognizer: Recognizer, data: DataOptions, dataset: ClipDataset, limit: int
) -> Callable[[], Iterator[np.ndarray]]:
    """Return a function that yields up to `limit` training views, float32 `(T, H, W, 3)`.

    They are the original clips and the augmented views of the training in turn. Without a record they are every second
    clip of --data. Raises UserError if --data are other arrays than those
    of the record, because their training clips are unknown.
    """
    check_length(data, dataset, recognizer.input_shape)
    record = recognizer.record
    if record is not None and not record.arrays.has_clips_of(dataset):
        raise UserError(
            f"--data: {data.data} must hold the clips that {recognizer.path} was trained on, as its record says which "
            "of them are training clips for --int8; found other clips"
        )
    rows = np.arange(0, len(dataset), 2) if record is None else record.split.as_split().train
    rows = rows[evenly_spaced(limit, len(rows))]
    count = 1 if record is None else record.arguments.views + 1
    options = recorded_views(count, record).options

    def views() -> Iterator[np.ndarray]:
        for position, row in enumerate(rows):
            view = np.array([position % count])
            yield dataset.view(np.array([row]), view, recognizer.input_shape, options)[0].astype(np.float32)

    return views
