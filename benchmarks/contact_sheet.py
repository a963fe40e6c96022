"""One picture of many clips: a row a clip, a few frames each, with its name."""

import cv2
import numpy as np

NAME_WIDTH = 118
GAP = 3
PAPER = (255, 255, 255)
INK = (30, 30, 30)


def contact_sheet(clips: list[np.ndarray], names: list[str], *, columns: int = 8, frame_width: int = 104) -> np.ndarray:
    """A picture with a row for each clip: its name, then `columns` of its frames, evenly spaced from first to last.

    `clips` are uint8 (frames, height, width, 3), RGB, of one frame size; frames are scaled to `frame_width` pixels with
    their shape kept. Returns uint8 (height, width, 3), RGB. Raises ValueError if clips and names differ in number.
    """
    if len(clips) != len(names) or not clips:
        raise ValueError(
            f"expected a name for each of one or more clips, got {len(clips)} clips and {len(names)} names"
        )
    height, width = clips[0].shape[1:3]
    frame_height = round(frame_width * height / width)
    row_height = frame_height + GAP
    sheet = np.full((len(clips) * row_height + GAP, NAME_WIDTH + columns * (frame_width + GAP), 3), PAPER, np.uint8)
    for row, (clip, name) in enumerate(zip(clips, names)):
        top = GAP + row * row_height
        baseline = (6, top + frame_height // 2 + 5)
        cv2.putText(sheet, name, baseline, cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
        for column, number in enumerate(np.linspace(0, len(clip) - 1, columns).round().astype(int)):
            left = NAME_WIDTH + column * (frame_width + GAP)
            small = cv2.resize(clip[number], (frame_width, frame_height), interpolation=cv2.INTER_AREA)
            sheet[top : top + frame_height, left : left + frame_width] = small
    return sheet
