"""Trainings by the scripts with KERAS_BACKEND=jax; `make test-jax` runs them."""

import json

import keras
import numpy as np
import pytest

from tests.jax import tiny
from tests.scripts import run_script
from utils.networks.recognizer import load_recognizer

pytestmark = pytest.mark.skipif(keras.config.backend() != "jax", reason="KERAS_BACKEND is not jax")


@pytest.fixture(scope="module")
def teacher(arrays, folder):
    """The path of a trained teacher."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("utils.training.stages.build_c3d", tiny.build_c3d)
        path = folder / "teacher.keras"
        run_script("Teacher_training.py", *tiny.arguments_of(arrays, output_path=path), "--epochs", "3", cwd=folder)
    return path


def train_student(arrays, folder, name, *more):
    """Train a student; return what was printed and the history."""
    path = folder / f"{name}.keras"
    arguments = [*tiny.arguments_of(arrays, output_path=path), "--student", tiny.STUDENT, "--epochs", "2", *more]
    return run_script("KD_training.py", *arguments, cwd=folder), np.load(folder / f"{name}_history.npy")


def test_the_record_of_a_teacher_names_the_backend_and_the_cost(teacher):
    """A result of another backend could not be told apart."""
    record = json.loads(teacher.with_suffix(".json").read_text())
    assert record["versions"]["jax"]
    assert record["calibration"]["clips"] == 9
    # 4 filters of 2x2x2x3 at 3x3x3 places, and the dense layer
    assert record["cost"]["multiply_accumulates"] == 27 * 4 * 24 + 27 * 4 * 3


@pytest.mark.parametrize("mode", ["cached", "live"])
def test_students_are_distilled(teacher, arrays, folder, mode):
    """Loss terms, gradient ratio and files are those of a training with TensorFlow."""
    printed, history = train_student(arrays, folder, mode, "--source", teacher, "--teacher", mode)
    assert "soft/hard gradients" in printed
    assert {"hard_loss", "soft_loss", "gradient_ratio", "val_agreement", "wait_share"} <= set(history.dtype.names)
    np.testing.assert_allclose(history["loss"], 0.1 * history["hard_loss"] + 0.9 * history["soft_loss"], rtol=1e-4)
    assert (history["gradient_ratio"] > 0).all()
    model = load_recognizer(folder / f"{mode}.keras", argument="--recognizer")
    assert model.num_classes == 3


def test_a_resumed_training_equals_an_uninterrupted_one(arrays, folder):
    """Variables of JAX have no values during an epoch; saving them then would lose the training."""
    settings = ("--alpha", "1", "--class_weights", "balanced")
    _, expected = train_student(arrays, folder, "uninterrupted", *settings)
    train_student(arrays, folder, "resumed", *settings, "--max_minutes", "1e-6")
    printed, history = train_student(arrays, folder, "resumed", *settings)
    assert "resuming from epoch 2 of 2" in printed
    for name in ("loss", "accuracy", "val_hard_loss"):
        np.testing.assert_array_equal(history[name], expected[name])
    models = [load_recognizer(folder / f"{name}.keras", argument="") for name in ("uninterrupted", "resumed")]
    for one, other in zip(*(model.model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)


def test_hopeless_training_is_stopped(arrays, folder):
    """The guards read weights and scores in the middle of an epoch."""
    path = folder / "hopeless.keras"
    arguments = [*tiny.arguments_of(arrays, output_path=path), "--student", tiny.STUDENT, "--alpha", "1"]
    rates = ["--learning_rate", "1e30", "--clip_norm", "none", "--schedule", "constant", "--epochs", "1"]
    error = run_script("KD_training.py", *arguments, *rates, cwd=folder, expect=2)
    assert "likely too high" in error
    assert not path.exists()


def test_exports_are_refused(teacher, folder):
    """The converters read graphs of TensorFlow."""
    error = run_script("export.py", "--recognizer", teacher, "--format", "onnx", cwd=folder, expect=2)
    assert error == "error: export.py needs KERAS_BACKEND=tensorflow, got KERAS_BACKEND=jax\n"


def test_models_are_tested(teacher, arrays, folder):
    """A model of one backend is used with any other."""
    given = ("--data", arrays / "frames.npy", "--annotations", arrays / "labels.npy", "--recognizer", teacher)
    (result,) = json.loads(run_script("eval.py", *given, cwd=folder).splitlines()[-1])["recognizers"]
    assert result["clips"] == 9
