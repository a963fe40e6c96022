"""Figures and frames as pictures within a page."""

import base64
import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from utils.base.drawing import Display, print_failure, rendered
from utils.base.files import write_bytes
from utils.data.views import evenly_spaced

SHRUNK = 620  # CSS pixels; wider figures are scrolled on a narrow page, not shrunk
WIDEST = 1152  # CSS pixels, the width of the page
POINTS = 72 / 96  # points per CSS pixel
QUALITY = 72  # of JPEG


@dataclass(frozen=True)
class Picture:
    """A picture of a page: `source` is a data URI, `width` and `height` are in CSS pixels."""

    source: str
    alt: str
    caption: str
    width: int
    height: int

    @property
    def is_wide(self) -> bool:
        return self.width > SHRUNK


def data_uri(content: bytes, kind: str) -> str:
    """Return a file of the media type `kind` as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def drawn(display: Display, *, caption: str, alt: str, name: str, folder: Path | None = None) -> Picture | None:
    """Draw a display for a page, and save it as NAME.png, .svg and .pdf in `folder` if that is given.

    Returns None, after a note, if it cannot be drawn.
    """
    path = Path(name) if folder is None else folder / f"{name}.png"
    try:
        figure = display.plot().figure_
        content = rendered(figure, "svg")
        width, height = size_of(content)
        if folder is not None:
            for kind in ("png", "svg", "pdf"):
                write_bytes(path.with_name(f"{name}.{kind}"), content if kind == "svg" else rendered(figure, kind))
    except Exception as error:  # matplotlib raises many types
        print_failure(path, error)
        return None
    scale = min(1, WIDEST / width)
    return Picture(data_uri(content, "image/svg+xml"), alt, caption, round(scale * width), round(scale * height))


def size_of(svg: bytes) -> tuple[float, float]:
    """Return width and height, in CSS pixels, of an SVG file written by matplotlib."""
    start = re.search(rb"<svg [^>]*>", svg)[0]
    return tuple(float(re.search(rb'%s="([\d.]+)pt"' % side, start)[1]) / POINTS for side in (b"width", b"height"))


def strip_of_frames(clip: np.ndarray, *, frames: int = 4, height: int = 96) -> tuple[str, int, int]:
    """Return evenly spaced frames of a clip side by side as a JPEG data URI, with its width and height.

    clip: uint8 RGB `(T, H, W, 3)`. height: in pixels; the width follows from the aspect ratio of the frames.
    """
    chosen = evenly_spaced(frames, len(clip))
    width = max(1, min(4 * height, round(height * clip.shape[2] / clip.shape[1])))
    resized = [cv2.resize(clip[number], (width, height), interpolation=cv2.INTER_AREA) for number in chosen]
    strip = np.concatenate(resized, axis=1)
    is_encoded, content = cv2.imencode(".jpg", strip[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not is_encoded:
        raise RuntimeError("the frames could not be encoded as JPEG")
    return data_uri(content.tobytes(), "image/jpeg"), strip.shape[1], strip.shape[0]
