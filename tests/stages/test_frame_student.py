"""Frames students in every stage: alone, distilled from cached and live teachers, resumed, tested."""

import keras
import numpy as np
import pytest

from models import efficientnet_lite
from models.efficientnet_lite import build_efficientnet_lite0
from models.frames import normalisation_layers
from tests.utils.training.test_fit import without_times
from utils.base.errors import UserError
from utils.base.files import file_fingerprint
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
from utils.training import stages

LITE0 = {"student": "frames:efficientnet_lite0", "mixing": "shift"}


@pytest.fixture
def data(make_arrays, monkeypatch):
    """The arrays of a small data set, for networks with one stage of EfficientNet-Lite0 only."""
    monkeypatch.setattr(efficientnet_lite, "BLOCKS", efficientnet_lite.BLOCKS[1:2])
    folder = make_arrays(clips=1, length=8, height=32, width=32)
    return DataOptions(folder / "frames.npy", folder / "labels.npy")


@pytest.fixture
def teacher(tmp_path):
    """A network of another frame size and length, without a record."""
    keras.utils.set_random_seed(0)
    clips = keras.Input((6, 20, 24, 3))
    x = keras.layers.Rescaling(1 / 255)(clips)
    x = keras.layers.Conv3D(4, 3, strides=2, activation="relu")(x)
    model = keras.Model(clips, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling3D()(x)))
    model.save(tmp_path / "teacher.keras")
    return tmp_path / "teacher.keras"


def train(data, folder, name="student.keras", *, width=0.1, frames=2, training=None, **distillation):
    return stages.train_student(
        data=data,
        training=TrainingOptions(**{"batch_size": 4, "epochs": 1, "keep_going": True} | (training or {})),
        network=NetworkOptions(width=width, input_size=(32, 32), input_frames=frames),
        distillation=DistillationOptions(**LITE0 | distillation),
        output=OutputOptions(folder / name, folder / name.partition(".")[0]),
        views=ViewOptions(views=1),
    )


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_a_resumed_training_equals_an_uninterrupted_one(data, tmp_path, capsys):
    """Weights would differ if the statistics of the normalisation or the dropout seeds were lost."""
    training = {"epochs": 2, "backbone_rate": 0.5, "weight_decay": 0.01}
    settings = {"alpha": 1.0, "training": training}
    assert len(train(data, tmp_path, "cut.keras", alpha=1.0, training=training | {"max_minutes": 1e-9}).history) == 1
    for other in ({"mixing": "none"}, {"training": training | {"backbone_rate": 0.4}}):
        with pytest.raises(UserError, match=r"unfinished training with --(mixing shift|backbone_rate 0\.5), asked"):
            train(data, tmp_path, "cut.keras", **settings | other)
    resumed, whole = (train(data, tmp_path, name, **settings) for name in ("cut.keras", "whole.h5"))
    np.testing.assert_array_equal(without_times(resumed.history), without_times(whole.history))
    one, other = (load_recognizer(trained.model, argument="").model for trained in (resumed, whole))
    for found, expected in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert "stay as drawn" not in capsys.readouterr().out
    assert whole.record.arguments.mixing == "shift"
    results = evaluation.evaluate(data, [whole.model])["recognizers"][0]
    assert results["multiply_accumulates"] > 0
    assert results["parameters"] == one.count_params()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["cached", "live"])
def test_a_student_learns_from_a_teacher_with_another_input(data, teacher, tmp_path, mode):
    """Frames and sizes of teacher and student differ."""
    trained = train(data, tmp_path, source=teacher, teacher_mode=mode, frames=3)
    assert trained.record.kind == "distilled student"
    assert np.isfinite(trained.history["val_soft_loss"]).all()
    assert trained.record.input.shape == [3, 32, 32, 3]


def test_pretrained_weights_are_the_start_of_training(data, tmp_path):
    """The record must identify the weights, and another file must not continue the training."""
    file = tmp_path / "lite0.weights.h5"
    keras.utils.set_random_seed(5)
    network = build_efficientnet_lite0((32, 32, 3))
    network.save_weights(file)
    settings = {"width": 1.0, "frames": 1, "alpha": 1.0, "student_weights": file}
    training = {"learning_rate": 1e-6, "backbone_rate": 0.1, "epochs": 2, "max_minutes": 1e-9}
    trained = train(data, tmp_path, training=training, **settings)
    assert trained.record.student_weights == file_fingerprint(file)
    backbone = load_recognizer(trained.model, argument="").model.get_layer("backbone")
    for found, expected in zip(normalisation_layers(backbone), normalisation_layers(network), strict=True):
        for one, other in zip(found.get_weights(), expected.get_weights()):
            np.testing.assert_array_equal(one, other)
    found, expected = (np.asarray(each.get_layer("stem_conv").kernel) for each in (backbone, network))
    assert 0 < np.abs(found - expected).max() < 1e-5
    build_efficientnet_lite0((32, 32, 3)).save_weights(file)
    with pytest.raises(UserError, match="unfinished training with another --student_weights"):
        train(data, tmp_path, training=training, **settings)


def test_operations_that_a_file_cannot_hold_are_rejected_before_training(data, tmp_path):
    """The saved student could not be loaded. MobileNetV3 contains Keras operations, which .h5 files do not describe."""
    with pytest.raises(UserError, match=r"must load again from a \.h5 file, but .*; \.keras files hold more$"):
        train(data, tmp_path, "s.h5", width=1.0, alpha=1.0, student="frames:MobileNetV3Small", mixing="none")
    assert not (tmp_path / "s.h5").exists()
