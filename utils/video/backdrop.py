"""The scene of a synthetic video apart from the person: moving backdrop, changing light, sensor noise."""

from dataclasses import dataclass

import cv2
import numpy as np

CANVAS = 1.5  # side of the texture relative to the picture; larger, so that it can move without showing an edge


@dataclass(frozen=True)
class Drift:
    """A coloured shape that crosses the picture repeatedly. Lengths are relative to the picture height."""

    kind: str
    colour: tuple[int, int, int]
    start: np.ndarray  # (2,), x and y
    velocity: np.ndarray  # (2,), per frame
    size: np.ndarray  # (2,)
    angle: float  # degrees
    turning: float  # degrees per frame


@dataclass(frozen=True)
class Backdrop:
    """The random backdrop and light of a clip, independent of its class."""

    texture: np.ndarray  # uint8 (CANVAS * H, CANVAS * W, 3)
    texture_velocity: np.ndarray  # (2,), in picture heights per frame
    texture_turning: float  # degrees per frame
    shapes: tuple[Drift, ...]
    light: tuple[float, float, float, float]  # mean gain, amplitude, frequency in radians per frame, phase


def random_backdrop(rng: np.random.Generator, *, frame_height: int, frame_width: int, clutter: float) -> Backdrop:
    """Return a random backdrop whose contrast and number of shapes increase with `clutter` (0: uniform grey)."""
    # The random numbers do not depend on `clutter`: the same clip can be rendered with different values.
    cells = rng.integers(5, 12)
    coarse = rng.normal(0.0, 0.45, (cells, cells, 3)) + rng.normal(0.0, 0.8, (cells, cells, 1))
    fine = rng.normal(0.0, 1.0, (3 * cells, 3 * cells, 1))
    tint = rng.uniform(50, 95) + rng.uniform(-18, 18, 3)
    canvas = round(CANVAS * frame_width), round(CANVAS * frame_height)
    texture = cv2.resize(coarse, canvas, interpolation=cv2.INTER_CUBIC)
    texture += 0.4 * cv2.resize(fine, canvas, interpolation=cv2.INTER_LINEAR)[..., None]
    texture = np.clip(tint + 13.0 * clutter * texture, 0, 255).astype(np.uint8)
    direction = rng.uniform(0, 2 * np.pi)
    shapes = tuple(random_shape(rng, tint, clutter) for _ in range(12))
    return Backdrop(
        texture=texture,
        texture_velocity=rng.uniform(0.001, 0.005) * np.array([np.cos(direction), np.sin(direction)]),
        texture_turning=rng.uniform(-0.3, 0.3),
        shapes=shapes[: round(min(5 * clutter, len(shapes)))],
        light=(rng.uniform(0.85, 1.12), rng.uniform(0.0, 0.06), rng.uniform(0.05, 0.25), rng.uniform(0, 2 * np.pi)),
    )


def random_shape(rng: np.random.Generator, tint: np.ndarray, clutter: float) -> Drift:
    direction = rng.uniform(0, 2 * np.pi)
    colour = np.clip(tint + min(clutter, 1.5) * rng.uniform(-45, 55, 3), 0, 255)
    return Drift(
        kind=str(rng.choice(["box", "disc", "bar"])),
        colour=tuple(int(channel) for channel in colour),
        start=rng.uniform(0, 2, 2),
        velocity=rng.uniform(0.002, 0.010) * np.array([np.cos(direction), np.sin(direction)]),
        size=rng.uniform(0.08, 0.28, 2),
        angle=rng.uniform(0, 180),
        turning=rng.uniform(-2.0, 2.0),
    )


def draw_backdrop(backdrop: Backdrop, frame: int, *, frame_height: int, frame_width: int) -> np.ndarray:
    """Draw the backdrop of frame number `frame`: uint8 (frame_height, frame_width, 3)."""
    canvas_height, canvas_width = backdrop.texture.shape[:2]
    moved = backdrop.texture_velocity * frame_height * frame
    turn = cv2.getRotationMatrix2D((canvas_width / 2, canvas_height / 2), backdrop.texture_turning * frame, 1.0)
    turn[:, 2] += moved - [(canvas_width - frame_width) / 2, (canvas_height - frame_height) / 2]
    picture = cv2.warpAffine(backdrop.texture, turn, (frame_width, frame_height), borderMode=cv2.BORDER_REFLECT)
    for shape in backdrop.shapes:
        draw_shape(picture, shape, frame)
    return picture


def draw_shape(picture: np.ndarray, shape: Drift, frame: int) -> None:
    frame_height, frame_width = picture.shape[:2]
    margin = 0.3  # beyond the picture's edges, where shapes wrap around unseen
    span = np.array([frame_width / frame_height, 1.0]) + 2 * margin
    x, y = (((shape.start + shape.velocity * frame) % span) - margin) * frame_height
    width, height = shape.size * frame_height
    angle = shape.angle + shape.turning * frame
    if shape.kind == "disc":
        cv2.ellipse(picture, ((x, y), (width, height), angle), shape.colour, cv2.FILLED, cv2.LINE_AA)
        return
    if shape.kind == "bar":  # similar to a limb in length and thickness
        width, height = 1.6 * width, 0.06 * frame_height
    corners = cv2.boxPoints(((x, y), (width, height), angle))
    cv2.fillConvexPoly(picture, np.round(corners * 16).astype(np.int32), shape.colour, cv2.LINE_AA, 4)


def expose(
    picture: np.ndarray, backdrop: Backdrop, frame: int, rng: np.random.Generator, *, noise: float
) -> np.ndarray:
    """Apply the changing light and Gaussian noise with a standard deviation of `noise` grey levels. Returns uint8."""
    mean, amplitude, frequency, phase = backdrop.light
    gain = np.float32(mean * (1 + amplitude * np.sin(frequency * frame + phase)))
    exposed = picture * gain
    exposed += np.float32(noise) * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.clip(exposed, 0, 255).astype(np.uint8)
