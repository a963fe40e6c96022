"""Answers in bfloat16: taken only where the CPU has it and they are those of float32."""

import keras
import numpy as np
import pytest

from models.c3d import build_c3d
from utils.networks import precision as bfloat16
from utils.networks.precision import cpu_has_bfloat16, faster_if_equal, in_bfloat16

CLIPS = np.random.default_rng(0).integers(0, 256, (4, 16, 32, 32, 3), np.uint8)


@pytest.fixture
def model(monkeypatch):
    """A narrow C3D of logits of deviation about 1, on a machine that is said to have bfloat16."""
    monkeypatch.setattr(bfloat16, "cpu_has_bfloat16", lambda: True)
    monkeypatch.setattr(bfloat16, "has_gpu", lambda: False)
    monkeypatch.setattr(bfloat16, "WORTHWHILE", 0)
    monkeypatch.setattr(bfloat16, "TOLERANCE", 0.04)  # a CPU without these kernels rounds more
    keras.utils.set_random_seed(0)
    return build_c3d(5, input_shape=(16, 32, 32, 3), width=0.1)


def test_the_copy_answers_like_the_model_in_float32(model):
    """Weights mixed up between layers, or logits rounded to three digits, would teach something else."""
    copy = in_bfloat16(model)
    expected, found = model.predict_on_batch(CLIPS), copy.predict_on_batch(CLIPS)
    assert np.abs(found - expected).max() < 0.02 * np.ptp(expected)
    assert (found != expected).any()
    assert found.dtype == np.float32
    assert {layer.compute_dtype for layer in copy.layers if "conv" in layer.name} == {"bfloat16"}
    assert all(variable.dtype == "float32" for variable in copy.weights)


def test_it_is_used_where_it_agrees_and_not_where_it_does_not(model, monkeypatch, capsys):
    """Speed that changes what the teacher says is not wanted."""
    assert faster_if_equal(model, CLIPS) is not model

    def slightly_wrong(original):
        copy = in_bfloat16(original)
        kernel, bias = copy.layers[-1].get_weights()
        copy.layers[-1].set_weights([1.05 * kernel, bias])
        return copy

    monkeypatch.setattr(bfloat16, "in_bfloat16", slightly_wrong)
    assert faster_if_equal(model, CLIPS) is model
    assert "note: the teacher answers in float32, in bfloat16 its answers differ by" in capsys.readouterr().out


class LayerOfOnesOwn(keras.layers.Layer):
    """Its argument is no plain value and it has no get_config, so Keras cannot make it a second time."""

    def __init__(self, anything):
        super().__init__()
        self.anything = anything

    def call(self, inputs):
        return inputs


@pytest.mark.usefixtures("model")
def test_a_model_that_cannot_be_copied_answers_itself(capsys):
    """A layer of a user's own may have no configuration."""
    pooling, dense = keras.layers.GlobalAveragePooling3D(), keras.layers.Dense(5)
    own = keras.Sequential([keras.Input(CLIPS.shape[1:]), pooling, dense, LayerOfOnesOwn(object())])
    assert faster_if_equal(own, CLIPS) is own
    printed = capsys.readouterr().out
    assert printed.startswith(
        "note: the teacher answers in float32, its copy in bfloat16 failed: Object LayerOfOnesOwn "
    )
    assert printed.count("\n") == 1


@pytest.mark.parametrize(("flags", "expected"), [("avx2 avx512_bf16", True), ("amx_bf16", True), ("avx512f", False)])
def test_support_is_read_from_the_flags(tmp_path, flags, expected):
    """Without it bfloat16 is emulated, and slower than float32."""
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: fpu {flags} sse\n")
    assert cpu_has_bfloat16(tmp_path / "cpuinfo") is expected
    assert cpu_has_bfloat16(tmp_path / "absent") is False


def test_without_support_or_for_small_networks_nothing_changes(model, monkeypatch):
    monkeypatch.setattr(bfloat16, "WORTHWHILE", 1e12)
    assert faster_if_equal(model, CLIPS) is model
    monkeypatch.setattr(bfloat16, "WORTHWHILE", 0)
    monkeypatch.setattr(bfloat16, "TOLERANCE", 0.04)  # a CPU without these kernels rounds more
    monkeypatch.setattr(bfloat16, "cpu_has_bfloat16", lambda: False)
    assert faster_if_equal(model, CLIPS) is model
