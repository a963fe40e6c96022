"""The Sports-1M weights: files in every layout that Keras has written, and errors with a way out."""

import h5py
import keras
import numpy as np
import pytest

from models.c3d import WEIGHT_LAYERS, build_c3d
from utils.networks import sports1m
from utils.networks.sports1m import read_weights, weights_file
from utils.runtime.errors import UserError


def made_up(name):
    """Kernel and bias of a layer, small and different for each."""
    rng = np.random.default_rng(WEIGHT_LAYERS.index(name))
    shape = (3, 3, 3, 2, 4) if name.startswith("conv") else (2, 4)
    return rng.normal(size=shape).astype("f4"), rng.normal(size=4).astype("f4")


def write_layout(path, kernel_name, bias_name, *, below=None, layers=WEIGHT_LAYERS):
    """A file as `save_weights` of Keras 1 and 2 writes it: a group a layer, its arrays named in `weight_names`."""
    with h5py.File(path, "w") as file:
        top = file.create_group(below) if below else file
        top.attrs["layer_names"] = [name.encode() for name in ("input_1", "pool1", *layers)]
        top.create_group("input_1").attrs["weight_names"] = []
        top.create_group("pool1").attrs["weight_names"] = []
        for name in layers:
            names = [kernel_name.format(name), bias_name.format(name)]
            group = top.create_group(name)
            group.attrs["weight_names"] = [text.encode() for text in names]
            for text, array in zip(names, made_up(name)):
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
def test_every_layout_gives_each_layer_its_own_kernel_and_bias(tmp_path, layout):
    """A layer with another's weights of the same shape would train on, only worse."""
    weights = read_weights(write_layout(tmp_path / "weights.h5", **LAYOUTS[layout]))
    assert list(weights) == list(WEIGHT_LAYERS)
    for name in WEIGHT_LAYERS:
        for found, expected in zip(weights[name], made_up(name)):
            np.testing.assert_array_equal(found, expected)


def test_a_whole_model_of_this_keras_is_read(tmp_path):
    """The layouts above are made by hand; this one is what Keras writes itself."""
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
def test_a_file_of_something_else_is_named(tmp_path, write, message):
    path = tmp_path / "weights.h5"
    write(path)
    with pytest.raises(UserError, match=rf"^--weights: .*weights\.h5 .*{message}") as error:
        read_weights(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_teacher_of_ours_is_refused(tmp_path, suffix):
    """Its first layer takes RGB: turned round as Sports-1M's is, it would train on, only worse."""
    path = tmp_path / f"teacher{suffix}"
    build_c3d(5, input_shape=(16, 32, 32, 3), width=0.1).save(path)
    with pytest.raises(UserError, match=rf"^--weights: .*teacher\{suffix} must be a file of Sports-1M weights"):
        weights_file(path)


@pytest.mark.parametrize("problem", [TimeoutError(), Exception("URL fetch failure\non two lines")])
def test_without_a_network_the_way_out_is_told(monkeypatch, problem):
    """The file can be fetched on another machine; a user must learn where it is and which flag takes it."""

    def no_network(**_):
        raise problem

    monkeypatch.setattr(keras.utils, "get_file", no_network)
    with pytest.raises(UserError, match="could not be downloaded") as error:
        weights_file(None)
    assert "\n" not in str(error.value)
    for part in (sports1m.URL, "--weights", "--task train_local_teacher"):
        assert part in str(error.value)


def test_the_download_is_checked_and_a_given_file_is_not_downloaded(monkeypatch, tmp_path):
    """A damaged download would train as random weights do."""
    asked = {}
    monkeypatch.setattr(keras.utils, "get_file", lambda **settings: asked.update(settings) or str(tmp_path / "got.h5"))
    assert weights_file(tmp_path / "given.h5") == tmp_path / "given.h5"
    assert not asked
    assert weights_file(None) == tmp_path / "got.h5"
    assert (asked["origin"], asked["file_hash"], asked["hash_algorithm"]) == (sports1m.URL, sports1m.MD5, "md5")
