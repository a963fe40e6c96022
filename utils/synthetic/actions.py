"""One synthetic action clip: a stick figure whose class only its motion tells.

A figure's pose has six channels (stick_figure.py). A class is one channel and one rhythm: the channel runs
through that rhythm in a loop, and every other channel is held where such a loop would be at some moment of such a clip.
Of a pair that rises and falls, a clip of the one is a clip of the other played backwards; a pair of a slow and a fast
rhythm spends its time alike. So a frame taken from a clip at random has the same distribution of poses in every class:
a single frame, however well it is read, says next to nothing about the class.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from utils.synthetic.backdrop import draw_backdrop, expose, random_backdrop
from utils.synthetic.stick_figure import (
    CHANNELS,
    NEAR_SIZES,
    Subject,
    between,
    draw_figure,
    picture_joints,
    random_subject,
)

# Class: (channel, rhythm). Neighbours are pairs: what moves is the same, how it moves differs. Mirroring a clip never
# changes its class. The first ten are the default set; the last four share the channels of the first four.
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
# At least twice 16, so that 16 sampled frames are two or three frames apart and always cover most of a loop.
FRAME_COUNTS = (32, 60)
LOOP_FRAMES = {"rises": (34.0, 44.0), "falls": (34.0, 44.0), "slow": (44.0, 56.0), "fast": (12.0, 15.0)}
RETURN_SHARE = 0.1  # of a loop that rises or falls: the quick way back
SUBJECT_STREAM = 2**31  # stands where a class number would: a subject draws from a stream of its own


@dataclass(frozen=True)
class Look:
    """How clips are rendered: seed, size in pixels, and what makes the task harder.

    `clutter` is the backdrop's contrast and number of shapes and `jitter` the shaking of the camera, 1 as usual, 0 for
    none; `noise` is the sensor's, in grey levels. `phase_spread` is the share of a loop over which its start is random:
    with 0 the middle of a clip is the middle of the motion; with 1 a clip starts anywhere, so that even a frame whose
    place in the clip is known tells nothing, but networks need far more clips to learn the classes.
    """

    seed: int = 0
    frame_height: int = 120
    frame_width: int = 160
    clutter: float = 1.0
    noise: float = 5.0
    jitter: float = 1.0
    phase_spread: float = 0.25


def loop_position(moment: np.ndarray, rhythm: str, hold: float) -> np.ndarray:
    """Position, 0 to 1, of a channel at a `moment` of its loop, whose slow way up or down is half done at moment 0.

    Moments one apart are the same. Over a whole loop every rhythm spends its time alike: a share `hold` at either end,
    the rest evenly between. The loop that falls is the one that rises, played backwards.
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
    """Positions of a moving channel, float64 (frame_count,): on its slow way about the middle of the clip."""
    hold = rng.uniform(0.04, 0.14)
    loop_frames = rng.uniform(*LOOP_FRAMES[rhythm]) / speed
    if rhythm in ("slow", "fast"):  # to and fro: these pairs differ in speed, which no one moment gives away
        phase_spread = 1.0
    frames = np.arange(frame_count) - (frame_count - 1) / 2
    return loop_position(phase_spread * rng.uniform(-0.5, 0.5) + frames / loop_frames, rhythm, hold)


def clip_poses(
    action: str, subject: Subject, rng: np.random.Generator, *, frame_count: int, phase_spread: float
) -> np.ndarray:
    """Poses of one clip: float64 (frame_count, 6), the channels in the order of CHANNELS, about 0 to 1."""
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
        # Nobody stands quite still: every channel wanders a little, whether it carries the class or not.
        phases = rng.uniform(0, 2 * np.pi, 2)
        unrest = np.sin(0.13 * frames + phases[0]) + np.sin(0.29 * frames + phases[1])
        poses[:, column] = 0.5 + subject.amplitude * (eased - 0.5) + 0.015 * unrest
    return poses


@dataclass(frozen=True)
class Plan:
    """What happens in a clip: who, in which poses (frames, 6), and the generator that draws the rest."""

    subject: Subject
    poses: np.ndarray
    rng: np.random.Generator


def plan_clip(action: str, *, subject: int, clip: int, look: Look) -> Plan:
    """The person and the poses of one clip: a pure function of its arguments."""
    person = random_subject(np.random.default_rng([look.seed, SUBJECT_STREAM, subject]))
    rng = np.random.default_rng([look.seed, list(ACTIONS).index(action), subject, clip])
    frame_count = int(rng.integers(FRAME_COUNTS[0], FRAME_COUNTS[1] + 1))
    poses = clip_poses(action, person, rng, frame_count=frame_count, phase_spread=look.phase_spread)
    return Plan(person, poses, rng)


def render_clip(action: str, *, subject: int, clip: int, look: Look) -> np.ndarray:
    """The frames of one clip, uint8 (frames, frame_height, frame_width, 3), RGB: a pure function of its arguments."""
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
    """A shaking hand: float64 (frame_count, 2) of unit variance, a few frames from one swing to the next."""
    steps = rng.normal(0.0, 1.0, (frame_count + 3, 2))
    return sum(steps[offset : offset + frame_count] for offset in range(4)) / 2
