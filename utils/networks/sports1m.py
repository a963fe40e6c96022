"""Download and read the Sports-1M weights of C3D."""

import zipfile
from http.client import HTTPException
from pathlib import Path

import numpy as np

from utils.base.devices import keras_downloads
from utils.base.download import download, require_unchanged
from utils.base.errors import UserError, first_line
from utils.networks.model_file import CONFIG, CONFIG_LIMIT, ModelFileError, check_arrays, memory_limit

URL = "https://github.com/adamcasson/c3d/releases/download/v0.1/sports1M_weights_tf.h5"
MD5 = "b7a93b2f9156ccbebe3ca24b41fc5402"  # the only digest that was published
LARGEST = 400_000_000  # bytes; the file has 320 MB


def published_file() -> Path:
    """Return where the published file is kept: the Keras cache."""
    return keras_downloads() / URL.rpartition("/")[2]


def file_at_hand() -> Path | None:
    """Return the published file, or None if it has not been downloaded."""
    path = published_file()
    return path if path.is_file() else None


def weights_file(given: Path | None) -> Path:
    """Return the file of `--weights`, or the published file, downloaded once into the Keras cache (320 MB).

    Raises UserError if the download fails, if the downloaded file has changed, or if the given file is a network of
    this project.
    """
    if given is not None:
        if is_own_network(given):
            raise UserError(
                f"--weights: {given} must hold Sports-1M weights for BGR input, found a model with RGB input as "
                "saved by Teacher_training.py"
            )
        return given
    path = published_file()
    if path.is_file():
        try:
            require_unchanged(path, md5=MD5)
        except ValueError as error:
            raise UserError(
                f"--weights: {path} must be the file that was downloaded, {error}; delete it to download it again, or "
                "pass it as --weights to use it as it is"
            ) from None
        return path
    try:
        download(URL, path, md5=MD5, limit=LARGEST)
    except (OSError, ValueError, HTTPException) as error:
        raise UserError(
            f"--weights: the Sports-1M weights could not be downloaded ({first_line(error)}); download {URL} on "
            "another machine and pass the file as --weights, or use --task train_local_teacher"
        ) from None
    return path


def is_own_network(path: Path) -> bool:
    """Return whether a file is a C3D or student of this project, whose first layer is `preprocessing`."""
    import h5py

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if CONFIG not in archive.namelist() or archive.getinfo(CONFIG).file_size > CONFIG_LIMIT:
                return False
            return b'"preprocessing"' in archive.read(CONFIG)
    try:
        with h5py.File(path, "r") as file:
            return "preprocessing" in file.get("model_weights", file)
    except OSError:  # not an HDF5 file, which `read_weights` reports
        return False


def read_weights(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read kernel and bias by layer name from a Keras weights file (.h5), for `models.c3d.set_sports1m_weights`.

    Layers may be at the top level of the file or below `model_weights`. Raises UserError if the file is not HDF5, or
    has no kernel and bias for a layer of C3D.
    """
    import h5py

    from models.c3d import WEIGHT_LAYERS

    try:
        check_arrays(path, memory_limit(path))
        with h5py.File(path, "r") as file:
            layers = file.get("model_weights", file)
            return {name: kernel_and_bias(layers, name) for name in WEIGHT_LAYERS}
    except (OSError, ModelFileError) as error:
        raise UserError(f"--weights: {path} must be an HDF5 file of C3D weights ({first_line(error)})") from None
    except KeyError as error:
        raise UserError(f"--weights: {path} must hold kernel and bias of each C3D layer; {error.args[0]}") from None


def kernel_and_bias(layers, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the two arrays of a layer's group, at any depth; the kernel has more axes than the bias."""
    import h5py

    if not isinstance(layers.get(name), h5py.Group):
        raise KeyError(f"layer {name} is missing")
    found = []
    layers[name].visititems(lambda _, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    if len(found) != 2:
        raise KeyError(f"layer {name} holds {len(found)} arrays")
    bias, kernel = sorted(found, key=lambda array: array.ndim)
    return kernel, bias
