"""Augmented views of a stored clip, deterministic and rendered at any input size.

A view is a crop, a time window, a horizontal flip and a mild colour change, the same for all frames of a clip. Crop and
window are relative to the stored clip, so that a teacher and a student with different input sizes see the same view.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from utils.base.options import ViewOptions

VERSION = 2  # incremented when the pixels of views change, so that cached logits of the old pixels are not used

SMALLEST_SIDE = 0.7  # of a crop, relative to the frame
SHORTEST_WINDOW = 0.5  # relative to the length of the stored clip
CONTRAST = 0.2  # largest relative change
BRIGHTNESS = 25.0  # largest change in grey levels
CHANNEL_GAIN = 0.05  # largest relative change of each colour channel


@dataclass(frozen=True)
class View:
    """Parameters of a view; the default is view 0, the unchanged clip."""

    top: float = 0.0  # of the crop, relative to the frame's height
    left: float = 0.0  # relative to the frame's width
    side: float = 1.0  # relative to both
    start: float = 0.0  # of the time window: 0 at the first possible frame, 1 at the last
    window: float = 1.0  # length of the time window: 0 the shortest, 1 the whole clip
    flipped: bool = False
    contrast: float = 1.0
    brightness: float = 0.0
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)


WHOLE = View()


def view_of(row: int, number: int, options: ViewOptions) -> View:
    """Return view `number` of the clip in `row`, a function of these two, `options.view_seed` and `options.flip`.

    View 0 is the whole clip. `options.flip` changes no other parameter of a view.
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
    """Return the frame numbers of a view, the middles of equal parts of its time window: int64 `(frames,)`, ascending.

    View 0 spans the whole clip, as does any view of a clip of exactly `frames` frames, all of which are returned.
    Raises ValueError if the clip is shorter than `frames`.
    """
    if stored_frames < frames:
        raise ValueError(f"expected a clip of at least {frames} frames, got {stored_frames}")
    shortest = max(frames, round(SHORTEST_WINDOW * stored_frames))
    span = shortest + round(view.window * (stored_frames - shortest))
    start = min(int(view.start * (stored_frames - span + 1)), stored_frames - span)
    return start + (2 * np.arange(frames) + 1) * span // (2 * frames)


def evenly_spaced(count: int, total: int) -> np.ndarray:
    """Return up to `count` of the numbers 0 to `total` - 1, evenly spaced from 0: int64, ascending."""
    count = min(count, total)
    return np.arange(count) * total // max(count, 1)


def render(clip: np.ndarray, view: View, *, height: int, width: int) -> np.ndarray:
    """Apply the crop, the flip and the colour change of a view to the frames that `window_frames` chose.

    `clip` is uint8 `(T, H, W, 3)`, RGB; returns uint8 `(T, height, width, 3)`. Crops are rounded to whole pixels.
    """
    if view == WHOLE:
        return whole_view(clip, height=height, width=width)
    top, bottom = pixel_range(view.top, view.side, clip.shape[1])
    left, right = pixel_range(view.left, view.side, clip.shape[2])
    # down to half the size, linear interpolation skips no pixel and is several times faster than area averaging
    shrinks_much = bottom - top > 2 * height or right - left > 2 * width
    interpolation = cv2.INTER_AREA if shrinks_much else cv2.INTER_LINEAR
    rendered = np.empty((len(clip), height, width, 3), np.uint8)
    for frame, target in zip(clip[:, top:bottom, left:right], rendered):
        cv2.resize(frame, (width, height), dst=target, interpolation=interpolation)
        if view.flipped:
            cv2.flip(target, 1, dst=target)
    return cv2.LUT(rendered.reshape(-1, width, 3), colour_table(view)).reshape(rendered.shape)


def pixel_range(start: float, side: float, pixels: int) -> tuple[int, int]:
    """Return the first and the exclusive last pixel of a crop along one axis, at least one pixel apart."""
    first = min(round(start * pixels), pixels - 1)
    return first, max(first + 1, round((start + side) * pixels))


def colour_table(view: View) -> np.ndarray:
    """Return the lookup table of a view's colour change: uint8 `(1, 256, 3)`, by value and channel."""
    values = (np.arange(256.0) - 127.5) * view.contrast + 127.5 + view.brightness
    return np.clip(np.rint(values[None, :, None] * np.array(view.gains)), 0, 255).astype(np.uint8)


def whole_view(clip: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """Resize whole frames without keeping their aspect ratio, by area averaging if they shrink.

    `clip` is uint8 `(T, H, W, 3)`; returns uint8 `(T, height, width, 3)`, or `clip` itself if it has this size.
    """
    if clip.shape[1:3] == (height, width):
        return clip
    shrinks = height <= clip.shape[1] and width <= clip.shape[2]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.stack([cv2.resize(frame, (width, height), interpolation=interpolation) for frame in clip])
