"""Fixtures of the trainings on JAX."""

import pytest

from tests.conftest import write_arrays


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """Arrays whose 9 validation clips do not fill batches of 4."""
    return write_arrays(tmp_path_factory.mktemp("data") / "arrays", height=32, width=32, clips=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")
