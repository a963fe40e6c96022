"""Arguments are checked at once, errors are one line with exit code 2, and `--help` imports nothing slow."""

import errno
import io
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from tests.scripts import run_script
from utils.base import argument_types, arguments, cli
from utils.base.errors import UserError
from utils.base.options import DataOptions, DistillationOptions, NetworkOptions, TrainingOptions
from utils.base.parser import ArgumentParser
from utils.base.setting import add_setting

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
NO_MEMORY = "error: --batch_size, --width: must fit into the memory of this machine, but: "
PROJECT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def environment_kept(monkeypatch):
    """`cli.run` sets this for the processes of a script; other tests start processes in the project folder."""
    monkeypatch.setenv("PYTHONSAFEPATH", "")


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


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (argument_types.positive_int, "1", 1),
        (argument_types.seed, "0", 0),
        (argument_types.seed, "4294967295", 4294967295),
        (argument_types.positive_float, "1e-9", 1e-9),
        (argument_types.non_negative_float, "0", 0.0),
        (argument_types.share, "1", 1.0),
        (argument_types.input_size, "112", (112, 112)),
        (argument_types.input_size, "120X160", (120, 160)),
        (argument_types.output_model, "a/b.h5", Path("a/b.h5")),
    ],
)
def test_values_at_the_limits_are_accepted(kind, text, value):
    """A valid value would be rejected, or height and width be swapped."""
    assert kind(text) == value


NUMBERS = ("positive_int", "non_negative_int", "view_count", "seed", "positive_float", "non_negative_float", "width")
NUMBERS += ("share", "clip_norm")
TOO_LARGE = {
    "positive_int": 2147483647,
    "non_negative_int": 2147483647,
    "view_count": 10000,
    "width": 100,
    "positive_float": 3.4e38,
    "non_negative_float": 3.4e38,
}
WHOLE = ("positive_int", "non_negative_int", "view_count", "seed")


def accepted(name, text):
    """Return the value of an argument, or None if it is refused in one short line."""
    message = ""
    try:
        return getattr(argument_types, name)(text)
    except argument_types.Error as error:
        message = str(error)
    assert message.startswith("must be ")
    assert "\n" not in message
    assert len(message) < 130
    return None


@pytest.mark.parametrize("name", NUMBERS)
def test_other_spellings_of_numbers_are_refused(name):
    """Python reads 1_000 and digits of other scripts, which are typing errors here, and NaN passes comparisons."""
    texts = [
        "",
        " ",
        "1_000",
        "١٢",
        "１",
        "0x1",
        "1,5",
        "nan",
        "-nan",
        "inf",
        "-inf",
        "Infinity",
        "1e999",
        "10**400",
        "--1",
    ]
    texts += ["1e", "1 2", " 1", "1\n", "-1", "-1e999", "9" * 5000, "1" * 400, "1e39" if name != "share" else "1e1"]
    assert [text for text in texts if accepted(name, text) is not None] == []


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_beyond_what_numpy_and_tensorflow_take_are_refused(name):
    """2**63 ends in an OverflowError of NumPy, 1e300 is infinite in float32."""
    assert accepted(name, str(2**63)) is None or name in ("positive_float", "non_negative_float")
    assert accepted(name, "1e300") is None
    if name in TOO_LARGE:
        limit = TOO_LARGE[name]
        assert accepted(name, str(limit)) == limit
        beyond = str(limit + 1) if limit < 1e30 else "3.5e38"
        with pytest.raises(argument_types.Error, match=rf"^must be at most {re.escape(str(limit))}, got {beyond}$"):
            getattr(argument_types, name)(beyond)


@pytest.mark.parametrize("name", NUMBERS)
def test_zero_has_one_form(name):
    """-0.0 would be another setting than 0.0, and train the same network again."""
    allowed = name in ("non_negative_int", "view_count", "seed", "non_negative_float", "share")
    for text in ("0", "-0", "+0", "00"):
        value = accepted(name, text)
        assert (value is not None) == allowed
        assert value is None or str(value) == ("0" if name in WHOLE else "0.0")
    if name not in WHOLE:
        assert accepted(name, ".5") == accepted(name, "5e-1") == accepted(name, "+0.50") == 0.5
        assert accepted(name, "1e-400") == (0 if allowed else None)


@pytest.mark.parametrize("text", ["١٢", "1_1x1", "2147483648", "1x99999999999", "1e2", "-1x1", "x", "1x", " 1x1"])
def test_sizes_follow_the_same_rules(text):
    """A side beyond 2**31 would overflow in TensorFlow."""
    assert accepted("input_size", text) is None


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (argument_types.positive_int, "0", "must be a whole number of at least 1, got 0"),
        (argument_types.positive_int, "1.5", "must be a whole number of at least 1, got 1.5"),
        (argument_types.seed, "-1", "must be a whole number from 0 to 4294967295, got -1"),
        (argument_types.seed, "4294967296", "must be a whole number from 0 to 4294967295, got 4294967296"),
        (argument_types.positive_float, "0", "must be a number above 0, got 0"),
        (argument_types.positive_float, "nan", "must be a number above 0, got nan"),
        (argument_types.positive_float, "inf", "must be a number above 0, got inf"),
        (argument_types.non_negative_float, "-0.1", "must be a number of at least 0, got -0.1"),
        (argument_types.share, "1.01", "must be a number from 0 to 1, got 1.01"),
        (argument_types.share, "half", "must be a number from 0 to 1, got half"),
        (argument_types.input_size, "32x", "must be SIDE or HEIGHTxWIDTH in pixels, e.g. 112 or 120x160, got 32x"),
        (argument_types.input_size, "1x2x3", "must be SIDE or HEIGHTxWIDTH in pixels, e.g. 112 or 120x160, got 1x2x3"),
        (argument_types.existing_file, ".", "must be an existing file, got ."),
        (argument_types.existing_folder, "nowhere", "must be an existing folder, got nowhere"),
        (argument_types.existing_model, "scores.npy", "must end in .keras or .h5, got scores.npy"),
        (argument_types.existing_model, "nowhere.h5", "must be an existing file, got nowhere.h5"),
        (
            argument_types.existing_recognizer,
            "net.pb",
            "must end in .keras, .h5, .onnx, .xml or .tflite, got net.pb",
        ),
        (argument_types.existing_recognizer, "nowhere.onnx", "must be an existing file, got nowhere.onnx"),
        (argument_types.output_model, "saved_model", "must end in .keras or .h5, got saved_model"),
        (argument_types.output_stem, "", "must end in a file name, got nothing"),
        (argument_types.output_stem, ".", "must end in a file name, got ."),
        (argument_types.output_model, "FOLDER", "must be a file, got the folder FOLDER"),
    ],
)
def test_an_error_is_one_line_with_argument_expected_and_found(tmp_path, capsys, kind, text, message):
    """A wrong value would be found only after the training, when the result cannot be written."""
    folder = tmp_path / "folder.h5"
    folder.mkdir()
    text, message = text.replace("FOLDER", str(folder)), message.replace("FOLDER", str(folder))
    parser = ArgumentParser("a script")
    parser.add_argument("--flag", type=kind)
    with pytest.raises(SystemExit) as end:
        parser.parse_args([f"--flag={text}"])
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: --flag: {message}\n"


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


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (UserError("--data: no such clips"), 2, "error: --data: no such clips\n"),
        (OSError(errno.ENOSPC, "x", "big.npy"), 2, "error: big.npy: No space left on device\n"),
        (PermissionError(errno.EACCES, "x"), 2, "error: Permission denied\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (
            MemoryError("Unable to allocate 89.4 TiB for an array with shape (2000000000, 16)"),
            2,
            f"{NO_MEMORY}Unable to allocate 89.4 TiB for an array with shape (2000000000, 16)\n",
        ),
        (
            MemoryError(),
            2,
            f"{NO_MEMORY}MemoryError\n",
        ),
        (
            tf.errors.ResourceExhaustedError(
                None, None, "{{f}} OOM when allocating tensor with shape[3,9] and\\n type"
            ),
            2,
            f"{NO_MEMORY}OOM when allocating tensor with shape[3,9]\n",
        ),
        (
            tf.errors.UnknownError(None, None, "MemoryError: Unable to allocate 2. GiB for an array\nTraceback"),
            2,
            f"{NO_MEMORY}Unable to allocate 2. GiB for an array Traceback\n",
        ),
    ],
)
def test_an_error_of_the_user_is_one_line_and_an_exit_code(capsys, monkeypatch, raised, code, line):
    """The user would get a traceback, or a pipeline the exit code of a success."""
    monkeypatch.setattr(sys, "argv", ["script.py", "--width=1000", "--batch_size", "8", "--output_path", "views"])

    def main():
        raise raised

    with pytest.raises(SystemExit) as end:
        cli.run(main)
    assert (end.value.code, capsys.readouterr().err) == (code, line)


def test_names_that_cannot_be_encoded_are_printed_as_escapes(monkeypatch):
    """A file name that is no UTF-8 would end a run when it is printed."""
    streams = {name: io.TextIOWrapper(io.BytesIO(), "utf-8") for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)

    def main():
        print("saved v_\udcff.keras 跳")
        raise UserError("no v_\udcff.npy")

    with pytest.raises(SystemExit):
        cli.run(main)
    printed = [(stream.flush(), stream.buffer.getvalue().decode())[1] for stream in streams.values()]
    assert printed == ["saved v_\\udcff.keras 跳\n", "error: no v_\\udcff.npy\n"]


@pytest.mark.parametrize("raised", [ValueError("a bug"), FileNotFoundError(errno.ENOENT, "x", "y")])
def test_a_bug_keeps_its_traceback(raised):
    """Bugs could not be reported."""

    def main():
        raise raised

    with pytest.raises(type(raised)):
        cli.run(main)


def test_options_get_the_values_of_the_command_line(tmp_path):
    """An argument would be silently ignored."""
    (tmp_path / "frames.npy").write_text("")
    parser = ArgumentParser("a script")
    arguments.add_data_arguments(parser)
    arguments.add_split_arguments(parser, default="auto")
    arguments.add_training_arguments(parser)
    arguments.add_model_arguments(parser)
    file = str(tmp_path / "frames.npy")
    args = parser.parse_args(
        f"--data {file} --annotations {file} --split logo:2 --split_seed 7 --group_pattern a(b) --batch_size 3 "
        "--epochs 9 --learning_rate 0.5 --schedule constant --seed 5 --input_size 48x64 --input_frames 20 "
        "--weight_decay 0.01 --class_weights balanced --patience 4 --max_minutes 90".split()
    )
    data, training = arguments.options_of(DataOptions, args), arguments.options_of(TrainingOptions, args)
    assert (data.data, data.annotations, data.paths) == (Path(file), Path(file), None)
    assert (data.split, data.split_seed, data.group_pattern, data.split_dir) == ("logo:2", 7, "a(b)", None)
    assert (training.batch_size, training.epochs, training.learning_rate) == (3, 9, 0.5)
    assert (training.weight_decay, training.class_weights) == (0.01, "balanced")
    assert (training.patience, training.max_minutes) == (4, 90.0)
    assert (training.schedule, training.seed, training.tensorboard) == ("constant", 5, None)
    assert arguments.options_of(NetworkOptions, args).input_shape == (20, 48, 64, 3)


def test_the_folder_of_stage_1_is_enough(tmp_path, capsys):
    """Three paths of one folder would have to be typed in every command."""
    parser = ArgumentParser("a script")
    arguments.add_data_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--data", str(tmp_path)])
    assert capsys.readouterr().err == (f"error: --data: must be frames.npy or a folder that holds it, got {tmp_path}\n")
    for name in ("frames.npy", "mine.npy"):
        (tmp_path / name).write_text("")
    for typed in (tmp_path, tmp_path / "frames.npy"):
        data = arguments.options_of(DataOptions, parser.parse_args(["--data", str(typed)]))
        assert (data.data, data.annotations, data.paths) == (tmp_path / "frames.npy", tmp_path / "labels.npy", None)
    typed = ["--data", str(tmp_path), "--annotations", str(tmp_path / "mine.npy")]
    assert arguments.options_of(DataOptions, parser.parse_args(typed)).annotations == tmp_path / "mine.npy"


@pytest.mark.parametrize(
    ("typed", "source", "mode"),
    [
        ("--teacher t.h5 s.npy", ["t.h5", "s.npy"], "cached"),
        ("--source t.h5 --teacher live", ["t.h5"], "live"),
        ("--teacher t.h5 --teacher_outputs live", ["t.h5"], "live"),
        ("--teacher cached", None, "cached"),
        ("--teacher t.h5 live", "--teacher: must be models or files of class scores, or else ", None),
        ("--teacher t.h5 --source t.h5", "--teacher: must be models or files of class scores, or else ", None),
        ("--teacher nowhere.h5", "--teacher: must be an existing file, got nowhere.h5", None),
    ],
)
def test_teacher_names_the_teacher(tmp_path, monkeypatch, capsys, typed, source, mode):
    """What everybody types would be an error, or the published `--teacher live` would name a file."""
    monkeypatch.chdir(tmp_path)
    for name in ("t.h5", "s.npy"):
        (tmp_path / name).write_text("")
    parser = ArgumentParser("a script")
    arguments.add_teacher_argument(parser)
    for name in ("source", "teacher_mode"):
        add_setting(parser, DistillationOptions, name)
    if mode is None:
        with pytest.raises(SystemExit):
            arguments.settle_teacher(parser, parser.parse_args(typed.split()))
        assert capsys.readouterr().err.startswith(f"error: {source}")
        return
    arguments.settle_teacher(parser, args := parser.parse_args(typed.split()))
    assert vars(args) == {"source": source and [Path(name) for name in source], "teacher_mode": mode}


@pytest.mark.parametrize(
    ("script", "arguments", "line"),
    [
        (
            "Teacher_training.py",
            "--weights FILE",
            "error: --weights: must go with --task fintuning_C3D_Sports1M, got --task train_local_teacher\n",
        ),
        (
            "KD_training.py",
            "--source t.h5 --output_path sub/../t.keras",
            "error: --output_path: would replace sub/../t.json, which --source reads; choose another path\n",
        ),
        (
            "eval.py",
            "--recognizer t.h5 --split_seed 3",
            "error: --split_seed and --split_dir: must go with --split, got none\n",
        ),
        (
            "eval.py",
            "--recognizer t.h5 --calibrate --force",
            "error: --calibrate and --force exclude each other; expected one of them, got both\n",
        ),
        (
            "eval.py",
            "--recognizer t.h5 --split official:1 --split_dir FILE",
            "error: --split_dir: must be an existing folder, got FILE\n",
        ),
    ],
)
def test_contradicting_arguments_are_rejected(tmp_path, monkeypatch, capsys, script, arguments, line):
    """A teacher would be trained from scratch instead of fine-tuned, or a student would overwrite its teacher."""
    monkeypatch.chdir(tmp_path)
    for name in ("FILE", "t.h5"):
        (tmp_path / name).write_text("")
    monkeypatch.setattr(sys, "argv", f"{script} --data FILE --annotations FILE {arguments}".split())
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(PROJECT / script), run_name="__main__")
    assert (end.value.code, capsys.readouterr().err) == (2, line)
