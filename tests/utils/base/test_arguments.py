"""Argument groups of several scripts, and the options that are made of them."""

from pathlib import Path

import pytest

from tests.scripts import run_script
from utils.base import arguments
from utils.base.options import DataOptions, DistillationOptions, NetworkOptions, TrainingOptions
from utils.base.parser import ArgumentParser
from utils.base.setting import add_setting


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
def test_contradicting_arguments_are_rejected(tmp_path, script, arguments, line):
    """A teacher would be trained from scratch instead of fine-tuned, or a student would overwrite its teacher."""
    for name in ("FILE", "t.h5"):
        (tmp_path / name).write_text("")
    given = f"--data FILE --annotations FILE {arguments}".split()
    assert run_script(script, *given, cwd=tmp_path, expect=2, clears_keras=False) == line
