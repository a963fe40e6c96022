"""One or several models with what is needed to apply them to frames of videos."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from utils.base.options import ViewOptions
from utils.base.prediction_options import PredictionOptions
from utils.data.class_scores import mean_probabilities
from utils.data.views import render, view_of, whole_view, window_frames
from utils.networks.recognizer import Recognizer
from utils.video.video import SHRINKING, stored_frame

SHORTEST_WINDOW = 0.1  # seconds; a file from elsewhere may state a length with millions of windows per second
VIEWED_ROW = 0  # videos have the views of the clip in this row of a data set


@dataclass(frozen=True)
class Member:
    """A model with the shape in which stage 1 stored its clips, (T, H, W, 3), and its calibration.

    shrinking: how stage 1 shrank frames, see `stored_frame`.
    temperature: divisor of the logits. threshold: probability below which an answer is rejected, None if unknown.
    clip_seconds: median duration of the videos that it was trained on, None if unknown.
    """

    recognizer: Recognizer
    stored_shape: tuple[int, int, int, int]
    view_options: ViewOptions
    shrinking: str = SHRINKING
    temperature: float = 1.0
    threshold: float | None = None
    clip_seconds: float | None = None

    def views_of(self, clip: np.ndarray, views: int) -> np.ndarray:
        """Return views 0 to `views` - 1 of a stored clip at the model's input size: uint8 `(V, *input_shape)`."""
        frames, height, width, _ = self.recognizer.input_shape
        found = []
        for number in range(views):
            view = view_of(VIEWED_ROW, number, self.view_options)
            found.append(render(clip[window_frames(len(clip), frames, view)], view, height=height, width=width))
        return np.stack(found)

    def frame_of(self, picture: np.ndarray) -> np.ndarray:
        """Return a decoded frame, BGR `(h, w, 3)`, at the model's input size, as in view 0 of a stored clip: RGB."""
        _, height, width, _ = self.recognizer.input_shape
        _, rows, columns, _ = self.stored_shape
        stored = stored_frame(picture, height=rows, width=columns, shrinking=self.shrinking)
        return whole_view(stored[None], height=height, width=width)[0]

    @property
    def moments(self) -> np.ndarray:
        """Times of the model's frames, relative to a window that stands for a stored clip: float64 `(T,)`, 0 to 1."""
        stored = self.stored_shape[0]
        return window_frames(stored, self.recognizer.input_shape[0]) / stored

    def probabilities(self, clips: np.ndarray) -> np.ndarray:
        """Return the mean probabilities over the views of clips `(B, V, *input_shape)`: float64 `(B, C)`.

        Each view is one call of the model, as in eval.py, so that equal batches give equal logits.
        """
        by_view = (self.recognizer.model.predict_on_batch(clips[:, view]) for view in range(clips.shape[1]))
        logits = [np.asarray(each).astype(np.float32) for each in by_view]
        return mean_probabilities(logits, [self.temperature] * len(logits))


@dataclass(frozen=True)
class Ensemble:
    """Models of the same classes, whose probabilities are averaged.

    threshold: probability below which an answer is "no action"; 0 answers always. notes: what the records do not state.
    """

    members: tuple[Member, ...]
    class_names: tuple[str, ...]
    threshold: float
    options: PredictionOptions
    notes: tuple[str, ...] = ()

    @cached_property
    def clip_seconds(self) -> float | None:
        """Mean of the clip durations in the records; None if one states none, or if it is below SHORTEST_WINDOW."""
        seconds = [member.clip_seconds for member in self.members]
        return None if None in seconds or np.mean(seconds) < SHORTEST_WINDOW else float(np.mean(seconds))

    def probabilities(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """Return the mean of the members' probabilities: float64 `(B, C)`.

        `clips` holds one batch `(B, V, *input_shape)` per member.
        """
        return np.mean([member.probabilities(batch) for member, batch in zip(self.members, clips)], axis=0)
