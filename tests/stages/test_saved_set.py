"""The files of a training: after any failure they are all of one training, and NaN has a place in each of them."""

import contextlib
import errno
import io
import itertools
import json
import os
import shutil
import sys

import keras
import numpy as np
import pytest

from benchmarks.killing import FILE_CALLS
from utils.base.errors import UserError
from utils.base.files import remove_partial
from utils.base.options import (
    DataOptions,
    DistillationOptions,
    NetworkOptions,
    OutputOptions,
    TrainingOptions,
    ViewOptions,
)
from utils.evaluation import run as evaluation
from utils.networks.recognizer import load_recognizer
from utils.runs.loading import SplitDataset
from utils.runs.state import Ending, TrainingState
from utils.training import finishing, stages

SHAPE = (16, 32, 32, 3)
OLD, NEW = 0, 1
FULL_DISK, PLANTED = OSError(errno.ENOSPC, "No space left on device"), RuntimeError("planted")
NAN, INF = float("nan"), float("inf")


class Dead(BaseException):
    """Raised by each file operation of a process that was killed."""


def history_of(*val_losses, hard=False):
    """Return a history with these validation losses; the accuracy is 0.5."""
    names = ["loss", "accuracy", "val_loss", "val_accuracy", "seconds", *(["val_hard_loss"] if hard else [])]
    rows = [
        (number, 1.0, 0.5, loss, 0.5, 1.0, *([loss] if hard else [])) for number, loss in enumerate(val_losses, start=1)
    ]
    return np.array(rows, dtype=[("epoch", "i8"), *((name, "f8") for name in names)])


@pytest.fixture
def save(arrays, tmp_path, monkeypatch):
    """Return a function that saves a network of the training `number`, whose kernel holds only this number."""
    dataset, split = arrays
    loaded = SplitDataset(dataset, split)
    data = DataOptions(dataset.frames.path, dataset.frames.path.with_name("labels.npy"))
    layers = [keras.Input(SHAPE), keras.layers.GlobalAveragePooling3D(), keras.layers.Dense(3)]
    model = keras.Sequential(layers)
    monkeypatch.setattr(finishing, "draw_history", lambda *_, **__: None)
    monkeypatch.setattr(finishing, "cost_if_known", lambda _: None)  # is computed before the files are written

    def save(number, suffix=".keras", history=None, **training):
        model.layers[-1].kernel.assign(np.full((3, 3), float(number)))
        output = OutputOptions(tmp_path / f"out/net{suffix}", tmp_path / "out/net")
        history = history_of(*([1.0] * (1 + number))) if history is None else history
        options = [data, TrainingOptions(**{"seed": number, "epochs": len(history)} | training)]
        state = TrainingState()
        state.ending = Ending.LAST_EPOCH
        return finishing.finish(model, history, loaded, output, options, {"kind": "student"}, state)

    return save


def training_of(folder, suffix):
    """Return the number of the training of all files in `folder`, None if there are none.

    Raises UserError if the record belongs to another model, and AssertionError if the history does.
    """
    visible = {path.name for path in folder.glob("[!.]*")}
    if not visible:
        return None
    assert visible == {f"net{suffix}", "net.json", "net.npy", "net.csv", "net.md"}
    recognizer = load_recognizer(folder / f"net{suffix}", argument="--recognizer")
    number = int(recognizer.model.get_weights()[0][0, 0])
    assert recognizer.record.arguments.seed == number
    assert f"--epochs {1 + number} " in (folder / "net.md").read_text()
    assert len(np.load(folder / "net.npy")) == len((folder / "net.csv").read_text().splitlines()) - 1 == 1 + number
    return number


@contextlib.contextmanager
def failing_at(number, error):
    """Raise `error` in the file operation `number` of the block; yields the list of the operations so far."""
    done = []

    def profile(frame, event, argument):
        is_file_call = event == "c_call" and argument.__name__ in FILE_CALLS
        if is_file_call and not isinstance(argument.__self__, (str, io.StringIO, io.BytesIO)):
            done.append(argument.__name__)
            if len(done) == number:
                raise error

    sys.setprofile(profile)
    try:
        yield done
    finally:
        sys.setprofile(None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "former", "error"),
    [(".keras", OLD, FULL_DISK), (".keras", None, PLANTED), (".h5", OLD, PLANTED), (".h5", None, FULL_DISK)],
)
def test_a_failing_file_operation_leaves_the_old_or_the_new_set(save, tmp_path, suffix, former, error):
    """A full disk would leave a model without its record, or lose the former model."""
    folder, start, found = tmp_path / "out", tmp_path / "start", []
    if former is not None:
        save(former, suffix)
    folder.mkdir(exist_ok=True)
    folder.rename(start)
    for number in itertools.count(1):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(start, folder)
        with contextlib.suppress(OSError, RuntimeError), failing_at(number, error) as done:
            save(NEW, suffix)
        found.append(training_of(folder, suffix))
        if len(done) < number:
            break
    assert set(found) == {former, NEW}  # NEW: an operation without which the set is complete, or after it
    assert found[-1] == NEW
    assert {"write", "fsync", "replace", "unlink"} <= set(done)
    assert found.count(former) >= done.count("fsync") + done.count("replace") == 10


def dying(name, function, calls, number):
    """Return `function` of os, which adds its name to `calls` and raises from the replacement `number` on."""

    def call(*arguments, **settings):
        calls.append(name)
        if calls.count("replace") >= number:
            raise Dead
        return function(*arguments, **settings)

    return call


@pytest.mark.parametrize("former", [None, OLD], ids=["no former set", "former set"])
def test_a_kill_never_leaves_a_model_without_its_record(save, tmp_path, former, monkeypatch):
    """eval.py would test it on clips that it was trained on. The same command saves the set again."""
    folder, verdicts = tmp_path / "out", []
    for number in range(1, 6):
        for path in folder.glob("*"):
            path.unlink()
        if former is not None:
            save(former)
        with monkeypatch.context() as patch:
            calls = []
            for name in ("replace", "unlink"):
                patch.setattr(os, name, dying(name, getattr(os, name), calls, number))
            with pytest.raises(Dead):
                save(NEW)
        is_model, is_record = ((folder / name).exists() for name in ("net.keras", "net.json"))
        assert is_model == (former is not None)
        assert is_record or not is_model
        if is_model:
            try:
                record = load_recognizer(folder / "net.keras", argument="").record
                verdicts.append(record.arguments.seed)
            except UserError as refused:
                verdicts.append(str(refused).partition(", ")[2].partition(";")[0])
        for path in ("net.keras", "net.json", "net.npy", "net.csv", "net.md"):
            remove_partial(folder / path)
        save(NEW)
        assert training_of(folder, ".keras") == NEW
        assert not list(folder.glob(".*"))
    assert verdicts == ([] if former is None else [OLD, OLD, OLD, OLD, "but belongs to another file"])


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


@pytest.mark.parametrize("hard", [False, True], ids=["teacher", "distilled student"])
@pytest.mark.parametrize("keep", ["last", "best"])
@pytest.mark.parametrize(
    ("losses", "kept", "loss"),
    [
        ((NAN, 0.5, 0.4), {"last": 3, "best": 3}, 0.4),
        ((0.5, 0.4, NAN), {"last": 2, "best": 2}, 0.4),
        ((0.5, 0.4, INF), {"last": 2, "best": 2}, 0.4),
        ((NAN, NAN, NAN), {"last": 1, "best": 1}, None),
        ((NAN, INF, NAN), {"last": 2, "best": 2}, None),
        ((INF,), {"last": 1, "best": 1}, None),
    ],
)
def test_histories_with_nan_give_a_complete_set(save, tmp_path, capsys, losses, kept, loss, keep, hard):
    """A NaN in the kept epoch would end the run with a traceback and leave a model without its record."""
    trained = save(NEW, history=history_of(*losses, hard=hard), keep=keep)
    record = json.loads((tmp_path / "out/net.json").read_text(), parse_constant=refuse)
    assert record["validation"] == trained.record.validation
    assert record["validation"]["val_loss"] == loss
    assert record["kept_epoch"] == kept[keep]
    np.testing.assert_array_equal(np.load(tmp_path / "out/net.npy")["val_loss"], losses)
    assert load_recognizer(tmp_path / "out/net.keras", argument="").record.model_dump() == record
    assert ("no epoch has a finite validation loss" in capsys.readouterr().out) == (loss is None)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("keep_going", [False, True])
@pytest.mark.parametrize("alpha", [1.0, 0.1], ids=["baseline", "distilled"])
def test_a_training_that_ends_with_nan(make_arrays, tmp_path, capsys, keep_going, alpha):
    """A learning rate that is far too high gives one line and no file, or with --keep_going a set that says so."""
    folder = make_arrays(height=32, width=32)
    scores = 5 * np.eye(3, dtype=np.float32)[np.load(folder / "labels.npy")] - 1
    np.save(tmp_path / "scores.npy", scores)
    settings = {
        "data": DataOptions(folder / "frames.npy", folder / "labels.npy"),
        "training": TrainingOptions(batch_size=4, epochs=2, learning_rate=1e30, keep_going=keep_going),
        "network": NetworkOptions(width=0.1, input_size=(32, 32)),
        "distillation": DistillationOptions(alpha=alpha, source=tmp_path / "scores.npy"),
        "output": OutputOptions(tmp_path / "out/net.keras", tmp_path / "out/net"),
        "views": ViewOptions(views=0),
    }
    if not keep_going:
        with pytest.raises(UserError, match=r"^the loss is \S+ in step \d of epoch 1: --learning_rate 1e\+30 is "):
            stages.train_student(**settings)
        assert {path.suffix for path in (tmp_path / "out").iterdir()} <= {".log"}
        return
    trained = stages.train_student(**settings)
    assert trained.record.validation["val_loss"] is None
    assert trained.record.validation["val_accuracy"] == 0.0  # scores that are NaN are no prediction of class 0
    assert np.isnan(trained.history["val_loss"]).all()
    assert "best so far" not in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").glob("[!.]*")} == {
        *("net.keras", "net.json", "net.npy", "net.csv", "net.md", "net.png", "net.log")
    }
    with pytest.raises(UserError, match=r"^--recognizer: .*net\.keras must be a complete Keras model, .* NaN or inf"):
        evaluation.evaluate(settings["data"], [trained.model])
