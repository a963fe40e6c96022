"""The backend of Keras, TensorFlow or JAX, known before Keras is imported."""

import importlib.util
import json
import os
import sys
from pathlib import Path

from utils.base.errors import UserError

TENSORFLOW, JAX = "tensorflow", "jax"
VARIABLE = "KERAS_BACKEND"


def backend() -> str:
    """Return the name of the backend: that of the imported Keras, or the one that it will choose.

    Keras chooses the environment variable KERAS_BACKEND, then `backend` in its file keras.json, then TensorFlow.
    """
    if "keras" in sys.modules:
        return sys.modules["keras"].config.backend()
    return os.environ.get(VARIABLE) or _backend_in_file() or TENSORFLOW


def is_jax() -> bool:
    """Return whether Keras computes with JAX."""
    return backend() == JAX


def check_backend() -> None:
    """Raise UserError if Keras is set to a backend that the project does not support or that is not installed."""
    name = backend()
    if name not in (TENSORFLOW, JAX):
        raise UserError(f"{VARIABLE}: must be {TENSORFLOW} or {JAX}, got {name}")
    if name == JAX and importlib.util.find_spec("jax") is None:
        raise UserError(
            f"{VARIABLE}=jax needs the package jax, which is not installed: pip install -r requirements-jax.txt"
        )


def require_tensorflow(what: str) -> None:
    """Raise UserError that starts with `what`, which runs on TensorFlow only, if Keras is set to another backend."""
    if backend() != TENSORFLOW:
        raise UserError(f"{what} needs {VARIABLE}={TENSORFLOW}, got {VARIABLE}={backend()}")


def _backend_in_file() -> str | None:
    file = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "keras.json"
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return found.get("backend") if isinstance(found, dict) else None
