"""Deterministic views of a stored clip, rendered at whatever input size a model has.

A view is a box, a time window, a horizontal flip and a mild change of colour, the same for all frames of a clip. Its
box and window are shares of the stored clip, so that a teacher and a student of different inputs see the same view.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from utils.settings.options import ViewOptions

VERSION = 1  # raised with every change of what a view looks like: answers computed for other pixels are then not used

SMALLEST_SIDE = 0.7  # of a box, as a share of the frame's
SHORTEST_WINDOW = 0.5  # of a time window, as a share of the stored clip's length
CONTRAST = 0.2  # at most 20 % more or less of it
BRIGHTNESS = 25.0  # grey levels, up or down
CHANNEL_GAIN = 0.05  # red, green and blue apart


@dataclass(frozen=True)
class View:
    """What of a clip is shown, and how; the default is view 0, the whole clip as it is."""

    top: float = 0.0  # the box, in shares of the frame's height and width
    left: float = 0.0
    side: float = 1.0
    start: float = 0.0  # of the time window, as a share of the frames that the window leaves out
    window: float = 1.0  # its length, from 0 (the shortest) to 1 (the whole clip)
    flipped: bool = False
    contrast: float = 1.0
    brightness: float = 0.0
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)


WHOLE = View()


def view_of(row: int, number: int, options: ViewOptions) -> View:
    """View `number` of the clip in `row`, a function of these two and of `options.view_seed` and `options.flip` alone.

    Number 0 is the whole clip. Without flips a view is otherwise what it is with them.
    """
    if number == 0:
        return WHOLE
    draws = np.random.default_rng([options.view_seed, int(row), int(number)]).random(11)
    side = SMALLEST_SIDE + (1 - SMALLEST_SIDE) * draws[0]
    around_zero = 2 * draws[6:] - 1
    return View(
        top=float(draws[1] * (1 - side)),
        left=float(draws[2] * (1 - side)),
        side=float(side),
        start=float(draws[3]),
        window=float(draws[4]),
        flipped=bool(options.flip and draws[5] < 0.5),
        contrast=float(1 + CONTRAST * around_zero[0]),
        brightness=float(BRIGHTNESS * around_zero[1]),
        gains=tuple((1 + CHANNEL_GAIN * around_zero[2:]).tolist()),
    )


def window_frames(stored_frames: int, frames: int, view: View = WHOLE) -> np.ndarray:
    """Numbers of the frames that a view takes of a stored clip: evenly spaced in its time window.

    View 0 spans the whole clip. A clip of exactly `frames` has one window, the whole. Returns int64 `(frames,)`,
    ascending. Raises ValueError if the clip is shorter than `frames`.
    """
    if stored_frames < frames:
        raise ValueError(f"a clip of {stored_frames} stored frames cannot give {frames}")
    shortest = max(frames, round(SHORTEST_WINDOW * stored_frames))
    span = shortest + round(view.window * (stored_frames - shortest))
    start = min(int(view.start * (stored_frames - span + 1)), stored_frames - span)
    return start + np.arange(frames) * span // frames


def render(clip: np.ndarray, view: View, *, height: int, width: int) -> np.ndarray:
    """The picture of a view: box, flip and colour of frames that `window_frames` chose.

    `clip` is uint8 `(T, H, W, 3)`, RGB; returns uint8 `(T, height, width, 3)`. The box is cut at whole pixels.
    """
    if view == WHOLE:
        return whole_view(clip, height=height, width=width)
    top, bottom = cut(view.top, view.side, clip.shape[1])
    left, right = cut(view.left, view.side, clip.shape[2])
    # up to half the size, linear interpolation skips no pixel and is several times faster than area averaging
    shrinks_much = bottom - top > 2 * height or right - left > 2 * width
    interpolation = cv2.INTER_AREA if shrinks_much else cv2.INTER_LINEAR
    picture = np.empty((len(clip), height, width, 3), np.uint8)
    for frame, target in zip(clip[:, top:bottom, left:right], picture):
        cv2.resize(frame, (width, height), dst=target, interpolation=interpolation)
        if view.flipped:
            cv2.flip(target, 1, dst=target)
    return cv2.LUT(picture.reshape(-1, width, 3), colour_table(view)).reshape(picture.shape)


def cut(start: float, share: float, pixels: int) -> tuple[int, int]:
    """First pixel of a box's side and the one after its last, at least one apart."""
    first = min(round(start * pixels), pixels - 1)
    return first, max(first + 1, round((start + share) * pixels))


def colour_table(view: View) -> np.ndarray:
    """What each value 0..255 of red, green and blue becomes: uint8 `(1, 256, 3)`."""
    values = (np.arange(256.0) - 127.5) * view.contrast + 127.5 + view.brightness
    return np.clip(np.rint(values[None, :, None] * np.array(view.gains)), 0, 255).astype(np.uint8)


def whole_view(clip: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """View 0's picture: whole frames, resized (the aspect is squashed) by area averaging where they shrink.

    `clip` is uint8 `(T, H, W, 3)`; returns uint8 `(T, height, width, 3)`, `clip` itself if the size is right.
    """
    if clip.shape[1:3] == (height, width):
        return clip
    shrinks = height <= clip.shape[1] and width <= clip.shape[2]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.stack([cv2.resize(frame, (width, height), interpolation=interpolation) for frame in clip])
