"""The compact students: published sizes, dropout rates and input sizes."""

import keras
import numpy as np

from models.student import build_student, build_student_gap


def test_full_size_matches_the_publication():
    """The method claims a tenth of C3D's parameters."""
    assert build_student(101).count_params() == 7_298_405
    assert build_student(5).count_params() == 7_200_005
    dense = [build_student(101).get_layer(name).count_params() for name in ("fc6", "fc7")]
    assert sum(dense) / 7_298_405 > 0.86


def test_global_average_pooling_leaves_an_eighth_of_the_parameters():
    """Larger frames must not need more parameters."""
    assert build_student_gap(101).count_params() == 913_381
    model = build_student_gap(5, input_shape=(16, 64, 80, 3), width=0.1, dropout=0.5)
    assert model.count_params() == build_student_gap(5, width=0.1).count_params()
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.1, 0.1, 0.1]
    assert np.asarray(model(np.zeros((2, 16, 64, 80, 3), np.uint8))).shape == (2, 5)


def test_dropout_rates_and_smallest_width():
    model = build_student(5, width=0.1)
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.2, 0.2, 0.2, 0.5, 0.5]
    assert model.get_layer("conv1").filters == 8


def test_dropout_is_scaled():
    """With the published rates, narrow networks hardly learn from scratch."""
    model = build_student(5, width=0.1, dropout=0.5)
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.1, 0.1, 0.1, 0.25, 0.25]
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in build_student(5, width=0.1, dropout=0.0).layers)


def test_any_frame_size_from_32_pixels_gives_logits():
    """Odd and non-square sizes must not fail in the last pooling."""
    for shape in [(16, 32, 32, 3), (17, 50, 67, 3), (32, 112, 64, 3)]:
        model = build_student(3, input_shape=shape, width=0.1)
        assert np.asarray(model(np.zeros((2, *shape), np.uint8))).shape == (2, 3)
