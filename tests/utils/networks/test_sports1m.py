"""The Sports-1M weights: files in all Keras layouts, and errors that name a remedy."""

import hashlib
from http.client import HTTPException

import h5py
import numpy as np
import pytest

from models.c3d import WEIGHT_LAYERS, build_c3d
from utils.base.download import digest_path
from utils.base.errors import UserError
from utils.networks import sports1m
from utils.networks.sports1m import read_weights, weights_file


def random_weights(name):
    """Return a small kernel and bias that differ between layers."""
    rng = np.random.default_rng(WEIGHT_LAYERS.index(name))
    shape = (3, 3, 3, 2, 4) if name.startswith("conv") else (2, 4)
    return rng.normal(size=shape).astype("f4"), rng.normal(size=4).astype("f4")


def write_layout(path, kernel_name, bias_name, *, below=None, layers=WEIGHT_LAYERS):
    """Write a file like `save_weights` of Keras 1 and 2: a group per layer, with its arrays in `weight_names`."""
    with h5py.File(path, "w") as file:
        top = file.create_group(below) if below else file
        top.attrs["layer_names"] = [name.encode() for name in ("input_1", "pool1", *layers)]
        top.create_group("input_1").attrs["weight_names"] = []
        top.create_group("pool1").attrs["weight_names"] = []
        for name in layers:
            names = [kernel_name.format(name), bias_name.format(name)]
            group = top.create_group(name)
            group.attrs["weight_names"] = [text.encode() for text in names]
            for text, array in zip(names, random_weights(name)):
                group.create_dataset(text, data=array)
    return path


LAYOUTS = {
    "Keras 1": {"kernel_name": "{}_W:0", "bias_name": "{}_b:0"},
    "Keras 1 with a scope": {"kernel_name": "{0}/{0}_W:0", "bias_name": "{0}/{0}_b:0"},
    "Keras 2": {"kernel_name": "{}/kernel:0", "bias_name": "{}/bias:0"},
    "a second model in one session": {"kernel_name": "{}_1/kernel:0", "bias_name": "{}_1/bias:0"},
    "a whole model": {"kernel_name": "{}/kernel:0", "bias_name": "{}/bias:0", "below": "model_weights"},
    "a bias that sorts first": {"kernel_name": "{}/w:0", "bias_name": "{}/b:0"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layer_gets_its_own_kernel_and_bias(tmp_path, layout):
    """With exchanged weights of the same shape, training would still run, but with lower accuracy."""
    weights = read_weights(write_layout(tmp_path / "weights.h5", **LAYOUTS[layout]))
    assert list(weights) == list(WEIGHT_LAYERS)
    for name in WEIGHT_LAYERS:
        for found, expected in zip(weights[name], random_weights(name)):
            np.testing.assert_array_equal(found, expected)


def test_a_model_saved_by_the_installed_keras_is_read(tmp_path):
    """The layouts above are written by hand; Keras writes this file itself."""
    model = build_c3d(5, input_shape=(16, 32, 32, 3), width=0.1)
    model.save(tmp_path / "c3d.h5")
    for name, arrays in read_weights(tmp_path / "c3d.h5").items():
        for found, expected in zip(arrays, model.get_layer(name).get_weights()):
            np.testing.assert_array_equal(found, expected)


def write_text(path):
    path.write_text("hello")


def write_other(path):
    with h5py.File(path, "w") as file:
        file["conv1"] = np.arange(5)


def write_third_array(path):
    write_layout(path, **LAYOUTS["Keras 2"])
    with h5py.File(path, "a") as file:
        file["fc6/fc6/gamma:0"] = np.zeros(4)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (write_text, r"must be an HDF5 file of C3D weights"),
        (write_other, r"must hold kernel and bias of each C3D layer; layer conv1 is missing"),
        (lambda path: write_layout(path, **LAYOUTS["Keras 2"], layers=WEIGHT_LAYERS[:-2]), r"layer fc7 is missing"),
        (write_third_array, r"layer fc6 holds 3 arrays"),
    ],
)
def test_a_file_without_c3d_weights_is_rejected(tmp_path, write, message):
    path = tmp_path / "weights.h5"
    write(path)
    with pytest.raises(UserError, match=rf"^--weights: .*weights\.h5 .*{message}") as error:
        read_weights(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_teacher_of_this_project_is_rejected(tmp_path, suffix):
    """It takes RGB; flipping its first layer as for Sports-1M weights would silently lower the accuracy."""
    path = tmp_path / f"teacher{suffix}"
    build_c3d(5, input_shape=(16, 32, 32, 3), width=0.1).save(path)
    with pytest.raises(UserError, match=rf"^--weights: .*teacher\{suffix} must hold Sports-1M weights"):
        weights_file(path)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty Keras cache, and the digest of `CONTENT` as that of the published file."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(sports1m, "MD5", hashlib.md5(CONTENT).hexdigest())
    return tmp_path / "models" / "sports1M_weights_tf.h5"


CONTENT = b"weights"


@pytest.mark.parametrize(
    "problem", [TimeoutError(), ValueError("expected MD5 a, found b"), HTTPException("two\nlines")]
)
def test_a_failed_download_names_the_url_and_the_alternatives(monkeypatch, cache, problem):
    """The file can be downloaded on another machine; a user needs its URL and the argument for it."""

    def no_network(*_, **__):
        raise problem

    monkeypatch.setattr(sports1m, "download", no_network)
    with pytest.raises(UserError, match="could not be downloaded") as error:
        weights_file(None)
    assert "\n" not in str(error.value)
    for part in (sports1m.URL, "--weights", "--task train_local_teacher"):
        assert part in str(error.value)
    assert not cache.exists()


def test_the_file_is_downloaded_once_and_a_given_file_is_used(monkeypatch, cache, tmp_path):
    """320 MB would be downloaded for each training, or although the user has the file."""
    asked = []

    def downloaded(url, path, *, md5, limit):
        asked.append((url, md5, limit))
        path.parent.mkdir()
        path.write_bytes(CONTENT)

    monkeypatch.setattr(sports1m, "download", downloaded)
    (tmp_path / "given.h5").write_bytes(b"")
    assert weights_file(tmp_path / "given.h5") == tmp_path / "given.h5"
    assert sports1m.file_at_hand() is None
    assert not asked
    for _ in range(2):
        assert weights_file(None) == cache == sports1m.file_at_hand()
    assert asked == [(sports1m.URL, sports1m.MD5, sports1m.LARGEST)]
    assert sports1m.URL.startswith("https://")
    assert 320_000_000 < sports1m.LARGEST < 10**9


@pytest.mark.parametrize("has_digest", [True, False])
def test_a_downloaded_file_that_has_changed_is_refused(cache, has_digest):
    """A damaged file would be no better than random weights. Files of older versions have no SHA-256 next to them."""
    cache.parent.mkdir()
    cache.write_bytes(CONTENT)
    if has_digest:
        assert weights_file(None) == cache
        assert digest_path(cache).read_text().split() == [hashlib.sha256(CONTENT).hexdigest(), cache.name]
    cache.write_bytes(b"other weights")
    digest = "SHA-256" if has_digest else "MD5"
    with pytest.raises(UserError, match=rf"^--weights: .*, expected {digest} \w+, found \w+; delete it to download"):
        weights_file(None)
    assert cache.read_bytes() == b"other weights"
