"""Contact sheets: one picture of several clips, each with its name and a few of its frames."""

from collections.abc import Iterator

import cv2
import numpy as np

from utils.video.actions import ACTIONS, Look, plan_clip, render_clip
from utils.video.stick_figure import CHANNELS

NAME_WIDTH = 118
GAP = 3


def contact_sheet(clips: list[np.ndarray], names: list[str], *, columns: int = 8, frame_width: int = 104) -> np.ndarray:
    """Return a picture with a row per clip: its name, then `columns` of its frames, evenly spaced from first to last.

    `clips` are uint8 (frames, height, width, 3), RGB, with one frame size; frames are scaled to a width of
    `frame_width` pixels. Returns uint8 (height, width, 3), RGB. Raises ValueError if the numbers of clips and names
    differ.
    """
    if len(clips) != len(names) or not clips:
        raise ValueError(f"expected clips with a name each, got {len(clips)} clips and {len(names)} names")
    height, width = clips[0].shape[1:3]
    frame_height = round(frame_width * height / width)
    row_height = frame_height + GAP
    sheet = np.full((len(clips) * row_height + GAP, NAME_WIDTH + columns * (frame_width + GAP), 3), 255, np.uint8)
    for row, (clip, name) in enumerate(zip(clips, names)):
        top = GAP + row * row_height
        baseline = (6, top + frame_height // 2 + 5)
        cv2.putText(sheet, name, baseline, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (30, 30, 30), 1, cv2.LINE_AA)
        for column, number in enumerate(np.linspace(0, len(clip) - 1, columns).round().astype(int)):
            left = NAME_WIDTH + column * (frame_width + GAP)
            small = cv2.resize(clip[number], (frame_width, frame_height), interpolation=cv2.INTER_AREA)
            sheet[top : top + frame_height, left : left + frame_width] = small
    return sheet


def net_change(action: str, look: Look, **clip: int) -> float:
    """Return the movement of a clip from its first to its last frame, positive in the direction of its action."""
    channel, rhythm = ACTIONS[action]
    first, last = plan_clip(action, look=look, **clip).poses[[0, -1], CHANNELS.index(channel)]
    return {"rises": last - first, "falls": first - last}.get(rhythm, abs(last - first))


def clearest_clips(seed: int) -> Iterator[np.ndarray]:
    """Yield a clip of each synthetic action, each by another subject and without sensor noise.

    Of ten clips it is the one with the largest `net_change`, which shows the least of a second loop.
    """
    look = Look(seed=seed, noise=0)
    for subject, action in enumerate(ACTIONS, start=1):
        changes = {clip: net_change(action, look, subject=subject, clip=clip) for clip in range(1, 11)}
        yield render_clip(action, subject=subject, clip=max(changes, key=changes.get), look=look)
