"""Networks beyond the memory are refused before their weights are allocated."""

import keras
import pytest

from models.c3d import build_c3d
from models.student import build_student
from utils.base.errors import UserError
from utils.networks import memory
from utils.networks.memory import weights_within_memory

SHAPE = (16, 32, 32, 3)


@pytest.fixture(autouse=True)
def _on_a_cpu(monkeypatch):
    monkeypatch.setattr(memory, "has_gpu", lambda: False)


@pytest.mark.parametrize("builder", [build_c3d, build_student])
def test_huge_networks_are_refused_at_once(builder, monkeypatch):
    """The operating system would kill the process after minutes, without a message."""
    monkeypatch.setattr(memory, "memory_limit", lambda: 10**9)
    add_weight = keras.layers.Layer.add_weight
    for width, side in ((100, 32), (0.1, 100_000)):
        with (
            pytest.raises(UserError, match=r"^--width and --input_size: .* must fit into the 1\.0 GB") as error,
            weights_within_memory(),
        ):
            builder(3, input_shape=(16, side, side, 3), width=width)
        assert "\n" not in str(error.value)
    assert keras.layers.Layer.add_weight is add_weight


def test_the_limit_is_that_of_the_trained_weights(monkeypatch):
    """Networks that fit would be refused, or those that do not fit be built."""
    with weights_within_memory():
        needed = 16 * build_student(3, input_shape=SHAPE, width=0.1).count_params()
    monkeypatch.setattr(memory, "memory_limit", lambda: needed)
    with weights_within_memory():
        build_student(3, input_shape=SHAPE, width=0.1)
    monkeypatch.setattr(memory, "memory_limit", lambda: needed - 1)
    with pytest.raises(UserError, match=r"but the weights need at least 0\.0 GB"), weights_within_memory():
        build_student(3, input_shape=SHAPE, width=0.1)


def test_other_errors_pass():
    """A too small input would be reported as a lack of memory."""
    with pytest.raises(ValueError, match="small"), weights_within_memory():
        raise ValueError("small")
