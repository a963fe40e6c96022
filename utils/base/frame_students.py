"""The options of students frames:NAME, which apply an image network to each frame: names, defaults, combinations."""

import argparse
from pathlib import Path

from models import BACKBONES, LITE0, MIXINGS
from utils.base.errors import UserError

PREFIX = "frames:"
NO_WEIGHTS, IMAGENET = "none", "imagenet"
NO_MIXING = "none"
PRETRAINED_RATE = 0.1  # learning rate of a pretrained image network, relative to that of the new layers


def backbone_name(student: str) -> str | None:
    """Return NAME of a student frames:NAME, None for any other student."""
    return student.removeprefix(PREFIX) if student.startswith(PREFIX) else None


def check_frame_student(student: str, *, mixing: str, weights: str | Path, width: float) -> None:
    """Raise UserError if the options of a student contradict each other."""
    backbone = backbone_name(student)
    if backbone is None:
        for name, value, default in (("mixing", mixing, NO_MIXING), ("student_weights", weights, NO_WEIGHTS)):
            if value != default:
                raise UserError(f"--{name}: must go with --student {PREFIX}NAME, got --student {student}")
        return
    if backbone not in BACKBONES:
        raise UserError(f"--student: must be {PREFIX}NAME with one of {', '.join(BACKBONES)}, got {student}")
    if mixing not in MIXINGS:
        raise UserError(f"--mixing: must be one of {', '.join(MIXINGS)}, got {mixing}")
    if mixing == "shift" and backbone != LITE0:
        raise UserError(f"--mixing shift: must go with --student {PREFIX}{LITE0}, got {student}; use convolution")
    if width != 1 and (backbone != LITE0 or weights != NO_WEIGHTS):
        reason = f"--student {student}" if backbone != LITE0 else f"--student_weights {weights}"
        raise UserError(f"--width: must be 1 with {reason}, got {width:g}")


def settle_frame_student(args: argparse.Namespace, *, width: float) -> None:
    """Set arguments of a student to their defaults if they are None: `mixing` and `backbone_rate`.

    `width` is that of the student. Settled arguments stay as they are. Raises UserError if the arguments contradict
    each other.
    """
    backbone = backbone_name(args.student)
    if backbone is None and args.backbone_rate not in (None, 1):
        raise UserError(f"--backbone_rate: must go with --student {PREFIX}NAME, got --student {args.student}")
    has_weights = args.student_weights != NO_WEIGHTS
    if args.freeze_backbone and not has_weights:
        raise UserError("--freeze_backbone: must go with --student_weights, got none")
    if args.mixing is None:
        is_plain = backbone is None or has_weights
        args.mixing = NO_MIXING if is_plain else "shift" if backbone == LITE0 else "convolution"
    initial_weights = getattr(args, "initial_weights", None)
    if initial_weights is not None and has_weights:
        raise UserError(f"--student_weights: must not go with --initial_weights, got {args.student_weights}")
    if args.backbone_rate is None:
        is_pretrained = (backbone is not None and initial_weights is not None) or has_weights
        args.backbone_rate = PRETRAINED_RATE if is_pretrained else 1.0
    check_frame_student(args.student, mixing=args.mixing, weights=args.student_weights, width=width)
