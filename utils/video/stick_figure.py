"""A jointed stick figure: its appearance, the conversion of poses to joints, and its drawing.

A pose has six channels, each a number from 0 to 1. They are independent, and each is visible at any value of the
others. A data set can therefore move one channel and keep the others constant at any value.
"""

from dataclasses import dataclass

import cv2
import numpy as np

CHANNELS = ("stand", "raise", "spread", "reach", "wave", "near")

# The range of each channel, from 0 to 1. Angles are in degrees.
SIT_THIGH_ANGLE = 84.0  # between thigh and vertical, for stand = 0
RAISE_ANGLES = (-50.0, 52.0)  # between arms and horizontal
SPREAD_ANGLES = (-8.0, 92.0)  # between arms and straight ahead
REACH_SHARES = (0.48, 0.99)  # distance from shoulder to hand, relative to the arm's length
WAVE_ANGLES = (-60.0, 60.0)  # rotation of the forearms in the picture
NEAR_SIZES = (0.70, 1.10)  # scale of the figure in the picture

SUBPIXEL_BITS = 4
OUTLINE = (24, 22, 20)
GLOVES = (255, 255, 250)


@dataclass(frozen=True)
class Subject:
    """A person, who has the same body, clothes, place and way of moving in every class.

    `size` is the body height relative to the picture height. Other lengths are relative to the body height. `place` is
    the (x, y) of the waist relative to the picture size. `amplitude` and `speed` are factors around 1. Colours are RGB.
    """

    size: float
    leg: float
    torso: float
    arm: float
    shoulder: float
    head: float
    thickness: float
    shirt: tuple[int, int, int]
    sleeves: tuple[int, int, int]
    trousers: tuple[int, int, int]
    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    amplitude: float
    speed: float
    place: tuple[float, float]
    camera_shake: float


def random_subject(rng: np.random.Generator) -> Subject:
    """Return a random person."""
    shirt = random_colour(rng)
    skin_tone = rng.uniform(0.65, 1.0)
    return Subject(
        size=rng.uniform(0.74, 0.84),
        leg=rng.uniform(0.44, 0.50),
        torso=rng.uniform(0.27, 0.32),
        arm=rng.uniform(0.44, 0.50),
        shoulder=rng.uniform(0.085, 0.12),
        head=rng.uniform(0.07, 0.09),
        thickness=rng.uniform(0.05, 0.07),
        shirt=shirt,
        sleeves=shirt if rng.random() < 0.5 else random_colour(rng),
        trousers=random_colour(rng),
        skin=tuple(int(channel * skin_tone) for channel in (250, 208, 178)),
        hair=random_colour(rng),
        amplitude=rng.uniform(0.88, 1.0),
        speed=rng.uniform(0.88, 1.14),
        place=(rng.uniform(0.45, 0.55), rng.uniform(0.52, 0.56)),
        camera_shake=rng.uniform(0.3, 1.0),
    )


def random_colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """Return a random RGB colour that differs from black (the outline) and from grey (the backdrop)."""
    hue_saturation_value = np.uint8([[[rng.integers(180), rng.integers(60, 200), rng.integers(200, 256)]]])
    return tuple(int(channel) for channel in cv2.cvtColor(hue_saturation_value, cv2.COLOR_HSV2RGB)[0, 0])


def between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * share


def arm_joints(shoulder: np.ndarray, side: int, pose: dict[str, float], length: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the elbow and the hand of an arm, each (3,). `side` is -1 for the left arm, 1 for the right arm."""
    raised = np.deg2rad(between(RAISE_ANGLES, pose["raise"]))
    spread = np.deg2rad(between(SPREAD_ANGLES, pose["spread"]))
    direction = np.array(
        [side * np.sin(spread) * np.cos(raised), np.sin(raised), np.cos(spread) * np.cos(raised)]  # right, up, ahead
    )
    reach = length * np.clip(between(REACH_SHARES, pose["reach"]), 0.2, 1.0)
    # The elbow bends downwards and outwards from the line between shoulder and hand.
    bend = np.array([0.7 * side, -1.0, 0.0])
    bend -= direction * (bend @ direction)
    bend /= np.linalg.norm(bend)
    elbow = shoulder + direction * reach / 2 + bend * np.sqrt(length**2 - reach**2) / 2
    return elbow, shoulder + direction * reach


def body_joints(subject: Subject, pose: dict[str, float]) -> dict[str, np.ndarray]:
    """Return the joints, (3,) each: right, up and ahead of the waist of the standing person, in body heights."""
    thigh_angle = np.deg2rad(SIT_THIGH_ANGLE * (1 - pose["stand"]))
    shin_angle = np.deg2rad(8.0 * (1 - pose["stand"]))
    half_leg = subject.leg / 2
    drop = half_leg * (2 - np.cos(thigh_angle) - np.cos(shin_angle))
    hips = np.array([0.0, -drop, -half_leg * 0.5 * np.sin(thigh_angle)])
    lean = np.deg2rad(14.0 * (1 - pose["stand"]))
    chest = hips + subject.torso * np.array([0.0, np.cos(lean), np.sin(lean)])
    joints = {"hips": hips, "chest": chest, "head": chest + np.array([0.0, subject.head * 1.55, 0.02])}
    for name, side in (("left", -1), ("right", 1)):
        hip = hips + np.array([side * 0.055, 0.0, 0.0])
        knee = hip + half_leg * np.array([side * 0.12, -np.cos(thigh_angle), np.sin(thigh_angle)])
        foot = knee + half_leg * np.array([side * 0.06, -np.cos(shin_angle), -np.sin(shin_angle)])
        shoulder = chest + np.array([side * subject.shoulder, -0.01, 0.0])
        elbow, hand = arm_joints(shoulder, side, pose, subject.arm)
        toe = foot + np.array([side * 0.015, 0.0, 0.06])
        joints |= {f"{name}_hip": hip, f"{name}_knee": knee, f"{name}_foot": foot, f"{name}_toe": toe}
        joints |= {f"{name}_shoulder": shoulder, f"{name}_elbow": elbow, f"{name}_hand": hand}
    return joints


def picture_joints(
    subject: Subject, pose: dict[str, float], *, facing: float, waist: np.ndarray, size: float
) -> dict[str, np.ndarray]:
    """Project the joints: (x, y) in pixels and the distance towards the camera in body heights, (3,) each.

    facing: angle in degrees between the person's direction and the camera. waist: (x, y) in pixels of the waist of the
    standing person. size: body height in pixels.
    """
    angle = np.deg2rad(facing)
    scale = size * between(NEAR_SIZES, pose["near"])
    joints = {}
    for name, (right, up, ahead) in body_joints(subject, pose).items():
        across = -right * np.cos(angle) + ahead * np.sin(angle)  # a person's right is on the picture's left
        towards = right * np.sin(angle) + ahead * np.cos(angle)
        perspective = scale * (1 + 0.25 * towards)
        joints[name] = np.array([waist[0] + perspective * across, waist[1] - perspective * up, towards])
    swing = np.deg2rad(between(WAVE_ANGLES, pose["wave"]))
    turn = np.array([[np.cos(swing), -np.sin(swing)], [np.sin(swing), np.cos(swing)]])
    for name in ("left", "right"):
        elbow, hand = joints[f"{name}_elbow"], joints[f"{name}_hand"]
        hand[:2] = elbow[:2] + turn @ (hand[:2] - elbow[:2])
    return joints


def draw_figure(picture: np.ndarray, subject: Subject, joints: dict[str, np.ndarray], *, size: float) -> None:
    """Draw the figure into an RGB picture, uint8 (H, W, 3), from back to front."""
    thick = subject.thickness * size
    parts = []  # (depth, colour, thickness, points)
    for name in ("left", "right"):
        for start, end, colour, width in (
            ("hip", "knee", subject.trousers, 1.15),
            ("knee", "foot", subject.trousers, 0.95),
            ("foot", "toe", subject.hair, 0.95),
            ("shoulder", "elbow", subject.sleeves, 0.9),
            ("elbow", "hand", subject.skin, 0.8),
        ):
            ends = joints[f"{name}_{start}"], joints[f"{name}_{end}"]
            nearer_in_front = 0.02 if start in ("shoulder", "elbow") else 0.0
            parts.append(((ends[0][2] + ends[1][2]) / 2 + nearer_in_front, colour, thick * width, ends))
        elbow, hand = joints[f"{name}_elbow"], joints[f"{name}_hand"]
        parts.append((max(hand[2], elbow[2]) + 0.03, GLOVES, thick * 1.7, (hand, hand)))
    trunk = joints["hips"], joints["chest"]
    parts.append(((trunk[0][2] + trunk[1][2]) / 2, subject.shirt, thick * 2.2, trunk))
    for _, colour, width, ends in sorted(parts, key=lambda part: part[0]):
        draw_limb(picture, ends, OUTLINE, width + max(2.0, 0.35 * thick))
        draw_limb(picture, ends, colour, width)
    head = joints["head"]
    radius = subject.head * size
    draw_disc(picture, head, OUTLINE, radius + max(1.0, 0.18 * thick))
    draw_disc(picture, head, subject.skin, radius)
    draw_disc(picture, head - [0, 0.55 * radius, 0], subject.hair, 0.5 * radius)


def draw_limb(picture: np.ndarray, ends, colour: tuple[int, int, int], width: float) -> None:
    points = [tuple(round(value * 2**SUBPIXEL_BITS) for value in end[:2]) for end in ends]
    cv2.line(picture, *points, colour, max(1, round(width)), cv2.LINE_AA, SUBPIXEL_BITS)


def draw_disc(picture: np.ndarray, centre: np.ndarray, colour: tuple[int, int, int], radius: float) -> None:
    x, y, fixed_radius = (round(value * 2**SUBPIXEL_BITS) for value in (centre[0], centre[1], radius))
    cv2.circle(picture, (x, y), max(1, fixed_radius), colour, cv2.FILLED, cv2.LINE_AA, SUBPIXEL_BITS)
