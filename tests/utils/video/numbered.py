"""Videos whose frames hold their own number as black and white blocks, and a colour in each corner."""

from fractions import Fraction

import av
import numpy as np
import pytest

HEIGHT, WIDTH, BLOCK, BITS = 96, 160, 16, 10
CORNERS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)}  # in reading order
UPRIGHT = list(CORNERS)


def numbered_frame(number, height=HEIGHT, width=WIDTH):
    """Return frame `number`, uint8 (height, width, 3), RGB; sizes above HEIGHT x WIDTH are multiples of it."""
    frame = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    left, right, top, bottom = slice(2 * BLOCK), slice(-2 * BLOCK, None), slice(BLOCK), slice(-BLOCK, None)
    for place, colour in zip(((top, left), (top, right), (bottom, left), (bottom, right)), CORNERS.values()):
        frame[place] = colour
    for bit in range(BITS):
        frame[2 * BLOCK : 4 * BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (number >> bit & 1)
    return frame.repeat(height // HEIGHT, axis=0).repeat(width // WIDTH, axis=1)


def numbers_in(frames):
    """Return the numbers in frames (T, h, w, 3) of any size that are upright."""
    height, width = frames.shape[1:3]
    columns = ((np.arange(BITS) + 0.5) * width / BITS).astype(int)
    bits = frames[:, height // 2, columns].mean(axis=-1) > 128
    return (bits << np.arange(BITS)).sum(axis=1).tolist()


def corners_in(frame):
    """Return the names of the colours in the corners of a frame, in reading order."""
    found = []
    for y, x in ((3, 3), (3, -4), (-4, 3), (-4, -4)):
        distances = {name: np.abs(frame[y, x].astype(int) - colour).sum() for name, colour in CORNERS.items()}
        found.append(min(distances, key=distances.get))
    return found


def write_numbered(
    path, count, *, codec="libx264", options=None, container_options=None, pixels="yuv420p", rate=25, times=None,
    matrix=None, size=(HEIGHT, WIDTH), extra=None, form=None, interlaced=False,
):  # fmt: skip
    """Write a video of `count` frames with PyAV and return its path; skip the test if PyAV lacks the encoder.

    times: timestamp of each frame in units of 1 / (40 rate). matrix: display matrix. extra: a function of the container
    and the number of each frame that adds packets of other streams; it is first called with None.
    """
    if codec not in av.codecs_available:
        pytest.skip(f"this build of PyAV has no encoder {codec}")
    av.logging.set_level(None)
    with av.open(str(path), "w", format=form, options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 40 * rate)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        if extra is not None:
            extra(container, None)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, *size), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 40 * rate)
            container.mux(stream.encode(frame))
            if extra is not None:
                extra(container, number)
        container.mux(stream.encode())
    return path
