"""Number formats: chosen by device, rejected if results would be wrong, and not part of saved models."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.distiller import Distiller
from models.student import build_student
from utils.base import devices
from utils.base.errors import UserError
from utils.base.options import TrainingOptions
from utils.data.batches import RowReader
from utils.data.protocols import Split
from utils.networks.precision import computing_in, is_mixed, training_precision
from utils.networks.recognizer import save_model
from utils.training.fit import fit, set_seeds

LABELS = np.arange(40) % 2
INPUTS = (np.random.default_rng(0).normal(size=(40, 4)) + 2 * LABELS[:, None]).astype(np.float32)
SPLIT = Split("random", 0, np.arange(24), np.arange(24, 32), np.arange(32, 40), ())
OPTIONS = TrainingOptions(batch_size=4, epochs=4, learning_rate=0.01, schedule="constant")


def gpus(monkeypatch, *details):
    """Make TensorFlow report GPUs with these details."""
    names = [f"GPU:{number}" for number in range(len(details))]
    by_name = dict(zip(names, details))
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: names if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", by_name.get)


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ([], "float32"),
        ([(6, 1)], "float32"),
        ([(7, 0)], "mixed_float16"),
        ([(7, 5)], "mixed_float16"),
        ([(8, 0)], "mixed_bfloat16"),
        ([(12, 0)], "mixed_bfloat16"),
        ([(8, 6), (7, 5)], "mixed_float16"),  # determined by the weakest GPU
        ([None], "float32"),  # unknown
    ],
)
def test_auto_is_the_fastest_correct_format_of_the_device(monkeypatch, capabilities, precision):
    """On a CPU a wrong choice makes training collapse unnoticed; on a GPU it halves the speed."""
    gpus(monkeypatch, *({"compute_capability": found} if found else {} for found in capabilities))
    assert training_precision("auto") == precision
    assert training_precision("float32") == "float32"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [("mixed_bfloat16", "gradients of 3D convolutions are wrong"), ("mixed_float16", "no 3D pooling in float16")],
)
def test_a_cpu_trains_only_in_float32(asked, reason):
    if devices.has_gpu():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match=f"--precision {asked}: on a CPU .*{reason}.*use float32 or auto"):
        training_precision(asked)
    with pytest.raises(UserError, match=f"--precision {asked}"):
        fitted(replace(OPTIONS, precision=asked))


def test_a_gpu_that_is_too_old_is_an_error(monkeypatch):
    gpus(monkeypatch, {"compute_capability": (7, 5)})
    with pytest.raises(UserError, match=r"mixed_bfloat16: needs a GPU of compute capability 8, found 7\.5"):
        training_precision("mixed_bfloat16")
    assert training_precision("mixed_float16") == "mixed_float16"


def network():
    hidden = keras.layers.Dense(8, activation="relu", name="hidden")
    return keras.Sequential([keras.Input((4,)), hidden, keras.layers.Dense(2, name="last")])


def fitted(options, *, distil=False):
    set_seeds(options)
    model = network()
    source = RowReader(lambda rows, views: INPUTS[rows], (4,), np.float32)
    return model, fit(Distiller(model, alpha=1.0) if distil else model, source, SPLIT, {"labels": LABELS}, options)


def test_layers_compute_in_the_format_and_output_float32():
    """Logits with 8 bits would make the loss inexact; layers in float32 would be slow."""
    student = build_student(3, input_shape=(16, 32, 32, 3), width=0.1)
    with computing_in(Distiller(student), "mixed_bfloat16"):
        formats = {layer.name: layer.compute_dtype for layer in student.layers}
        assert is_mixed(student)
        assert student.layers[1](np.zeros((1, 16, 32, 32, 3), np.uint8)).dtype == "bfloat16"
        assert student(np.zeros((1, 16, 32, 32, 3), np.uint8)).dtype == "float32"
        assert {weight.dtype for weight in student.weights} == {"float32"}
    assert formats.pop(student.layers[-1].name) == "float32"
    assert set(formats.values()) == {"bfloat16"}
    assert {layer.compute_dtype for layer in student.layers} == {"float32"}
    assert not is_mixed(student)


@pytest.mark.parametrize("distil", [False, True], ids=["teacher", "student"])
@pytest.mark.parametrize("capability", [(7, 0), (8, 0)], ids=["float16", "bfloat16"])
def test_a_network_learns_in_the_format_and_is_saved_in_float32(monkeypatch, tmp_path, capability, distil):
    """A saved model must work on a machine without a GPU. (Dense layers support these formats on a CPU, too.)"""
    _, plain_history = fitted(OPTIONS, distil=distil)
    gpus(monkeypatch, {"compute_capability": capability})
    monkeypatch.setattr("utils.training.fit.jit_compile", lambda: False)
    model, history = fitted(OPTIONS, distil=distil)
    monkeypatch.undo()
    assert history["val_accuracy"].max() == 1.0
    np.testing.assert_allclose(history["loss"], plain_history["loss"], rtol=0.02)
    assert not np.array_equal(history["loss"], plain_history["loss"])  # the format was used
    for suffix in ("keras", "h5"):
        save_model(model, tmp_path / f"student.{suffix}")
        loaded = keras.models.load_model(tmp_path / f"student.{suffix}", compile=False)
        assert {layer.dtype_policy.name for layer in loaded.layers} == {"float32"}
        np.testing.assert_array_equal(loaded(INPUTS), model(INPUTS))
    assert model(INPUTS).dtype == "float32"


def test_an_exception_restores_float32():
    """Interrupted training is saved as well."""
    model = network()
    with pytest.raises(KeyboardInterrupt), computing_in(model, "mixed_float16"):
        raise KeyboardInterrupt
    assert not is_mixed(model)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


@pytest.mark.parametrize(("details", "jit"), [([], False), ([{}], "auto")], ids=["CPU", "GPU"])
def test_xla_is_for_gpus(monkeypatch, details, jit):
    """On a CPU, XLA makes 3D convolutions 20 times slower."""
    gpus(monkeypatch, *details)
    assert devices.jit_compile() == jit
