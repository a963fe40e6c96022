"""The choice of devices on a machine without GPUs; tests/two_devices covers several."""

import numpy as np
import pytest

from utils.base import machine
from utils.base.devices import mirrored_strategy, start_tensorflow, training_devices
from utils.base.errors import UserError


def test_one_device_needs_no_strategy():
    """Trainings on one device would be slower, or end with other weights than before."""
    assert training_devices(1) == training_devices("all") == ["CPU:0"]
    assert mirrored_strategy(1) is mirrored_strategy("all") is None


def test_more_devices_than_there_are_are_refused():
    """A training that is expected on four GPUs would run on one CPU."""
    expected = r"^--devices: must be at most 1, as TensorFlow finds no GPU and 1 CPU device, got 4$"
    with pytest.raises(UserError, match=expected):
        training_devices(4)
    with pytest.raises(UserError, match=expected):
        mirrored_strategy(4)


def test_other_backends_are_refused(monkeypatch):
    """A training by JAX or PyTorch would end in a traceback after its arguments were accepted."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(UserError, match=r"^KERAS_BACKEND: must be tensorflow, got jax$"):
        start_tensorflow()


def test_versions_of_installed_packages(monkeypatch):
    """A package with another name, such as tensorflow-cpu, must not make saving the record fail."""
    assert machine.installed_versions()["numpy"] == np.__version__
    monkeypatch.setattr(machine, "PACKAGES", ("numpy", "no-such-package"))
    assert list(machine.installed_versions()) == ["numpy"]
