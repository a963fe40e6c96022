"""Auxiliary targets: the saved student has no trace of the second head, and errors are one line."""

import json

import numpy as np
import pytest

from models.student import build_student
from tests.conftest import write_arrays
from tests.scripts import run_script as run
from utils import stages
from utils.networks.recognizer import load_recognizer
from utils.runtime.errors import UserError
from utils.runtime.files import file_fingerprint
from utils.settings.options import DataOptions, DistillationOptions, NetworkOptions, OutputOptions, TrainingOptions
from utils.teachers.teacher import resolve_teachers

SHAPE = (16, 32, 32, 3)
ALONE = ["--data", "frames.npy", "--annotations", "labels.npy", "--alpha", 1, "--epochs", 1, "--views", 0]
ALONE += ["--input_size", 32, "--width", 0.1, "--batch_size", 4, "--output_path", "new.h5", "--log_path", "new"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Arrays, and scores for 7 other classes."""
    folder = write_arrays(tmp_path_factory.mktemp("auxiliary") / "arrays", height=32, width=32)
    np.save(folder / "imagenet.npy", np.random.default_rng(0).normal(size=(30, 7)).astype(np.float32))
    return folder


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_the_saved_student_is_that_of_its_builder(folder, tmp_path, monkeypatch, suffix):
    """A second head would make the saved student larger, or unusable by programs that expect one output."""
    clips = np.random.default_rng(1).integers(0, 256, (3, *SHAPE)).astype(np.float32)
    before, save = [], stages.save_recognizer

    def remembered(model, *arguments):
        before.append(np.asarray(model(clips, training=False)))
        save(model, *arguments)

    monkeypatch.setattr(stages, "save_recognizer", remembered)
    trained = stages.train_student(
        data=DataOptions(folder / "frames.npy", folder / "labels.npy"),
        training=TrainingOptions(batch_size=6, epochs=1, learning_rate=0.01),
        network=NetworkOptions(width=0.1, input_size=(32, 32)),
        distillation=DistillationOptions(alpha=1.0, auxiliary_source=folder / "imagenet.npy"),
        output=OutputOptions(tmp_path / f"student{suffix}", tmp_path / "student"),
    )
    student = load_recognizer(trained.output_path, argument="").model
    built = build_student(3, input_shape=SHAPE, width=0.1)

    def described(model):
        return [(type(layer), [weight.shape for weight in layer.weights]) for layer in model.layers]

    assert described(student) == described(built)
    assert student.output_shape == (None, 3)
    np.testing.assert_array_equal(student(clips, training=False), before[0])
    assert trained.history["auxiliary_loss"][0] > 0
    assert "soft_loss" not in trained.history.dtype.names
    record = json.loads(trained.output_path.with_suffix(".json").read_text())
    assert (record["teacher"], record["auxiliary"]) == (None, file_fingerprint(folder / "imagenet.npy"))


STUDENT = """
import keras

def build(num_classes, *, input_shape, width, dropout):
    logits = keras.layers.Dense(num_classes)
    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), logits, keras.layers.ReLU()])
"""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--student", "student_without_dense:build"], "expected a student whose last layer is Dense, got ReLU\n"),
        (["--teacher", "live"], "must go with --teacher cached, got live\n"),
        (["--auxiliary_source", "few.npy"], "few.npy must hold class scores as floats (30, K) or (30, 1, K), found"),
        (["--auxiliary_source", "model.h5"], "must end in .npy, got model.h5\n"),
        (["--auxiliary_source", "nowhere.npy"], "must be an existing file, got nowhere.npy\n"),
    ],
)
def test_unusable_settings_are_refused_in_one_line(folder, arguments, message):
    """A mistake would end in a traceback, or be found after the logits of the teacher are computed."""
    (folder / "student_without_dense.py").write_text(STUDENT)
    np.save(folder / "few.npy", np.zeros((29, 7), np.float32))
    command = ["KD_training.py", *ALONE, "--auxiliary_source", "imagenet.npy", *arguments]
    printed = run(*command, cwd=folder, expect=2)
    assert printed.startswith(f"error: --auxiliary_source: {message}")
    assert printed.count("\n") == 1
    assert not (folder / "new.h5").exists()


def test_a_live_teacher_cannot_have_auxiliary_scores():
    """The scores are of stored views, and a live teacher sees new ones."""
    with pytest.raises(UserError, match=r"^--auxiliary_source must go with --teacher cached, got live$"):
        resolve_teachers(DistillationOptions(alpha=1.0, teacher_mode="live", auxiliary_source="imagenet.npy"))
