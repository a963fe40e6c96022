"""The backend of Keras, as known before Keras is imported."""

import importlib.util
import sys

import pytest

from utils.base import backend
from utils.base.errors import UserError


@pytest.fixture(autouse=True)
def before_keras(monkeypatch, tmp_path):
    """Act as before the import of Keras, with an empty folder of its settings."""
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))


def test_the_environment_precedes_the_file_of_keras(monkeypatch, tmp_path):
    """Keras would compute with another backend than the one that was checked."""
    assert backend.backend() == "tensorflow"
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    assert backend.is_jax()
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert backend.backend() == "tensorflow"


@pytest.mark.parametrize("name", ["torch", "numpy", "tensorflo"])
def test_other_backends_are_refused(monkeypatch, name):
    """The training would fail in the first step, or Keras with a traceback."""
    monkeypatch.setenv("KERAS_BACKEND", name)
    with pytest.raises(UserError, match=f"KERAS_BACKEND: must be tensorflow or jax, got {name}"):
        backend.check_backend()


def test_a_missing_jax_is_named(monkeypatch):
    """The user is told which file of requirements to install."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"not installed: pip install -r requirements-jax\.txt"):
        backend.check_backend()
