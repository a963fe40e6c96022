"""Draw a clip of each synthetic action: its name and eight of its frames, evenly spaced from first to last.

    python benchmarks/contact_sheet.py --output_path docs/synthetic_classes.png

Each action is shown by another person and without sensor noise. Of ten clips, the one is drawn whose pose moves
farthest from its first to its last frame, since it shows the least of a second loop.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.base import cli
from utils.base.parser import ArgumentParser
from utils.video.actions import ACTIONS, Look, plan_clip, render_clip
from utils.video.stick_figure import CHANNELS

NAME_WIDTH, GAP = 118, 3
COLUMNS, WIDTH, HEIGHT = 8, 96, 72  # of the frames


def net_change(action: str, look: Look, **clip: int) -> float:
    """Return the movement of a clip from its first to its last frame, positive in the direction of its action."""
    channel, rhythm = ACTIONS[action]
    first, last = plan_clip(action, look=look, **clip).poses[[0, -1], CHANNELS.index(channel)]
    return {"rises": last - first, "falls": first - last}.get(rhythm, abs(last - first))


def main() -> None:
    parser = ArgumentParser(__doc__.splitlines()[0])
    parser.add_argument("--output_path", type=Path, default="docs/synthetic_classes.png", help="PNG file")
    args = parser.parse_args()
    look, row_height = Look(seed=0, noise=0), HEIGHT + GAP
    sheet = np.full((len(ACTIONS) * row_height + GAP, NAME_WIDTH + COLUMNS * (WIDTH + GAP), 3), 255, np.uint8)
    for row, action in enumerate(ACTIONS):
        changes = {clip: net_change(action, look, subject=row + 1, clip=clip) for clip in range(1, 11)}
        frames = render_clip(action, subject=row + 1, clip=max(changes, key=changes.get), look=look)
        top = GAP + row * row_height
        place = (6, top + HEIGHT // 2 + 5)
        cv2.putText(sheet, action, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (30, 30, 30), 1, cv2.LINE_AA)
        for column, number in enumerate(np.linspace(0, len(frames) - 1, COLUMNS).round().astype(int)):
            left = NAME_WIDTH + column * (WIDTH + GAP)
            small = cv2.resize(frames[number], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
            sheet[top : top + HEIGHT, left : left + WIDTH] = small
    few = Image.fromarray(sheet).quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE)
    few.save(args.output_path, optimize=True)  # 256 colours make a small file


if __name__ == "__main__":
    cli.run(main)
