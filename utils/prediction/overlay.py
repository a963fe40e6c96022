"""The band below the picture of an annotated video: class, confidence bar, timeline with the playhead."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from utils.prediction.answers import NO_ACTION, Segment
from utils.prediction.tables import clock

# Okabe and Ito, "Color Universal Design", 2008: distinguishable with all common types of colour blindness
PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
GREY, BACKGROUND, TRACK, WHITE, BLACK = "#808080", "#1A1A1A", "#404040", "#FFFFFF", "#000000"
SMALLEST_WIDTH = 320  # pixels; a smaller picture is enlarged, because text would not fit
LONGEST_SIDE = 3840  # pixels; the encoder holds several pictures
SMALLEST_TEXT = 14  # pixels
SHORTEST_NAME = 4  # characters of a shortened name in the timeline


@dataclass(frozen=True)
class Moment:
    """What the band shows at a time: the class or NO_ACTION, its confidence (0 to 1), and the position in seconds."""

    label: str
    confidence: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Band:
    """Draws the band for pictures `width` pixels wide.

    segments: what the timeline strip shows, from `start` to `end` seconds. colours: by class.
    """

    width: int
    segments: Sequence[Segment]
    start: float
    end: float
    colours: dict[str, str]

    @property
    def text_size(self) -> int:
        """Height of the text in pixels."""
        return max(SMALLEST_TEXT, round(self.width / 40))

    @property
    def height(self) -> int:
        """Height of the band in pixels, even."""
        return 2 * round(2.1 * self.text_size + 2)

    def draw(self, moment: Moment) -> np.ndarray:
        """Return the band at a moment: uint8 `(height, width, 3)`, RGB."""
        text, margin = self.text_size, self.text_size // 2
        picture = self._text(moment.label, round(100 * moment.confidence), clock(moment.seconds)[:-2]).copy()
        left, right = margin, self.width - margin
        top, bottom = round(1.55 * text), round(1.95 * text)
        filled = left + round((right - left) * min(max(moment.confidence, 0.0), 1.0))
        picture[top:bottom, left:right] = rgb(TRACK)
        picture[top:bottom, left:filled] = rgb(self.colour(moment.label))
        strip = self._strip()
        top = round(2.35 * text)
        picture[top : top + len(strip), left:right] = strip
        self._draw_playhead(picture, moment.seconds, top, top + len(strip))
        return picture

    def colour(self, label: str) -> str:
        """Return the colour of a class; grey for NO_ACTION."""
        return GREY if label == NO_ACTION else self.colours[label]

    def _x(self, seconds: float) -> int:
        """Return the column of a time within the band."""
        margin, span = self.text_size // 2, max(self.end - self.start, 1e-6)
        share = min(max((seconds - self.start) / span, 0.0), 1.0)
        return margin + round((self.width - 2 * margin - 1) * share)

    def _draw_playhead(self, picture: np.ndarray, seconds: float, top: int, bottom: int) -> None:
        x, thick = self._x(seconds), max(1, self.text_size // 10)
        reach = max(2, self.text_size // 6)
        picture[top - reach : bottom + reach, max(x - 2 * thick, 0) : x + 2 * thick + 1] = rgb(BLACK)
        picture[top - reach : bottom + reach, max(x - thick, 0) : x + thick] = rgb(WHITE)

    @lru_cache(maxsize=64)  # noqa: B019 - a band lives as long as its video
    def _text(self, label: str, percent: int, time: str) -> np.ndarray:
        """Return the band with its line of text only."""
        image, draw = canvas(self.height, self.width, BACKGROUND)
        text, margin = self.text_size, self.text_size // 2
        bold, plain = font(text, bold=True), font(text)
        side = f"{percent} %  {time}"
        side_width = plain.getlength(side)
        draw.text((self.width - margin - side_width, 0.2 * text), side, WHITE, plain)
        shown = fitted(label, self.width - 3 * margin - side_width, bold)
        draw.text((margin, 0.2 * text), shown, WHITE, bold)
        return np.asarray(image)

    @lru_cache(maxsize=1)  # noqa: B019
    def _strip(self) -> np.ndarray:
        """Return the timeline: a coloured part per segment, with its class, shortened, where there is space."""
        text, margin = self.text_size, self.text_size // 2
        image, draw = canvas(round(1.4 * text), self.width - 2 * margin, TRACK)
        small = font(round(0.8 * text))
        for segment in self.segments:
            left, right = self._x(segment.start) - margin, self._x(segment.end) - margin
            colour = self.colour(segment.label)
            draw.rectangle((left, 0, max(right, left), image.height), colour)
            draw.line((left, 0, left, image.height), BACKGROUND)  # also divides neighbours of one colour
            name = fitted(segment.label, right - left - margin, small)
            if len(name) >= min(SHORTEST_NAME, len(segment.label)):
                middle = (left + right - small.getlength(name)) / 2
                draw.text((middle, 0.2 * text), name, text_colour(colour), small)
        return np.asarray(image)


def colours_of(labels: Iterable[str]) -> dict[str, str]:
    """Return a colour for each class, in the order of the first occurrences; with more than seven, colours repeat."""
    names = dict.fromkeys(label for label in labels if label != NO_ACTION)
    return {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(names)}


def band_of(width: int, segments: Sequence[Segment], start: float, end: float) -> Band:
    """Return a band with the colours of the classes of `segments`."""
    return Band(width, tuple(segments), start, end, colours_of(segment.label for segment in segments))


def output_size(height: float, width: float) -> tuple[int, int]:
    """Return the (height, width) at which a picture is shown: even, and at least SMALLEST_WIDTH wide.

    No side is longer than LONGEST_SIDE.
    """
    factor = min(max(1.0, SMALLEST_WIDTH / width), LONGEST_SIDE / max(height, width))
    return 2 * max(round(height * factor / 2), 1), 2 * max(round(width * factor / 2), 1)


def annotated(picture: np.ndarray, size: tuple[int, int], band: Band, moment: Moment) -> np.ndarray:
    """Return a picture, RGB `(h, w, 3)`, at `size` (height, width) with the band below it."""
    height, width = size
    if picture.shape[:2] != size:
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.concatenate([picture, band.draw(moment)])


def rgb(colour: str) -> tuple[int, int, int]:
    """Return the channels of "#RRGGBB"."""
    return tuple(bytes.fromhex(colour[1:]))


def text_colour(background: str) -> str:
    """Return black or white, whichever has the higher contrast by WCAG 2.1's relative luminance."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(rgb(background)) / 255]
    return BLACK if np.dot(linear, (0.2126, 0.7152, 0.0722)) > 0.179 else WHITE


def fitted(text: str, width: float, font) -> str:
    """Return a text that is at most `width` pixels wide, shortened at its end."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def canvas(height: int, width: int, colour: str):
    """Return an image of one colour and the object that draws on it."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (width, height), colour)
    return image, ImageDraw.Draw(image)


@lru_cache(maxsize=16)
def font(size: int, *, bold: bool = False):
    """Return DejaVu Sans, which matplotlib includes, at a size in pixels."""
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
