"""Synthetic action clips: stick figures whose class is determined by their motion only.

The pose of a figure has six channels (stick_figure.py). A class is a channel and a rhythm. The channel repeats the
rhythm in a loop; every other channel is constant, at a random position of such a loop. The classes "rises" and "falls"
of a channel are each other's time reversal. "slow" and "fast" spend equal shares of time at each position. Poses in
randomly chosen frames therefore have the same distribution in every class, and a single frame gives almost no
information about the class.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from utils.video.backdrop import draw_backdrop, expose, random_backdrop
from utils.video.stick_figure import (
    CHANNELS,
    NEAR_SIZES,
    Subject,
    between,
    draw_figure,
    picture_joints,
    random_subject,
)

# Class: (channel, rhythm). Consecutive classes are pairs with the same channel and different rhythms. A horizontal flip
# never changes the class. The first ten are the default; the last four use the channels of the first four.
ACTIONS = {
    "SitDown": ("stand", "falls"),
    "StandUp": ("stand", "rises"),
    "RaiseArms": ("raise", "rises"),
    "LowerArms": ("raise", "falls"),
    "WaveSlow": ("wave", "slow"),
    "WaveFast": ("wave", "fast"),
    "StepForward": ("near", "rises"),
    "StepBack": ("near", "falls"),
    "OpenArms": ("spread", "rises"),
    "CloseArms": ("spread", "falls"),
    "Push": ("reach", "rises"),
    "Pull": ("reach", "falls"),
    "BounceSlow": ("stand", "slow"),
    "BounceFast": ("stand", "fast"),
    "FlapSlow": ("raise", "slow"),
    "FlapFast": ("raise", "fast"),
}
# At least 2 x 16: 16 sampled frames are then two or three frames apart and cover most of a loop.
FRAME_COUNTS = (32, 60)
LOOP_FRAMES = {"rises": (34.0, 44.0), "falls": (34.0, 44.0), "slow": (44.0, 56.0), "fast": (12.0, 15.0)}
RETURN_SHARE = 0.1  # share of a "rises" or "falls" loop that is the quick return to the start
SUBJECT_STREAM = 2**31  # takes the place of the class index in the random seed of a subject


@dataclass(frozen=True)
class Look:
    """Rendering settings: seed, frame size in pixels, and the difficulty of the task.

    clutter: contrast and number of shapes of the backdrop; 1 is the default, 0 disables both.
    noise: standard deviation of the sensor noise in grey levels.
    jitter: strength of the camera shake; 1 is the default, 0 disables it.
    phase_spread: share of a loop over which its start is random. With 0 the motion is centred in the clip. With 1 a
        clip starts anywhere in the loop: a frame gives no information even if its time is known, but networks need
        far more clips to learn the classes.
    """

    seed: int = 0
    frame_height: int = 120
    frame_width: int = 160
    clutter: float = 1.0
    noise: float = 5.0
    jitter: float = 1.0
    phase_spread: float = 0.25


def loop_position(moment: np.ndarray, rhythm: str, hold: float) -> np.ndarray:
    """Return the position (0 to 1) of a channel at each `moment` of its loop, which has period 1.

    At moment 0 the channel is halfway through its slow movement. In every rhythm it spends a share `hold` of the loop
    at each end, and the rest of the time evenly distributed in between. "falls" is "rises" reversed in time.
    """
    moment = np.asarray(moment, dtype=float)
    if rhythm == "falls":
        moment = -moment
    turning = 0.5 if rhythm in ("slow", "fast") else 1.0 - RETURN_SHARE
    moment = (moment + turning / 2) % 1.0
    triangle = np.where(moment < turning, moment / turning, (1.0 - moment) / (1.0 - turning))
    return np.clip((triangle - hold) / (1.0 - 2 * hold), 0.0, 1.0)


def channel_positions(
    rhythm: str, rng: np.random.Generator, *, frame_count: int, speed: float, phase_spread: float
) -> np.ndarray:
    """Return random positions of a moving channel, float64 (frame_count,). `speed` shortens the loop."""
    hold = rng.uniform(0.04, 0.14)
    loop_frames = rng.uniform(*LOOP_FRAMES[rhythm]) / speed
    if rhythm in ("slow", "fast"):  # these differ in speed, which a single frame does not show
        phase_spread = 1.0
    frames = np.arange(frame_count) - (frame_count - 1) / 2
    return loop_position(phase_spread * rng.uniform(-0.5, 0.5) + frames / loop_frames, rhythm, hold)


def clip_poses(
    action: str, subject: Subject, rng: np.random.Generator, *, frame_count: int, phase_spread: float
) -> np.ndarray:
    """Return the poses of a clip: float64 (frame_count, 6), approximately 0 to 1, with columns as in CHANNELS."""
    moving_channel, class_rhythm = ACTIONS[action]
    poses = np.empty((frame_count, len(CHANNELS)))
    frames = np.arange(frame_count)
    for column, channel in enumerate(CHANNELS):
        rhythm = class_rhythm if channel == moving_channel else str(rng.choice(["rises", "falls"]))
        position = channel_positions(
            rhythm, rng, frame_count=frame_count, speed=subject.speed, phase_spread=phase_spread
        )
        if channel != moving_channel:
            position = np.full(frame_count, rng.choice(position))
        eased = 0.4 * position + 0.6 * position**2 * (3 - 2 * position)
        # Small movements of every channel, because people never stand completely still.
        phases = rng.uniform(0, 2 * np.pi, 2)
        sway = np.sin(0.13 * frames + phases[0]) + np.sin(0.29 * frames + phases[1])
        poses[:, column] = 0.5 + subject.amplitude * (eased - 0.5) + 0.015 * sway
    return poses


@dataclass(frozen=True)
class Plan:
    """Content of a clip: the subject, its poses (frames, 6), and the random generator for everything else."""

    subject: Subject
    poses: np.ndarray
    rng: np.random.Generator


def plan_clip(action: str, *, subject: int, clip: int, look: Look) -> Plan:
    """Return the subject and the poses of a clip. The result depends on the arguments only."""
    person = random_subject(np.random.default_rng([look.seed, SUBJECT_STREAM, subject]))
    rng = np.random.default_rng([look.seed, list(ACTIONS).index(action), subject, clip])
    frame_count = int(rng.integers(FRAME_COUNTS[0], FRAME_COUNTS[1] + 1))
    poses = clip_poses(action, person, rng, frame_count=frame_count, phase_spread=look.phase_spread)
    return Plan(person, poses, rng)


def render_clip(action: str, *, subject: int, clip: int, look: Look) -> np.ndarray:
    """Render a clip: uint8 (frames, frame_height, frame_width, 3), RGB. The result depends on the arguments only."""
    plan = plan_clip(action, subject=subject, clip=clip, look=look)
    person, rng, frame_count = plan.subject, plan.rng, len(plan.poses)
    height, width = look.frame_height, look.frame_width
    facing = rng.choice([-1, 1]) * rng.uniform(26, 46)
    size = person.size * rng.uniform(0.95, 1.05) * height
    waist = (person.place + rng.uniform(-0.04, 0.04, 2)) * [width, height]
    backdrop = random_backdrop(rng, frame_height=height, frame_width=width, clutter=look.clutter)
    shake = look.jitter * person.camera_shake * 0.008 * height * smooth_noise(rng, frame_count)
    frames = np.empty((frame_count, height, width, 3), np.uint8)
    for number, values in enumerate(plan.poses):
        pose = dict(zip(CHANNELS, values))
        picture = draw_backdrop(backdrop, number, frame_height=height, frame_width=width)
        joints = picture_joints(person, pose, facing=facing, waist=waist, size=size)
        draw_figure(picture, person, joints, size=size * between(NEAR_SIZES, pose["near"]))
        move = np.array([[1.0, 0.0, shake[number, 0]], [0.0, 1.0, shake[number, 1]]])
        picture = cv2.warpAffine(picture, move, (width, height), borderMode=cv2.BORDER_REPLICATE)
        frames[number] = expose(picture, backdrop, number, rng, noise=look.noise)
    return frames


def smooth_noise(rng: np.random.Generator, frame_count: int) -> np.ndarray:
    """Return noise for the camera shake: float64 (frame_count, 2), unit variance, correlated over four frames."""
    steps = rng.normal(0.0, 1.0, (frame_count + 3, 2))
    return sum(steps[offset : offset + frame_count] for offset in range(4)) / 2
