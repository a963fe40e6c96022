"""Teacher logits in bfloat16, computed only if the CPU supports it and they agree with float32."""

import keras
import numpy as np
import pytest

from models.c3d import build_c3d
from utils.networks import precision as bfloat16
from utils.networks.precision import cpu_has_bfloat16, faster_if_equal, in_bfloat16

CLIPS = np.random.default_rng(0).integers(0, 256, (4, 16, 32, 32, 3), np.uint8)


@pytest.fixture
def model(monkeypatch):
    """A narrow C3D, on a machine that reports bfloat16 support."""
    monkeypatch.setattr(bfloat16, "cpu_has_bfloat16", lambda: True)
    monkeypatch.setattr(bfloat16, "has_gpu", lambda: False)
    monkeypatch.setattr(bfloat16, "WORTHWHILE", 0)
    monkeypatch.setattr(bfloat16, "TOLERANCE", 0.04)  # emulated bfloat16 has larger rounding errors
    keras.utils.set_random_seed(0)
    return build_c3d(5, input_shape=(16, 32, 32, 3), width=0.1)


def test_the_copy_predicts_like_the_model_in_float32(model):
    """Exchanged weights, or logits rounded to three digits, would be wrong targets."""
    copy = in_bfloat16(model)
    expected, found = model.predict_on_batch(CLIPS), copy.predict_on_batch(CLIPS)
    assert np.abs(found - expected).max() < 0.02 * np.ptp(expected)
    assert (found != expected).any()
    assert found.dtype == np.float32
    assert {layer.compute_dtype for layer in copy.layers if "conv" in layer.name} == {"bfloat16"}
    assert all(variable.dtype == "float32" for variable in copy.weights)


def test_the_copy_is_used_only_if_it_agrees(model, monkeypatch, capsys):
    """Speed must not change the teacher's predictions."""
    assert faster_if_equal(model, CLIPS) is not model

    def slightly_wrong(original):
        copy = in_bfloat16(original)
        kernel, bias = copy.layers[-1].get_weights()
        copy.layers[-1].set_weights([1.05 * kernel, bias])
        return copy

    monkeypatch.setattr(bfloat16, "in_bfloat16", slightly_wrong)
    assert faster_if_equal(model, CLIPS) is model
    assert "note: computing the teacher in float32; its bfloat16 logits differ by" in capsys.readouterr().out


class CustomLayer(keras.layers.Layer):
    """A layer without get_config and with an argument that is not a plain value, so that Keras cannot copy it."""

    def __init__(self, anything):
        super().__init__()
        self.anything = anything

    def call(self, inputs):
        return inputs


@pytest.mark.usefixtures("model")
def test_a_model_that_cannot_be_copied_is_used_itself(capsys):
    """Custom layers of a user may not be copyable."""
    pooling, dense = keras.layers.GlobalAveragePooling3D(), keras.layers.Dense(5)
    own = keras.Sequential([keras.Input(CLIPS.shape[1:]), pooling, dense, CustomLayer(object())])
    assert faster_if_equal(own, CLIPS) is own
    printed = capsys.readouterr().out
    assert printed.startswith("note: computing the teacher in float32; its bfloat16 copy failed: Object CustomLayer ")
    assert printed.count("\n") == 1


@pytest.mark.parametrize(("flags", "expected"), [("avx2 avx512_bf16", True), ("amx_bf16", True), ("avx512f", False)])
def test_support_is_read_from_the_cpu_flags(tmp_path, flags, expected):
    """Without hardware support, bfloat16 is emulated and slower than float32."""
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: fpu {flags} sse\n")
    assert cpu_has_bfloat16(tmp_path / "cpuinfo") is expected
    assert cpu_has_bfloat16(tmp_path / "absent") is False


def test_small_networks_and_cpus_without_support_use_float32(model, monkeypatch):
    monkeypatch.setattr(bfloat16, "WORTHWHILE", 1e12)
    assert faster_if_equal(model, CLIPS) is model
    monkeypatch.setattr(bfloat16, "WORTHWHILE", 0)
    monkeypatch.setattr(bfloat16, "cpu_has_bfloat16", lambda: False)
    assert faster_if_equal(model, CLIPS) is model
