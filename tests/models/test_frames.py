"""Students of image networks: order of frames, averages, normalisation, preprocessing, files."""

import importlib

import keras
import numpy as np
import pytest

from models import BACKBONES, LITE0
from models.frames import application, backbone_of, backbone_variables, build_frames, normalisation_layers

SHAPE = (4, 32, 32, 3)
SMALL = {"input_shape": SHAPE, "width": 0.1}


@pytest.fixture
def clips():
    return np.random.default_rng(0).integers(0, 256, (2, *SHAPE)).astype(np.float32)


def with_random_weights(model):
    """Give each weight that starts at a constant a random value; return the model."""
    generator = np.random.default_rng(1)
    for variable in model.trainable_variables:
        if np.ptp(np.asarray(variable)) == 0:
            variable.assign(np.asarray(variable) + 0.3 * generator.normal(size=variable.shape))
    return model


def logits_of(model, clips):
    return np.asarray(model(clips, training=False))


@pytest.mark.parametrize(("mixing", "depends"), [("shift", True), ("convolution", True), ("none", False)])
def test_logits_depend_on_the_order_of_frames_only_with_mixing(clips, mixing, depends):
    """Without mixing, a network cannot tell an action from its reverse."""
    model = with_random_weights(build_frames(LITE0, 5, mixing=mixing, **SMALL))
    forwards, backwards = logits_of(model, clips), logits_of(model, clips[:, ::-1])
    difference = np.abs(forwards - backwards).max() / forwards.std()
    assert difference > 0.01 if depends else difference < 1e-5


def test_the_temporal_convolution_starts_as_an_average(clips):
    """Pretrained features would be disturbed at the start of training."""
    mixed, plain = (build_frames(LITE0, 5, mixing=mixing, **SMALL) for mixing in ("convolution", "none"))
    backbone_of(plain).set_weights(backbone_of(mixed).get_weights())
    found, expected = (
        np.asarray(keras.Model(model.input, model.get_layer("average").output)(clips)) for model in (mixed, plain)
    )
    assert found.std() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_training_starts_with_equal_probabilities(clips):
    """Training would first shrink random logits, which switches the units of the image network off."""
    np.testing.assert_array_equal(logits_of(build_frames(LITE0, 5, **SMALL), clips), np.zeros((2, 5)))


@pytest.mark.parametrize("mixing", ["shift", "convolution", "none"])
def test_a_single_frame_is_an_image(mixing):
    """A shift would replace a quarter of the channels of a single frame by zeros."""
    image = np.random.default_rng(0).integers(0, 256, (2, 1, 40, 24, 3)).astype(np.float32)
    model = with_random_weights(build_frames(LITE0, 5, input_shape=image.shape[1:], width=0.1, mixing=mixing))
    assert logits_of(model, image).shape == (2, 5)
    plain = build_frames(LITE0, 5, input_shape=image.shape[1:], width=0.1, mixing="none")
    if mixing == "shift":
        plain.set_weights(model.get_weights())
        np.testing.assert_array_equal(logits_of(model, image), logits_of(plain, image))


def test_logits_are_those_of_the_mean_features(clips):
    """Frames would be weighted differently, or clips mixed with each other."""
    model = with_random_weights(build_frames(LITE0, 5, **SMALL))
    features = np.stack([np.asarray(backbone_of(model)(clip, training=False)) for clip in clips])
    kernel, bias = (np.asarray(weight) for weight in model.get_layer("logits").weights)
    np.testing.assert_allclose(logits_of(model, clips), features.mean(axis=1) @ kernel + bias, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("pretrained", [True, False])
def test_normalisation_is_frozen_only_if_pretrained(clips, pretrained):
    """Few clips would replace the statistics of ImageNet; a network from scratch would keep those of its start."""
    model = build_frames(LITE0, 5, pretrained=pretrained, dropout=0.0, **SMALL)
    layers = normalisation_layers(backbone_of(model))
    before = [weight for layer in layers for weight in layer.get_weights()]
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.jit_compile = False
    for _ in range(2):  # the classifier starts at zero and passes no gradient in the first step
        model.train_on_batch(clips, np.array([0, 1]))
    after = [weight for layer in layers for weight in layer.get_weights()]
    equal = [np.array_equal(*pair) for pair in zip(before, after, strict=True)]
    assert all(equal) if pretrained else not any(equal)
    kernels = [variable for variable in backbone_variables(model) if variable.path.endswith("kernel")]
    assert len(kernels) == 49
    assert len(backbone_variables(model)) == (49 if pretrained else 49 + 2 * len(layers))


def test_dropout_is_scaled():
    for dropout, rates in [(1.0, [0.5]), (0.2, [0.1]), (0.0, [])]:
        model = build_frames(LITE0, 5, dropout=dropout, **SMALL)
        assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == rates


def test_frames_are_never_dropped():
    """With --dropout 0 EfficientNetV2 would still drop residual blocks, and of a clip for some frames only."""
    network = application("EfficientNetV2B0", SHAPE[1:])
    rates = [layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates
    assert not any(rates)


MODULES = {"MobileNet": "mobilenet", "MobileNetV2": "mobilenet_v2", "ResNet50V2": "resnet_v2"}
MODULES |= {"MobileNetV3Small": "mobilenet_v3", "MobileNetV3Large": "mobilenet_v3"}
MODULES |= {"EfficientNetV2B0": "efficientnet_v2"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in BACKBONES if name != LITE0])
def test_inputs_are_scaled_as_the_image_network_expects(clips, name):
    """Pretrained weights would be used on pixels in another range. Keras' own networks are the reference."""
    model = with_random_weights(build_frames(name, 5, input_shape=SHAPE, mixing="convolution"))
    preprocess = importlib.import_module(f"keras.applications.{MODULES[name]}").preprocess_input
    reference = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=SHAPE[1:], pooling="avg")
    reference.set_weights(backbone_of(model).get_weights())
    images = preprocess(clips.reshape(-1, *SHAPE[1:]).copy())
    expected = np.asarray(reference(images, training=False)).reshape(2, 4, -1)
    features = keras.Model(model.input, model.get_layer("features").output)
    found = np.asarray(features(clips, training=False))
    assert found.std(axis=(0, 1)).max() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * expected.std())


def test_saved_students_are_loaded_unchanged(clips, tmp_path):
    """Shifts, frozen layers and nested networks must survive in both formats."""
    model = with_random_weights(build_frames(LITE0, 5, mixing="shift", pretrained=True, **SMALL))
    for path in (tmp_path / "student.keras", tmp_path / "student.h5"):
        model.save(path)
        loaded = keras.models.load_model(path, compile=False)
        np.testing.assert_array_equal(logits_of(loaded, clips), logits_of(model, clips))
        assert len(loaded.trainable_variables) == len(model.trainable_variables)


@pytest.mark.parametrize(("pretrained", "momentum", "trainable"), [(False, 0.9, True), (True, 0.99, False)])
def test_statistics_follow_small_data_sets(pretrained, momentum, trainable):
    """With the momentum for millions of images, the statistics of a short training would still be the initial ones."""
    model = build_frames(LITE0, 5, pretrained=pretrained, **SMALL)
    found = {(layer.momentum, layer.trainable) for layer in normalisation_layers(backbone_of(model))}
    assert found == {(momentum, trainable)}
