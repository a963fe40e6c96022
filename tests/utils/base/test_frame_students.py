"""Options of frames students: defaults, and contradictions as errors of one line before anything is read."""

import argparse

import pytest

from tests.scripts import run_script
from utils.base.argument_types import student, student_weights
from utils.base.arguments import add_student_argument
from utils.base.errors import UserError
from utils.base.frame_students import settle_frame_student

LITE0, OTHER = "frames:efficientnet_lite0", "frames:MobileNetV2"


def settled(*arguments, width=1.0):
    parser = argparse.ArgumentParser()
    add_student_argument(parser)
    args = parser.parse_args(arguments)
    settle_frame_student(args, width=width)
    return args


@pytest.mark.parametrize(
    ("arguments", "mixing", "rate"),
    [
        ([], "none", 1.0),
        (["--student", "a.b:build"], "none", 1.0),
        (["--student", LITE0], "shift", 1.0),
        (["--student", OTHER], "convolution", 1.0),
        (["--student", LITE0, "--student_weights", "imagenet"], "none", 0.1),
        (["--student", LITE0, "--student_weights", "imagenet", "--backbone_rate", "1"], "none", 1.0),
        (["--student", OTHER, "--mixing", "none", "--backbone_rate", "0.3"], "none", 0.3),
    ],
)
def test_defaults_depend_on_the_student(arguments, mixing, rate):
    """Pretrained weights would be lost at the rate of new layers; other students would get other keys."""
    args = settled(*arguments)
    assert (args.mixing, args.backbone_rate) == (mixing, rate)
    settle_frame_student(args, width=1.0)  # again, as reproduce.py does
    assert (args.mixing, args.backbone_rate) == (mixing, rate)


@pytest.mark.parametrize(
    ("arguments", "width", "message"),
    [
        (["--mixing", "shift"], 1, r"^--mixing: must go with --student frames:NAME, got --student compact3d$"),
        (["--student_weights", "imagenet"], 1, r"^--student_weights: must go with --student frames:NAME, got"),
        (["--backbone_rate", "0.1"], 1, r"^--backbone_rate: must go with --student frames:NAME, got"),
        (["--student", OTHER, "--mixing", "shift"], 1, r"^--mixing shift: must go with --student frames:efficientnet"),
        (["--student", OTHER], 0.5, r"^--width: must be 1 with --student frames:MobileNetV2, got 0\.5$"),
        (["--student", LITE0, "--student_weights", "imagenet"], 0.5, r"^--width: must be 1 with --student_weights im"),
    ],
)
def test_contradictions_are_rejected(arguments, width, message):
    """An option without effect would be taken for one that does not help."""
    with pytest.raises(UserError, match=message):
        settled(*arguments, width=width)
    settled("--student", LITE0, width=0.5)


def test_names_and_files_are_checked_by_the_parser(tmp_path):
    with pytest.raises(
        argparse.ArgumentTypeError, match=r"must be frames:NAME with one of efficientnet_lite0, .*, got"
    ):
        student("frames:VGG16")
    with pytest.raises(argparse.ArgumentTypeError, match=r"must be none, imagenet or an existing \.h5 file"):
        student_weights(str(tmp_path / "missing.h5"))
    (tmp_path / "a.weights.h5").touch()
    assert student_weights(str(tmp_path / "a.weights.h5")) == tmp_path / "a.weights.h5"
    assert student_weights("imagenet") == "imagenet"


@pytest.mark.parametrize("script", ["KD_training.py", "reproduce.py"])
def test_the_scripts_reject_contradictions(script, tmp_path):
    """A contradiction must be found before the arrays are opened."""
    (tmp_path / "empty.npy").touch()
    arrays = ["--data", "empty.npy", "--annotations", "empty.npy"]
    printed = run_script(script, *arrays, "--mixing", "shift", cwd=tmp_path, expect=2)
    assert printed == "error: --mixing: must go with --student frames:NAME, got --student compact3d\n"
