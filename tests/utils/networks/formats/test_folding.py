"""Layers as operations that other runtimes have."""

import keras
import numpy as np
import pytest
from keras import layers

from models.c3d import build_c3d
from models.frame_layers import TemporalShift
from models.frames import build_frames
from utils.networks.formats.folding import (
    ConvolvedShift,
    in_float32,
    in_two_dimensions,
    leaves,
    windows,
    with_convolved_shifts,
)

POOLINGS = [
    ((2, 2, 2), None),
    ((1, 2, 2), None),
    ((3, 2, 3), (2, 1, 2)),
    ((2, 3, 1), (3, 3, 3)),
    ((5, 1, 1), (1, 1, 1)),
]


def kinds_in(model) -> set[str]:
    return {type(layer).__name__ for layer in leaves(model)}


@pytest.mark.parametrize("pooling", [layers.MaxPooling3D, layers.AveragePooling3D])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("size", "strides"), POOLINGS)
def test_a_folded_pooling_equals_that_of_keras(pooling, padding, size, strides):
    """The LiteRT file would give other answers than Keras, near the edges of a clip or everywhere."""
    clips = np.random.default_rng(0).normal(size=(2, 7, 9, 6, 3)).astype(np.float32)
    inputs = keras.Input(clips.shape[1:])
    model = keras.Model(inputs, keras.Sequential([layers.Identity(), pooling(size, strides, padding)])(inputs))
    folded = in_two_dimensions(model)
    assert kinds_in(folded) & {"MaxPooling3D", "AveragePooling3D"} == set()
    found, expected = np.asarray(folded(clips)), np.asarray(model(clips))
    if pooling is layers.MaxPooling3D:
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("size", "strides"), [*((size, strides or (1, 1, 1)) for size, strides in POOLINGS)])
def test_a_folded_convolution_equals_that_of_keras(padding, size, strides):
    """The LiteRT and ONNX files would give other answers than Keras, near the edges of a clip or everywhere."""
    clips = np.random.default_rng(0).normal(size=(2, 7, 9, 6, 3)).astype(np.float32)
    inputs, settings = keras.Input(clips.shape[1:]), {"bias_initializer": "uniform", "activation": "relu"}
    outputs = [layers.Conv3D(4, size, strides, padding, use_bias=False)(inputs)]
    outputs.append(layers.Conv3D(5, size, strides, padding, **settings)(inputs))
    model = keras.Model(inputs, outputs)
    folded = in_two_dimensions(model)
    assert "Conv3D" not in kinds_in(folded)
    for found, expected in zip(folded(clips), model(clips)):
        np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=1e-5)


def test_windows_with_padding():
    """By hand: five frames, windows of three, a step of two; TensorFlow pads one frame at each end."""
    assert windows(5, 3, 2, "same").tolist() == [[-1, 0, 1], [1, 2, 3], [3, 4, 5]]
    assert windows(5, 3, 2, "valid").tolist() == [[0, 1, 2], [2, 3, 4]]


def test_a_folded_c3d_shares_its_weights_and_is_equal():
    """C3D with 112 pixels pads its last pooling at the far end; a copy of the weights would double the memory."""
    model = build_c3d(4, input_shape=(16, 48, 48, 3), width=0.1)
    folded = in_two_dimensions(model)
    clips = np.random.default_rng(0).integers(0, 256, (2, 16, 48, 48, 3)).astype(np.float32)
    found, expected = np.asarray(folded(clips)), np.asarray(model(clips))
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert kinds_in(folded) & {"Conv3D", "MaxPooling3D"} == set()
    assert {id(weight) for weight in folded.weights} == {id(weight) for weight in model.weights}


def test_a_shift_as_a_convolution_is_equal():
    """The int8 file of OpenVINO would take channels from other frames, or from other clips of a batch."""
    model = build_frames("efficientnet_lite0", 3, input_shape=(4, 40, 40, 3), width=0.25, mixing="shift")
    convolved = with_convolved_shifts(model)
    assert "TemporalShift" in kinds_in(model)
    assert "TemporalShift" not in kinds_in(convolved)
    images = np.random.default_rng(0).normal(size=(12, 5, 6, 17)).astype(np.float32)
    shift = TemporalShift(4)
    np.testing.assert_array_equal(np.asarray(ConvolvedShift(shift)(images)), np.asarray(shift(images)))
    clips = np.random.default_rng(0).integers(0, 256, (2, 4, 40, 40, 3)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(convolved(clips)), np.asarray(model(clips)))


def test_a_network_of_mixed_precision_is_exported_in_float32():
    """A student trained on a GPU computes in 16 bits, for which other runtimes lack operations on a CPU."""
    model = build_c3d(4, input_shape=(16, 32, 32, 3), width=0.1)
    clips = np.random.default_rng(0).integers(0, 256, (2, 16, 32, 32, 3)).astype(np.float32)
    assert in_float32(model) is model
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = build_c3d(4, input_shape=(16, 32, 32, 3), width=0.1)
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(model.get_weights())
    np.testing.assert_array_equal(np.asarray(in_float32(mixed)(clips)), np.asarray(model(clips)))
