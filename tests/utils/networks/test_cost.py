"""Computational cost, compared with published figures and with a count by hand."""

import keras
import numpy as np
import pytest

from models.c3d import build_c3d
from models.frames import build_frames
from models.student import build_student, build_student_gap
from utils.networks.cost import milliseconds_per_clip, multiply_accumulates


def test_the_published_networks():
    """The method claims 1/25 of the arithmetic: 1.50 instead of 38.55 billion (38.57 with biases)."""
    assert multiply_accumulates(build_c3d(101)) / 1e9 == pytest.approx(38.547, abs=0.001)
    assert multiply_accumulates(build_student(101)) / 1e9 == pytest.approx(1.502, abs=0.001)
    assert multiply_accumulates(build_student_gap(101)) == 1_495_659_136


def test_a_nested_model_counted_by_hand():
    inner = keras.Sequential([keras.Input((4, 6, 6, 3)), keras.layers.Conv3D(5, 3, padding="same")])
    inputs = keras.Input((4, 6, 6, 3))
    model = keras.Model(inputs, keras.layers.Dense(7)(keras.layers.Flatten()(inner(inputs))))
    assert multiply_accumulates(model) == 4 * 6 * 6 * 5 * 27 * 3 + 4 * 6 * 6 * 5 * 7


def test_layers_of_frames_count_once_per_frame():
    """A frames student of four frames would seem four times cheaper, and a depthwise convolution too expensive."""
    model = build_frames("efficientnet_lite0", 5, input_shape=(4, 64, 96, 3), mixing="convolution", width=0.5)
    per_frame = 0
    for layer in model.get_layer("backbone").layers:
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            per_frame += int(np.prod(layer.output.shape[1:])) * layer.kernel_size[0] ** 2
        elif isinstance(layer, keras.layers.Conv2D):
            per_frame += int(np.prod(layer.output.shape[1:])) * layer.kernel_size[0] ** 2 * layer.input.shape[-1]
    features = model.get_layer("features").output.shape[-1]
    mixing = 4 * 3 * 2 * features * (features // 8)
    assert multiply_accumulates(model) == 4 * per_frame + mixing + 5 * features


def test_the_image_network_has_the_measured_cost():
    """Four frames of 224 pixels cost 1.54 billion multiply-accumulates."""
    model = build_frames("efficientnet_lite0", 101, input_shape=(4, 224, 224, 3))
    assert multiply_accumulates(model) / 1e9 == pytest.approx(1.54, abs=0.005)


def test_wrapped_layers_and_attention_counted_by_hand():
    """The cost of a user's own student would lack the layers in wrappers."""
    clips = keras.Input((4, 6, 8, 3))
    x = keras.layers.TimeDistributed(keras.layers.Conv2D(5, 3))(clips)  # (4, 4, 6, 5)
    x = keras.layers.TimeDistributed(keras.layers.GlobalAveragePooling2D())(x)  # (4, 5)
    x = keras.layers.MultiHeadAttention(num_heads=2, key_dim=3)(x, x)  # (4, 5)
    x = keras.layers.EinsumDense("...x,xy->...y", output_shape=7)(x)
    model = keras.Model(clips, keras.layers.GlobalAveragePooling1D()(x))
    projections, products = 4 * 4 * 5 * 2 * 3, 2 * 2 * 4 * 4 * 3
    assert multiply_accumulates(model) == 4 * 4 * 6 * 5 * 27 + projections + products + 4 * 5 * 7


def test_time_per_clip_is_positive():
    model = build_student(3, input_shape=(16, 32, 32, 3), width=0.1)
    assert 0 < milliseconds_per_clip(model, runs=3) < 10_000
