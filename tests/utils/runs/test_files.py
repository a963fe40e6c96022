"""What each kind of run may replace: its own files, and others only with --overwrite."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from tests.fake_recognizer import valid_record
from utils.base.errors import UserError
from utils.runs import files

KINDS = ["student"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with arrays and a model, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("frames.npy", "labels.npy", "model.keras", "a.mp4"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def arguments(**changed) -> argparse.Namespace:
    """The parsed arguments of a script that these checks look at."""
    args = {"data": "frames.npy", "annotations": "labels.npy", "overwrite": False}
    args = {"paths": None, "split": "auto", "split_dir": None, "tensorboard": None, "log_path": None} | args | changed
    paths = ("data", "annotations", "output_path", "output", "recognizer", "cache")
    args |= {name: Path(args[name]) for name in paths if isinstance(args.get(name), str)}
    return argparse.Namespace(**args)


def message(check, *inputs) -> str:
    with pytest.raises(UserError) as error:
        check(*inputs)
    return str(error.value)


def write_record(path, **changed):
    arguments = {"group_pattern": None, "data": "frames.npy"}
    valid_record(**{"arguments": arguments, "history": "new_history.npy"} | changed).save(path)


def test_a_training_replaces_its_own_files_only(place):
    """A model of hours would be lost by a repeated --output_path, or a finished command could not be repeated."""
    args = arguments(output_path="new.keras")
    files.check_training(args, KINDS)
    (place / "new.keras").write_bytes(b"PK")
    assert "new.keras exists and is not of this run" in message(files.check_training, args, KINDS)
    write_record(place / "new.json")
    for name in ("new_history.npy", "new_history.csv", "new_history.log", ".new.training.lock"):
        (place / name).write_text("")
    files.check_training(args, KINDS)
    assert "new.keras is a student, not a C3D teacher" in message(files.check_training, args, ["C3D teacher"])
    other = arguments(output_path="new.keras", data="labels.npy")
    assert "new.keras was trained on frames.npy" in message(files.check_training, other, KINDS)
    write_record(place / "new.json", history="other.npy")
    assert "--log_path: new_history.npy exists and is not of this run" in message(files.check_training, args, KINDS)
    files.check_training(arguments(output_path="new.keras", data="labels.npy", overwrite=True), ["C3D teacher"])
    (place / "new.json").unlink()
    (place / "new.training").write_bytes(b"PK")  # unfinished
    files.check_training(args, KINDS)
    assert "would share its record new.json with new.keras" in message(
        files.check_training, arguments(output_path="new.h5"), KINDS
    )


@pytest.mark.parametrize("more", [{}, {"overwrite": True}])
def test_no_run_writes_what_it_reads(place, more):
    """The arrays of a day would be replaced by a history, or a teacher by its student, even with --overwrite."""
    np.save(place / "labels.npy", np.zeros(2))
    for args, expected in [
        ({"output_path": "new.keras", "log_path": place / "labels"}, "--log_path: would replace "),
        ({"output_path": "model.keras", "source": [place / "model.keras"]}, "--output_path: would replace model.keras"),
        ({"output_path": "new.keras", "cache": "labels.npy"}, "--cache: would replace labels.npy"),
        ({"output_path": "frames.keras", "config": place / "frames.json"}, "--output_path: would replace frames.json"),
    ]:
        args = arguments(**{"alpha": 0.1, "teacher_mode": "cached"} | args | more)
        assert message(files.check_training, args, KINDS).startswith(expected)
    args = arguments(output="a.mp4", recognizer=[place / "model.keras"], **more)
    assert "a.mp4, which --input reads" in message(files.check_prediction, args, [place / "a.mp4"])


def test_notes_in_the_place_of_a_card_are_kept(place):
    """NAME.md of the user would be lost, even with --overwrite; a card with notes of the user is updated."""
    (place / "new.md").write_text("mine")
    args = arguments(output_path="new.keras", overwrite=True)
    assert "new.md exists and is not a model card" in message(files.check_training, args, KINDS)
    (place / "new.md").write_text(f"mine\n{files.CARD_BLOCK}model -->\n")
    files.check_training(args, KINDS)


@pytest.mark.parametrize(
    ("check", "settings", "marker", "content", "name"),
    [
        ("check_evaluation", {"recognizer": []}, "metrics.json", {"recognizers": [], "comparisons": []}, "results.md"),
        ("check_experiment", {"sources": None}, "settings.json", {"seeds": [0], "output_path": "out"}, "results.csv"),
        ("check_leaks", {"unlabelled": ()}, "leaks.json", {"leaking_test_clips": 0}, "leaks.csv"),
        ("check_extraction", {"input_path": None}, "extraction.json", {}, "skipped_videos.csv"),
    ],
)
def test_a_folder_is_replaced_if_a_former_run_has_marked_it(place, check, settings, marker, content, name):
    """A table of the user would be replaced, or no command could be repeated."""
    args, run = arguments(output_path="out", **settings), getattr(files, check)
    run(args)
    (place / "out").mkdir()
    (place / "out" / name).write_text("mine")
    assert f"out/{name} exists and is not of this run" in message(run, args)
    run(arguments(output_path="out", overwrite=True, **settings))
    if content:
        (place / "out" / marker).write_text('{"mine": 1}')
        assert "exists and is not of this run" in message(run, args)
    (place / "out" / marker).write_text(json.dumps(content))
    run(args)


def test_single_files_are_replaced_with_overwrite_only(place):
    """An annotated video or a table of leaks of another model would be lost."""
    args = {"output": "b.mp4", "recognizer": [place / "model.keras"]}
    files.check_prediction(arguments(**args), [place / "a.mp4"])
    (place / "b.mp4").write_bytes(b"")
    assert "b.mp4 exists and is not of this run" in message(files.check_prediction, arguments(**args), [])
    files.check_prediction(arguments(**args, overwrite=True), [])
    (place / "leaks.csv").write_text("first,second")
    args = arguments(output_path="leaks.csv", unlabelled=())
    assert "leaks.csv exists and is not of this run" in message(files.check_leaks, args)


def test_scores_of_a_former_run_are_replaced(place):
    """An example could not be repeated, or would replace the user's array."""
    args, made = arguments(), [("--output_path", place / "scores.npy")]
    (place / "scores.npy").write_bytes(b"x")
    assert "scores.npy exists and is not of this run" in message(files.check_scores, args, made)
    (place / "scores.json").write_text('{"key": {}}')
    files.check_scores(args, made)
