"""--student_weights: files, downloads, and errors of one line."""

import h5py
import keras
import numpy as np
import pytest

from models.efficientnet_lite import build_efficientnet_lite0
from models.frames import application, backbone_of
from utils.base.errors import UserError
from utils.networks import backbone_weights
from utils.networks.backbone_weights import weights_fingerprint
from utils.networks.student_builders import student_builder

SIZE = {"input_shape": (2, 32, 32, 3), "width": 1.0, "dropout": 1.0}


@pytest.fixture(scope="module")
def lite0(tmp_path_factory):
    """A file of random weights of EfficientNet-Lite0 and the arrays that it holds."""
    network = build_efficientnet_lite0((64, 64, 3))
    path = tmp_path_factory.mktemp("weights") / "lite0.weights.h5"
    network.save_weights(path)
    return path, network.get_weights()


def test_a_file_sets_all_weights_of_the_image_network(lite0):
    """Layers would keep random weights, or get those of others, also with shifts and another input size."""
    path, expected = lite0
    student = student_builder("frames:efficientnet_lite0", mixing="shift", weights=path)(3, **SIZE)
    for found, array in zip(backbone_of(student).get_weights(), expected, strict=True):
        np.testing.assert_array_equal(found, array)


def test_weights_of_another_network_are_rejected_in_one_line(lite0, tmp_path):
    """A student with half of the weights would be trained for hours."""
    path, _ = lite0
    (tmp_path / "empty.weights.h5").touch()
    other = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)]).save_weights(other)
    cases = [("MobileNetV3Small", path), ("efficientnet_lite0", other)]
    cases += [("efficientnet_lite0", tmp_path / "empty.weights.h5")]
    for backbone, file in cases:
        with pytest.raises(
            UserError, match=rf"^--student_weights: .*{file.name} must hold the weights of {backbone} wi"
        ) as raised:
            student_builder(f"frames:{backbone}", weights=file)(3, **SIZE)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("flaw", ["NaN or infinite values", "is a link to data elsewhere"])
def test_a_damaged_or_hostile_file_is_rejected(lite0, tmp_path, flaw):
    """A student would be trained from NaN, or with numbers of another file of the user."""
    path, _ = lite0
    file = tmp_path / "copy.weights.h5"
    file.write_bytes(path.read_bytes())
    with h5py.File(file, "r+") as weights:
        names = []
        weights.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        if "NaN" in flaw:
            weights[names[0]][...] = np.nan
        else:
            del weights[names[0]]
            weights[names[0]] = h5py.ExternalLink(str(path), names[0])
    with pytest.raises(UserError, match=rf"^--student_weights: .* must hold the weights of .* \(its .* {flaw}\)$"):
        student_builder("frames:efficientnet_lite0", weights=file)(3, **SIZE)


def test_weights_of_keras_applications_are_set(tmp_path, monkeypatch):
    """A student would start from random weights, or at another input size than the downloaded network."""
    source = application("MobileNetV3Small", (64, 64, 3))
    monkeypatch.setattr(backbone_weights, "downloaded", lambda backbone: source)
    source.save_weights(tmp_path / "mobile.weights.h5")
    for weights in ("imagenet", tmp_path / "mobile.weights.h5"):
        student = student_builder("frames:MobileNetV3Small", mixing="convolution", weights=weights)(3, **SIZE)
        for found, array in zip(backbone_of(student).get_weights(), source.get_weights(), strict=True):
            np.testing.assert_array_equal(found, array)
    assert weights_fingerprint("MobileNetV3Small", "imagenet") != weights_fingerprint("MobileNetV2", "imagenet")


def test_a_failed_download_is_an_error_of_one_line(monkeypatch):
    """On a machine without internet access, Keras raises a traceback."""

    def fails(*args, **settings):
        assert settings["weights"] == "imagenet"
        raise Exception("URL fetch failure on https://storage.googleapis.com/...: None -- timed out\nmore")

    monkeypatch.setattr(keras.applications, "MobileNetV2", fails)
    with pytest.raises(UserError, match=r"^--student_weights imagenet: the weights of MobileNetV2 could not be down"):
        backbone_weights.downloaded("MobileNetV2")


def test_no_weights_have_no_fingerprint():
    """Keys of other students must stay as they are."""
    assert weights_fingerprint(None, "none") is None
