"""Model files from elsewhere run no code, read and write no other file, and cannot fill the memory."""

import contextlib
import json
import os
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from models.c3d import WEIGHT_LAYERS
from tests.hostile_models import (
    CANARY,
    SUFFIXES,
    WEIGHT_CHANGES,
    code_of,
    names_of_models,
    network,
    parts_of,
    plant_modules,
    write_hostile,
    write_parts,
    write_secret,
)
from tests.scripts import run_script
from utils.base.errors import UserError
from utils.base.files import file_fingerprint
from utils.networks.recognizer import load_recognizer
from utils.networks.sports1m import read_weights, weights_file
from utils.runs.paths import record_path

MOST_MEMORY = 400  # MB


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """A valid model file for each suffix."""
    folder, model = tmp_path_factory.mktemp("valid"), network()
    for suffix in SUFFIXES:
        model.save(folder / f"valid{suffix}")
    return {suffix: folder / f"valid{suffix}" for suffix in SUFFIXES}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with modules and a file that must not be touched. It is the current folder and on Python's path."""
    folder = tmp_path / "x"
    folder.mkdir()
    plant_modules(folder)
    write_secret(folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    return folder


@contextlib.contextmanager
def unchanged(root):
    """Check that the block creates, changes and deletes no file below `root`, and imports no planted module."""

    def files():
        return {path: path.stat().st_mtime_ns for path in root.rglob("*")}

    before = files()
    yield
    assert files() == before
    assert not Path(CANARY).exists()
    assert not {"planted_layers", "keras_cv", "keras_hub", "keras_nlp"} & set(sys.modules)


@contextlib.contextmanager
def memory_bounded():
    """Check that the peak memory of the process grows by less than MOST_MEMORY in the block, if the system can tell."""

    def memory(field):
        return int(Path("/proc/self/status").read_text().partition(f"{field}:")[2].split()[0]) / 1000

    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts from the present use
    except OSError:
        yield
        return
    before = memory("VmRSS")
    yield
    assert memory("VmHWM") - before < MOST_MEMORY


def test_valid_models_are_loaded(valid):
    """The checks would refuse every file."""
    for path in valid.values():
        assert load_recognizer(path, argument="--source").num_classes == 3


@pytest.mark.parametrize("name", names_of_models())
def test_a_hostile_model_is_refused(valid, folder, name):
    """A model from the internet could run code, copy or overwrite files, or make the machine unusable."""
    path = write_hostile(name, valid, folder)
    with unchanged(folder.parent), memory_bounded(), pytest.raises(UserError) as raised:
        load_recognizer(path, argument="--source")
    message = str(raised.value)
    assert message.startswith(f"--source: {path} must be a complete Keras model, but loading it failed: ")
    assert "\n" not in message
    assert len(message) < 800


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_loss_of_a_compiled_model_is_not_read(valid, folder, suffix):
    """A model compiled with a loss of its own could run code, or could not be used as a teacher."""
    path = folder / f"model{suffix}"
    path.write_bytes(valid[suffix].read_bytes())
    config, weights = parts_of(path)
    compiled = {"optimizer": "adam", "loss": code_of(folder), "metrics": [code_of(folder)]}
    write_parts(path, config | {"compile_config": compiled}, weights)
    if suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["training_config"] = json.dumps({"loss": code_of(folder), "optimizer_config": code_of(folder)})
    with unchanged(folder.parent):
        assert load_recognizer(path, argument="--source").num_classes == 3


def test_layers_that_the_program_has_registered_are_loaded(tmp_path):
    """A user's own layers, imported by --student, could not be loaded from the files that training saves."""

    @keras.saving.register_keras_serializable("own")
    class Doubled(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    inner = network()
    clips = keras.Input(inner.input_shape[1:])
    keras.Model(clips, Doubled()(inner(clips))).save(tmp_path / "own.keras")
    assert load_recognizer(tmp_path / "own.keras", argument="--source").num_classes == 3


@pytest.mark.parametrize("name", ["lambda layer .keras", "kernel in another file .h5", "folder .keras"])
def test_the_scripts_refuse_a_hostile_teacher(valid, folder, make_arrays, name):
    """A script could end with a traceback, or load the model before it is checked."""
    arrays = make_arrays()
    path = write_hostile(name, valid, folder)
    error = run_script(
        *("KD_training.py", "--data", arrays / "frames.npy", "--annotations", arrays / "labels.npy"),
        *("--source", path, "--output_path", "student.keras", "--log_path", "log"),
        cwd=folder,
        expect=2,
    )
    assert error.splitlines()[-1].startswith("error: --source: ")
    assert "Traceback" not in error
    assert not (folder / CANARY).exists()
    assert not (folder / "student.keras").exists()


RECORDS = {
    "nested 100,000 deep": "[" * 100_000 + "]" * 100_000,
    "a list": "[1, 2]",
    "no class names": "{}",
    "a number as class names": '{"class_names": 3}',
    "other class names than outputs": '{"class_names": ["a", "b"]}',
    "equal class names": '{"class_names": ["a", "a", "b"]}',
}


@pytest.mark.parametrize("content", RECORDS.values(), ids=RECORDS)
def test_a_malformed_record_is_refused(valid, tmp_path, content):
    """Evaluation would end with a traceback, or report the accuracy of wrong classes."""
    path = tmp_path / "model.keras"
    path.write_bytes(valid[".keras"].read_bytes())
    if content.startswith("{"):
        content = json.dumps({"fingerprint": file_fingerprint(path), **json.loads(content)})
    record_path(path).write_text(content)
    with pytest.raises(UserError, match=r"model\.json") as raised:
        load_recognizer(path, argument="--recognizer")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("change", [name for name in WEIGHT_CHANGES if "shape" not in name and "not num" not in name])
def test_hostile_weights_of_sports1m_are_refused(folder, change):
    """A weights file from the internet could read other files, or make the machine unusable."""
    path = folder / "weights.h5"
    with h5py.File(path, "w") as file:
        for name in WEIGHT_LAYERS:
            file[f"{name}/kernel"], file[f"{name}/bias"] = np.zeros((4, 3), "f4"), np.zeros(3, "f4")
        WEIGHT_CHANGES[change](file, "conv1/kernel", folder)
    with unchanged(folder.parent), memory_bounded(), pytest.raises(UserError) as raised:
        read_weights(weights_file(path))
    assert str(raised.value).startswith(f"--weights: {path} must ")
    assert "\n" not in str(raised.value)


def test_an_archive_bomb_as_sports1m_weights_is_refused(valid, folder):
    """Reading the configuration of a network from the archive could fill the memory."""
    path = write_hostile("configuration of 50 MB .keras", valid, folder)
    with memory_bounded(), pytest.raises(UserError, match=r"^--weights: .*model\.keras must ") as raised:
        read_weights(weights_file(path))
    assert "\n" not in str(raised.value)
    assert os.path.getsize(path) > 50_000_000
