"""Every option of a training of students reaches its use: the network, the optimiser, the loss, batches or epochs."""

import hashlib
from dataclasses import fields
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.stages.small_students import chain
from utils.base.errors import UserError
from utils.base.options import (
    DataOptions,
    DistillationOptions,
    NetworkOptions,
    OutputOptions,
    TrainingOptions,
    ViewOptions,
)
from utils.networks.recognizer import save_model
from utils.runs.state import own_variables
from utils.training import stages, targets

EPOCHS = 3
BASE = {
    "epochs": EPOCHS,
    "batch_size": 4,
    "views": 1,
    "input_size": (32, 32),
    "source": Path("teacher.keras"),
    "student": "tests.stages.small_students:chain",
}
SCORES = {"source": Path("scores.npy")}
CASES = {  # another value of an option, what differs then, and options that both trainings need
    "data": (Path("other/frames.npy"), "batches", {}),
    "annotations": (Path("other_labels.npy"), "batches", {}),
    "paths": (Path("other_paths.npy"), "batches", {}),
    "split": ("random", "batches", {}),
    "split_seed": (1, "batches", {}),
    "group_pattern": ("(g[0-9]+_c[0-9]+)", "batches", {}),
    "learning_rate": (1e-3, "optimizer", {}),
    "schedule": ("constant", "optimizer", {}),
    "clip_norm": (None, "optimizer", {}),
    "weight_decay": (0.1, "optimizer", {}),
    "backbone_rate": (0.1, "optimizer", {"student": "tests.stages.small_students:with_backbone"}),
    "batch_size": (6, "batches", {}),
    "epochs": (2, "epochs", {}),
    "initialisation": ("random", "weights", {}),
    "initial_weights": (Path("teacher.keras"), "weights", {}),
    "seed": (1, "weights", {}),
    "class_weights": ("balanced", "batches", {}),
    "keep": ("best", "kept", {}),
    "patience": (1, "epochs", {}),
    "max_minutes": (1e-9, "epochs", {}),
    "precision": ("mixed_bfloat16", "error", {}),  # not on a CPU
    "devices": (2, "error", {}),  # there is one
    "keep_going": (True, "epochs", {"learning_rate": 2.0}),  # a rate for which the losses below are not finite
    "tensorboard": (Path("tensorboard"), "callbacks", {}),
    "views": (2, "batches", {}),
    "view_seed": (1, "batches", {}),
    "flip": (False, "batches", {}),
    "width": (2.0, "network", {}),
    "dropout": (0.5, "network", {}),
    "input_size": ((24, 24), "network", {}),
    "input_frames": (8, "network", {}),
    "student": ("tests.stages.small_students:with_backbone", "network", {}),
    "student_weights": ("imagenet", "error", {}),  # of students frames:NAME
    "mixing": ("shift", "error", {}),
    "source": (Path("scores.npy"), "batches", {}),
    "teacher_mode": ("live", "batches", {}),
    "cache": (Path("cache.npy"), "teacher", {}),
    "scheduler": ("local", "teacher", {}),
    "temperature": (2.0, "loss", {}),
    "alpha": (0.5, "loss", {}),
    "labels_per_class": (1, "batches", {}),
    "unlabelled": ((Path("other/frames.npy"),), "batches", {}),
    "fail_on_leak": (True, "error", {"unlabelled": (Path("copy/frames.npy"),)}),
    "source_channels": ("bgr", "teacher", {}),
    "source_input_scale": ("0..1", "teacher", {}),
    "source_scores": ("logits", "batches", SCORES),
}
ELSEWHERE = {"split_dir", "freeze_backbone"}  # tests/utils/data/test_split_lists.py, tests/stages/test_image_probe.py
GROUPS = {
    "data": DataOptions,
    "training": TrainingOptions,
    "network": NetworkOptions,
    "distillation": DistillationOptions,
    "views": ViewOptions,
}


def digest(values) -> str:
    return hashlib.sha256(b"".join(np.asarray(value).tobytes() for value in values)).hexdigest()


def scripted_fit(seen):
    """Return a `fit` that notes in `seen` what it is given, and sets the last bias to the number of each epoch."""

    def fit(model, train, *, epochs, initial_epoch, steps_per_epoch, callbacks, **_):
        callbacks = keras.callbacks.CallbackList(callbacks, model=model)
        callbacks.on_train_begin()
        seen["loss"] = model.distillation_loss.get_config()
        seen["weights"] = digest(own_variables(model))
        seen["network"] = model.student.to_json()
        slow = len(getattr(model.optimizer, "slow_keys", ()))
        seen["optimizer"] = (type(model.optimizer).__name__, slow, str(model.optimizer.get_config()))
        seen["callbacks"] = [type(each).__name__ for each in callbacks.callbacks]
        first = train.take(steps_per_epoch).as_numpy_iterator()
        seen["batches"] = digest(part for clips, found in first for part in (clips, *found.values()))
        fails = model.optimizer.learning_rate > 0.1
        for epoch in range(initial_epoch, epochs):
            callbacks.on_epoch_begin(epoch)
            callbacks.on_test_begin()
            model.student.layers[-1].bias.assign(np.full(3, epoch + 1))
            losses = dict.fromkeys(("loss", "val_loss"), np.nan if fails and epoch else 1.0)
            callbacks.on_epoch_end(epoch, {**losses, "accuracy": 0.5, "val_accuracy": 0.9 - epoch / 10})
            if model.stop_training:
                break

    return fit


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with the files that CASES names."""
    from tests.conftest import write_arrays

    folder = tmp_path_factory.mktemp("options")
    arrays = write_arrays(folder / "arrays", height=32, width=32)
    write_arrays(folder / "other", height=32, width=32, seed=1)
    write_arrays(folder / "copy", height=32, width=32)
    np.save(folder / "other_labels.npy", 2 - np.load(arrays / "labels.npy"))
    np.save(folder / "other_paths.npy", np.load(arrays / "video_file_paths.npy")[::-1])
    np.save(folder / "scores.npy", np.eye(3, dtype=np.float32)[np.load(arrays / "labels.npy")] / 2 + 1 / 6)
    keras.utils.set_random_seed(5)
    save_model(chain(3, input_shape=(16, 32, 32, 3), width=1.0, dropout=1.0), folder / "teacher.keras")
    return folder


@pytest.fixture(scope="module")
def observed(files):
    """A function of options that returns what a training of a student with them does; nothing is trained."""
    known = {}

    def observe(**changed):
        key = str(sorted(changed.items()))
        if key in known:
            return known[key]
        seen = known[key] = {}
        values = {"data": Path("arrays/frames.npy")} | BASE | changed

        def cached_logits(teacher, question, **options):
            seen["teacher"] = (teacher.channels, teacher.input_scale, *options.items())
            clips, views = question.dataset.row_count, question.views.views
            return np.random.default_rng(0).normal(size=(clips, views + 1, 3)).astype(np.float32)

        def finish(student, history, *_):
            seen["epochs"], seen["kept"] = len(history), float(student.layers[-1].bias[0])

        options = {}
        for name, kind in GROUPS.items():
            of_kind = {part.name for part in fields(kind)}
            options[name] = kind(**{option: value for option, value in values.items() if option in of_kind})
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(files)
            patch.setattr(keras.Model, "fit", scripted_fit(seen))
            patch.setattr(targets, "cached_logits", cached_logits)
            patch.setattr(stages, "finish", finish)
            try:
                stages.train_student(**options, output=OutputOptions(files / f"student_{len(known)}.keras"))
            except UserError as error:
                seen["error"] = str(error)
        return seen

    return observe


def test_every_option_has_a_case():
    """A new option would be parsed, logged and recorded, and then have no effect."""
    assert {part.name for kind in GROUPS.values() for part in fields(kind)} == CASES.keys() | ELSEWHERE


@pytest.mark.parametrize("name", CASES)
def test_an_option_reaches_its_use(observed, name):
    """A run with the option would equal one without it, under another name."""
    value, where, needed = CASES[name]
    before, after = observed(**needed), observed(**needed, **{name: value})
    assert before.get(where) != after.get(where)
    if where != "error":
        assert "error" not in after
    assert "error" not in before


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_the_loss_has_the_options_of_the_command_line(observed, alpha):
    """A student would be trained at another temperature than the table says."""
    loss = observed(temperature=3.0, alpha=alpha)["loss"]
    assert (loss["temperature"], loss["alpha"]) == (3.0, alpha)
