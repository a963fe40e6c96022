"""The formats of exported files. All else about a format is in utils/networks/formats/NAME.py."""

import os

FORMATS = {"onnx": ".onnx", "openvino": ".xml", "litert": ".tflite", "saved_model": "_saved_model"}  # end of file names
NOT_QUANTISED = ("saved_model",)
QUANTISED = "_int8"  # what names of exported files have after that of their source
EXPORTED_SUFFIXES = tuple(end for end in FORMATS.values() if end.startswith("."))  # of what runs without TensorFlow


def is_exported(path: str | os.PathLike) -> bool:
    """Return whether a path is named like an exported file or the folder of a SavedModel."""
    return os.fspath(path).endswith(tuple(FORMATS.values()))
