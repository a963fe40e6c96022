"""The parser: `--help` imports nothing slow, and a wrong argument is answered in one line."""

import subprocess
import sys

import pytest

from tests.scripts import PROJECT, run_script
from utils.base import argument_types
from utils.base.parser import ArgumentParser

SCRIPTS = ("video_to_frames.py", "Teacher_training.py", "KD_training.py", "eval.py", "reproduce.py")
SLOW = ("tensorflow", "keras", "matplotlib", "sklearn", "scipy", "cv2")
SHOW_HELP = f"""
import runpy, sys
for script in {SCRIPTS}:
    sys.argv = [script, "--help"]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        assert end.code == 0
print("LOADED", sorted(set(sys.modules) & set({SLOW})))
"""


@pytest.fixture(scope="module")
def shown_help():
    """The `--help` output of all scripts, and a last line with the slow packages that were imported for it."""
    return subprocess.run(
        [sys.executable, "-c", SHOW_HELP], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=120
    ).stdout


def test_help_imports_no_slow_package(shown_help):
    """Every `--help` and every argument error would take three seconds."""
    assert shown_help.splitlines()[-1] == "LOADED []"


def test_help_shows_every_default_and_no_none(shown_help):
    """A user would not see the value that is used without an argument, or read "None"."""
    text = " ".join(shown_help.split())
    assert "(default: None)" not in text
    assert "(default: False)" not in text
    assert "folder written by video_to_frames.py, or frames.npy in it (required)" in text
    for default in ("together (default: 8)", "clips (default: 100)", "rate (default: 0.0003)"):
        assert default in text
    for default in ("(default: 112)", "(default: fc8)", "teacher (default: 0.1)", "(default: 10.0)"):
        assert default in text


def test_abbreviated_arguments_are_rejected(capsys):
    """A saved command with `--epoch 5` would change its meaning when an argument is added."""
    parser = ArgumentParser("a script")
    parser.add_argument("--epochs", type=int)
    with pytest.raises(SystemExit):
        parser.parse_args(["--epoch", "5"])
    assert capsys.readouterr().err == "error: unknown argument --epoch; did you mean --epochs?\n"


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("--epocs 3 --data x", "unknown argument --epocs; did you mean --epochs?"),  # before the missing --rate
        ("--epocs=3 --rate 1", "unknown argument --epocs; did you mean --epochs?"),
        ("-epochs 3 --rate 1", "unknown argument -epochs; did you mean --epochs?"),
        ("--no_flp --rate 1", "unknown argument --no_flp; did you mean --no_flip?"),
        ("--zzz --rate 1", "unknown argument --zzz"),
        ("--lr 1", "unknown argument --lr"),  # not --help
        ("--dataset x --rate 1", "unknown argument --dataset; did you mean --data?"),
        ("--flip=false --rate 1", "--flip takes no value, got false; expected --flip or --no_flip"),
        ("--epochs 3", "the following arguments are required: --rate"),
        ("--rate 1 --keep first", "--keep: must be one of last, best, got first"),
        ("--rate 1 --epochs none", "--epochs: must be a whole number of at least 1, got none"),
        ("--rate none", "--rate: must be a number above 0, got none"),
    ],
)
def test_a_mistyped_argument_is_named(capsys, typed, line):
    """A user would have to find the typing error among all arguments."""
    with pytest.raises(SystemExit):
        small_parser().parse_args(typed.split())
    assert capsys.readouterr().err == f"error: {line}\n"


@pytest.mark.parametrize(
    ("typed", "name", "value"),
    [
        ("", "flip", True),
        ("--no_flip", "flip", False),
        ("--no_flip --flip", "flip", True),
        ("--data none", "data", None),
        ("--seeds none", "seeds", []),
        ("--seeds 1 2", "seeds", [1, 2]),
    ],
)
def test_values_can_be_set_back(typed, name, value):
    """A wrapper script that adds arguments could not undo those before."""
    assert getattr(small_parser().parse_args(["--rate", "1", *typed.split()]), name) == value


@pytest.mark.parametrize(
    ("script", "flag", "meant"),
    [
        ("KD_training.py", "--lr", "learning_rate"),
        ("KD_training.py", "--model", "student"),
        ("KD_training.py", "--batch-size", "batch_size"),
        ("KD_training.py", "--weights", "initial_weights"),
        ("Teacher_training.py", "--model", "output_path"),
        ("eval.py", "--model", "recognizer"),
        ("eval.py", "--weights", "recognizer"),
        ("predict.py", "--source", "input"),
        ("predict.py", "--video", "input"),
        ("export.py", "--checkpoint", "recognizer"),
        ("video_to_frames.py", "--num_workers", "workers"),
        ("reproduce.py", "--temperature", "temperatures"),
    ],
)
def test_names_of_other_tools_are_answered_with_ours(tmp_path, script, flag, meant):
    """A user of another tool would be pointed to a flag with another meaning, or to none."""
    error = run_script(script, flag, "1", cwd=tmp_path, expect=2, clears_keras=False)
    assert error == f"error: unknown argument {flag}; did you mean --{meant}?\n"


def test_help_shows_defaults_of_zero(capsys):
    """Seeds and rates of 0 would look as if they had no default, because 0 == False."""
    parser = ArgumentParser("a script")
    parser.add_argument("--seed", type=argument_types.seed, default=0, help="a seed")
    parser.add_argument("--decay", type=float, default=0.0, help="a rate")
    parser.add_argument("--wanted", action="store_true", help="a switch")
    parser.print_help()
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert {"--seed N a seed (default: 0)", "--decay TEXT a rate (default: 0.0)"} <= set(lines)
    assert "--wanted | --no_wanted a switch" in lines or "a switch" in lines


def small_parser():
    parser = ArgumentParser("a script")
    parser.add_argument("--rate", type=argument_types.positive_float, required=True)
    parser.add_argument("--epochs", type=argument_types.positive_int, default=3)
    parser.add_argument("--keep", choices=["last", "best"], default="last")
    parser.add_argument("--seeds", type=argument_types.seed, nargs="+", default=[])
    parser.add_argument("--data")
    parser.add_argument("--flip", action="store_true", default=True)
    return parser
