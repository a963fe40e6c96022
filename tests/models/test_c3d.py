"""C3D as published: size, layer names, preprocessing and Sports-1M weights."""

import keras
import numpy as np
import pytest

from models.c3d import WEIGHT_LAYERS, build_c3d, scaled_width, set_sports1m_weights, split_at

SMALL = {"input_shape": (16, 32, 32, 3), "width": 0.125}


def test_full_size_matches_the_publication():
    """Published weights and results apply only if every layer has the published size."""
    model = build_c3d(487)
    assert model.count_params() == 79_991_015
    assert [layer.name for layer in model.layers if layer.weights] == list(WEIGHT_LAYERS)
    assert [int(rate * 10) for rate in dropout_rates(model)] == [3, 3, 3, 5, 5]


def test_other_sizes():
    assert build_c3d(101, block_dropout=0.0).count_params() == 78_409_573
    assert dropout_rates(build_c3d(5, **SMALL, block_dropout=0.0)) == [0.5, 0.5]
    assert [scaled_width(64, 0.5), scaled_width(64, 0.01), scaled_width(100, 1.0)] == [32, 8, 96]


def dropout_rates(model) -> list[float]:
    return [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]


def test_output_is_logits_and_input_is_0_to_255():
    """The loss would apply a second softmax; unscaled input would saturate the first layer."""
    model = build_c3d(4, **SMALL)
    clips = np.random.default_rng(0).integers(0, 256, (3, 16, 32, 32, 3), np.uint8)
    logits = np.asarray(model(clips))
    assert logits.dtype == np.float32
    assert not np.allclose(logits.sum(axis=1), 1)
    scaled = keras.Model(model.input, model.get_layer("preprocessing").output)
    np.testing.assert_allclose(np.asarray(scaled(clips)), clips / 127.5 - 1, atol=1e-5)


@pytest.mark.parametrize("shape", [(15, 112, 112, 3), (16, 31, 112, 3), (16, 112, 20, 3)])
def test_an_input_that_is_too_small_for_the_poolings_is_rejected(shape):
    with pytest.raises(ValueError, match="needs at least 16 frames of 32x32"):
        build_c3d(5, input_shape=shape, width=0.125)


def test_the_last_pooling_starts_at_the_first_pixel():
    """Sports-1M weights expect Caffe's rounding: 7 pixels pool to 4, padded at the far end."""
    model = build_c3d(5, input_shape=(16, 112, 112, 3), width=0.125)
    pooling = keras.Sequential([keras.Input((2, 7, 7, 64)), model.get_layer("pad5"), model.get_layer("pool5")])
    x = np.zeros((1, 2, 7, 7, 64), np.float32)
    x[0, 0, 0, 1, 0] = 1.0  # in the second window if the near end were padded
    x[0, 0, 6, 6, 1] = 1.0
    y = np.asarray(pooling(x))
    assert y.shape == (1, 1, 4, 4, 64)
    assert y[0, 0, 0, 0, 0] == 1.0
    assert y[0, 0, 3, 3, 1] == 1.0
    assert y.sum() == 2.0


def random_weights(model) -> dict:
    """Return random kernels and biases in the Sports-1M layout, with conv1 for BGR."""
    rng = np.random.default_rng(3)
    return {
        name: tuple(rng.normal(0, 0.05, variable.shape).astype("float32") for variable in model.get_layer(name).weights)
        for name in WEIGHT_LAYERS
    }


def test_sports1m_weights_predict_the_same_from_rgb_as_the_original_from_bgr():
    """The weights were trained on mean-subtracted BGR; RGB 0..255 must give the same predictions."""
    model = build_c3d(487, **SMALL, sports1m_preprocessing=True)
    weights = random_weights(model)
    set_sports1m_weights(model, weights)
    original = build_c3d(487, **SMALL)
    for name in WEIGHT_LAYERS:
        original.get_layer(name).set_weights(weights[name])
    original = keras.Model(original.get_layer("conv1").input, original.output)  # takes mean-subtracted BGR
    clips = np.random.default_rng(1).integers(0, 256, (2, 16, 32, 32, 3)).astype("float32")
    bgr = clips[..., ::-1] - np.array((90.25, 97.66, 101.41), "float32")  # means published with the weights
    np.testing.assert_allclose(np.asarray(model(clips)), np.asarray(original(bgr)), rtol=1e-3, atol=1e-4)


def test_the_classifier_keeps_its_weights_if_the_number_of_classes_differs():
    model = build_c3d(5, **SMALL, sports1m_preprocessing=True)
    classifier = model.get_layer("fc8").get_weights()
    weights = random_weights(build_c3d(487, **SMALL))
    set_sports1m_weights(model, weights)
    np.testing.assert_array_equal(model.get_layer("fc8").get_weights()[0], classifier[0])
    np.testing.assert_array_equal(model.get_layer("fc7").get_weights()[1], weights["fc7"][1])


def test_weights_of_another_width_are_rejected_before_any_is_set():
    model = build_c3d(487, **SMALL)
    before = model.get_layer("conv1").get_weights()[0]
    weights = random_weights(model)
    weights["fc7"] = (np.zeros((3, 3), np.float32), np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="layer fc7 needs"):
        set_sports1m_weights(model, weights)
    np.testing.assert_array_equal(model.get_layer("conv1").get_weights()[0], before)


@pytest.mark.parametrize("layer", ["conv2", "conv5a", "fc6", "fc8"])
def test_the_two_parts_of_a_split_model_compute_the_same_as_the_whole(layer):
    """Fine-tuning trains the second part on stored outputs of the first, but the whole model is saved."""
    model = build_c3d(5, **SMALL)
    frozen, trained = split_at(model, layer)
    clips = np.random.default_rng(2).integers(0, 256, (2, 16, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(
        np.asarray(trained(frozen(clips, training=False), training=False)),
        np.asarray(model(clips, training=False)),
        atol=1e-5,
    )
    assert frozen.count_params() + trained.count_params() == model.count_params()
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in frozen.layers[-1:])


@pytest.mark.parametrize("name", ["conv9", "clip"])
def test_a_missing_layer_is_named(name):
    """The input, `clip`, is not a layer to train from."""
    with pytest.raises(ValueError, match=rf"no layer {name}; it has preprocessing, .*fc8"):
        split_at(build_c3d(5, **SMALL), name)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_saved_model_is_complete(tmp_path, suffix):
    """The file must take RGB 0..255 in both formats, with the channel means in its first layer."""
    model = build_c3d(5, **SMALL, sports1m_preprocessing=True)
    path = tmp_path / f"c3d{suffix}"
    model.save(path)
    clips = np.random.default_rng(4).integers(0, 256, (2, 16, 32, 32, 3)).astype("float32")
    loaded = keras.models.load_model(path, compile=False)
    np.testing.assert_allclose(np.asarray(loaded(clips)), np.asarray(model(clips)), atol=1e-6)
