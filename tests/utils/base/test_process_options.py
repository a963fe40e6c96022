"""The arguments of several processes, which are checked before anything is imported."""

import sys

import pytest

from tests.scripts import run_script
from utils.base import backend

ALL = {"--coordinator": "localhost:1234", "--num_processes": "2", "--process_id": "1"}
SCRIPTS = ("Teacher_training.py", "KD_training.py")


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """A function that returns the error of a script for arguments of several processes."""
    for name in ("frames.npy", "labels.npy"):
        (tmp_path / name).touch()

    def refused(script, given, *, name=backend.JAX):
        monkeypatch.setattr("utils.base.process_options.backend", lambda: name)
        monkeypatch.setattr("utils.base.process_options.is_jax", lambda: name == backend.JAX)
        arrays = ["--data", "frames.npy", "--annotations", "labels.npy"]
        words = [word for pair in given.items() for word in pair if word]
        return run_script(script, *arrays, *words, cwd=tmp_path, expect=2, clears_keras=False)

    return refused


@pytest.mark.parametrize("script", SCRIPTS)
def test_several_processes_need_jax(refused, script):
    """Each process would train the whole network by itself and write the same files."""
    assert refused(script, ALL, name="tensorflow") == (
        "error: --coordinator: needs KERAS_BACKEND=jax, got KERAS_BACKEND=tensorflow\n"
    )


@pytest.mark.parametrize("missing", ALL)
def test_the_arguments_go_together(refused, missing):
    """A process without a number would wait for the others for ever."""
    given = {name: value for name, value in ALL.items() if name != missing}
    assert refused(SCRIPTS[0], given) == f"error: {missing}: must be given with {', '.join(given)}\n"


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":1234", "localhost:0", "localhost:x", "host:65536"])
def test_an_address_has_a_host_and_a_port(refused, address):
    message = f"error: --coordinator: must be HOST:PORT, with a port from 1 to 65535, got {address}\n"
    assert refused(SCRIPTS[0], ALL | {"--coordinator": address}) == message


def test_processes_are_numbered_from_0(refused):
    """With ids from 1 to N, the last process would wait for one that does not exist."""
    message = "error: --process_id: must be below --num_processes 2, got 2\n"
    assert refused(SCRIPTS[1], ALL | {"--process_id": "2"}) == message


def test_views_are_written_by_one_process(refused):
    assert "--write_views: must go without --coordinator" in refused(SCRIPTS[1], ALL | {"--write_views": "views"})


def test_checking_imports_neither_jax_nor_keras(refused):
    """An error in the arguments appears at once."""
    before = set(sys.modules)
    refused(SCRIPTS[0], ALL | {"--process_id": "2"})
    assert not {"jax", "keras", "tensorflow"} & (set(sys.modules) - before)
