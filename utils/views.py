"""Deterministic views of a stored clip, rendered at whatever input size a model has."""

import cv2
import numpy as np


def window_frames(stored_frames: int, frames: int) -> np.ndarray:
    """Numbers of the frames that view 0 takes of a stored clip: evenly spaced from the first.

    Returns int64 `(frames,)`, ascending. Raises ValueError if the clip is shorter than `frames`.
    """
    if stored_frames < frames:
        raise ValueError(f"a clip of {stored_frames} stored frames cannot give {frames}")
    return np.arange(frames) * stored_frames // frames


def whole_view(clip: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """View 0's picture: whole frames, resized (the aspect is squashed) by area averaging where they shrink.

    `clip` is uint8 `(T, H, W, 3)`; returns uint8 `(T, height, width, 3)`, `clip` itself if the size is right.
    """
    if clip.shape[1:3] == (height, width):
        return clip
    shrinks = height <= clip.shape[1] and width <= clip.shape[2]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.stack([cv2.resize(frame, (width, height), interpolation=interpolation) for frame in clip])
