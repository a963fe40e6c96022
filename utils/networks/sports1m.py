"""The Sports-1M weights of C3D: where to get the file, and how to read it."""

import os
import zipfile
from pathlib import Path

import numpy as np

from utils.runtime.errors import UserError, first_line

URL = "https://github.com/adamcasson/c3d/releases/download/v0.1/sports1M_weights_tf.h5"
MD5 = "b7a93b2f9156ccbebe3ca24b41fc5402"


def file_at_hand() -> Path | None:
    """The published file, if it has been downloaded into the Keras cache."""
    folder = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    path = folder / "models" / URL.rpartition("/")[2]
    return path if path.is_file() else None


def weights_file(given: Path | None) -> Path:
    """The file given by `--weights`, or the published one, downloaded once into the Keras cache (320 MB).

    Raises UserError with the way out if there is no network, or if the given file is a teacher of this project.
    """
    if given is not None:
        if is_own_network(given):
            raise UserError(
                f"--weights: {given} must be a file of Sports-1M weights for BGR input, found a network that scales "
                "its RGB input itself, as Teacher_training.py saves it"
            )
        return given
    import keras

    try:
        return Path(keras.utils.get_file(origin=URL, file_hash=MD5, hash_algorithm="md5", cache_subdir="models"))
    except Exception as error:  # urllib, timeouts, a wrong checksum: the way out is the same
        raise UserError(
            f"--weights: the Sports-1M weights could not be downloaded ({first_line(error)}); get {URL} on a "
            "machine with a network and name the file with --weights, or use --task train_local_teacher"
        ) from None


def is_own_network(path: Path) -> bool:
    """Whether a file is a C3D or student of this project: its first layer scales the input (models/c3d.py)."""
    import h5py

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return "config.json" in archive.namelist() and '"preprocessing"' in archive.read("config.json").decode()
    try:
        with h5py.File(path, "r") as file:
            return "preprocessing" in file.get("model_weights", file)
    except OSError:  # no HDF5 file: `read_weights` will say so
        return False


def read_weights(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Kernel and bias by layer name from a Keras weights file (.h5), as `models.c3d.set_sports1m_weights` takes them.

    Both layouts of such files are read: layers at the top, or below `model_weights`. Raises UserError if a layer of C3D
    is missing.
    """
    import h5py

    from models.c3d import WEIGHT_LAYERS

    try:
        with h5py.File(path, "r") as file:
            layers = file.get("model_weights", file)
            return {name: kernel_and_bias(layers, name) for name in WEIGHT_LAYERS}
    except OSError as error:
        raise UserError(f"--weights: {path} must be an HDF5 file of C3D weights ({first_line(error)})") from None
    except KeyError as error:
        raise UserError(f"--weights: {path} must hold kernel and bias of each C3D layer; {error.args[0]}") from None


def kernel_and_bias(layers, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The two arrays of a layer's group, however deep they lie; the kernel is the one with more axes."""
    import h5py

    if not isinstance(layers.get(name), h5py.Group):
        raise KeyError(f"layer {name} is missing")
    found = []
    layers[name].visititems(lambda _, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    if len(found) != 2:
        raise KeyError(f"layer {name} holds {len(found)} arrays")
    bias, kernel = sorted(found, key=lambda array: array.ndim)
    return kernel, bias
