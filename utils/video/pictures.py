"""Clips that are kept as a folder of numbered pictures."""

import os
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from utils.video.containers import VideoError

PICTURE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"))
ASSUMED_RATE = 25.0  # frames per second


def numbered_names(names: Sequence[str]) -> list[tuple[int, str]]:
    """Return the (number, name) of pictures in the order of their numbers; none unless they form one series.

    The names of a series differ in the number before the suffix alone, such as 00001.jpg or img_17.png. Pictures of
    optical flow next to the frames, such as flow_x_17.png, are left out.
    """
    names = [name for name in names if not name.startswith("flow_")] or names
    matches = [re.fullmatch(r"(.*?)([0-9]{1,12})(\.\w+)", name) for name in names]
    if None in matches or len({(match[1], match[3].lower()) for match in matches}) > 1:
        return []
    numbered = sorted((int(match[2]), match[0]) for match in matches)
    return numbered if len({number for number, _ in numbered}) == len(numbered) else []


class Pictures:
    """A folder of numbered pictures with the interface of `Video`; the rate is unknown."""

    rate = 0.0

    def __init__(self, folder: str):
        self._folder = folder
        with os.scandir(folder) as entries:
            names = [each.name for each in entries if os.path.splitext(each.name)[1].lower() in PICTURE_SUFFIXES]
        self._numbered = numbered_names([name for name in names if name[0] != "."])
        self.count = len(self._numbered)
        if not self.count:
            raise VideoError("is a folder, but not of pictures that are numbered as the frames of one clip")
        steps = set(np.diff([number for number, _ in self._numbered]).tolist())
        self.note = "breaks off: some numbers of its pictures are missing" if len(steps) > 1 else None

    def close(self) -> None:
        """Do nothing: no file is open."""

    def select(
        self, numbers_of: Callable[[int], Sequence[int]], render: Callable[[np.ndarray], np.ndarray]
    ) -> list[np.ndarray]:
        """Return `render(frame)` for the frames whose numbers `numbers_of(count)` names, as `Video.select` does."""
        return [render(self._picture(number)) for number in numbers_of(self.count)]

    def __iter__(self) -> Iterator[tuple[float, Callable[[], np.ndarray]]]:
        """Yield times in seconds, at ASSUMED_RATE, and a function that returns the frame."""
        for number in range(self.count):
            yield number / ASSUMED_RATE, lambda number=number: self._picture(number)

    def _picture(self, number: int) -> np.ndarray:
        import cv2

        name = self._numbered[number][1]
        path = os.path.join(self._folder, name)
        if not os.path.isfile(path):
            raise VideoError(f"picture {name} is not a regular file")
        picture = cv2.imread(path, cv2.IMREAD_COLOR)
        if picture is None:
            raise VideoError(f"picture {name} cannot be decoded")
        return picture
