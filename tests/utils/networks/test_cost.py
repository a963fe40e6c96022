"""Computational cost, compared with published figures and with a count by hand."""

import keras
import pytest

from models.c3d import build_c3d
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


def test_time_per_clip_is_positive():
    model = build_student(3, input_shape=(16, 32, 32, 3), width=0.1)
    assert 0 < milliseconds_per_clip(model, runs=3) < 10_000
