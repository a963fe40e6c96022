"""Pretrained weights of the image networks of frames students: --student_weights."""

import warnings
from pathlib import Path

import numpy as np

from models import LITE0
from utils.base.errors import UserError, first_line
from utils.base.files import digest, file_fingerprint
from utils.base.frame_students import IMAGENET, NO_WEIGHTS
from utils.networks.lite0_weights import checkpoint_file, set_torch_weights
from utils.networks.model_file import ModelFileError, check_arrays, memory_limit
from utils.networks.torch_checkpoint import read_checkpoint

IMAGENET_SHAPE = (224, 224, 3)


def weights_fingerprint(backbone: str | None, weights: str | Path) -> str | None:
    """Return what identifies the weights: the SHA-256 of a file, or of the name of a download; None for no weights.

    Raises UserError if the package with the weights of EfficientNet-Lite0 is missing.
    """
    import keras

    if weights == NO_WEIGHTS:
        return None
    if (path := weights_file(backbone, weights)) is not None:
        return file_fingerprint(path)
    return digest(f"keras.applications.{backbone} of Keras {keras.__version__}: {IMAGENET}".encode())


def weights_file(backbone: str, weights: str | Path) -> Path | None:
    """Return the file of the weights, or None if Keras downloads them.

    Raises UserError if the package with the ImageNet weights of EfficientNet-Lite0 is missing.
    """
    if weights != IMAGENET:
        return Path(weights)
    return checkpoint_file() if backbone == LITE0 else None


def set_backbone_weights(network, backbone: str, weights: str | Path) -> None:
    """Set the weights of an image network.

    Raises UserError if they cannot be downloaded, are of another network, are not all finite or not stored in the file.
    """
    path = weights_file(backbone, weights)
    if path is None:
        network.set_weights(downloaded(backbone).get_weights())
        return
    if weights == IMAGENET:
        set_torch_weights(network, read_checkpoint(path))
        return
    try:
        check_arrays(path, memory_limit(path))
        with warnings.catch_warnings(action="error"):  # Keras only warns of layers that a file does not contain
            network.load_weights(path)
        for variable in network.variables:
            if not np.isfinite(variable).all():
                raise ModelFileError(f"its weights {variable.path} hold NaN or infinite values")
    except Exception as error:  # Keras raises many types for a file that holds no weights, or those of another network
        raise UserError(
            f"--student_weights: {path} must hold the weights of {backbone} without its classifier "
            f"({first_line(error)})"
        ) from None


def downloaded(backbone: str):
    """Return a network of keras.applications with ImageNet weights, which Keras downloads once.

    Raises UserError if the download fails.
    """
    from models.frames import application

    try:
        return application(backbone, IMAGENET_SHAPE, weights=IMAGENET)
    except Exception as error:  # from urllib, timeouts or a wrong checksum
        raise UserError(
            f"--student_weights imagenet: the weights of {backbone} could not be downloaded ({first_line(error)}); "
            f"--student frames:{LITE0} works offline"
        ) from None
