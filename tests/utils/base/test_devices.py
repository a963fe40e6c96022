"""The choice of devices on a machine without GPUs; tests/two_devices covers several."""

import pytest

from utils.base.devices import mirrored_strategy, training_devices
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


def test_several_devices_need_tensorflow(monkeypatch):
    """A training with another backend of Keras would silently run on one device."""
    monkeypatch.setattr("keras.config.backend", lambda: "jax")
    assert training_devices(1) == ["CPU:0"]
    with pytest.raises(UserError, match=r"^--devices: must be 1 with Keras' backend jax, got all$"):
        training_devices("all")
