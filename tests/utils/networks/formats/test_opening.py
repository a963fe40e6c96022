"""Exported files of each format compute what the network computes."""

import importlib
import json
from dataclasses import replace

import numpy as np
import pytest

from tests.exported_files import SUFFIXES, logits_of, probabilities_of, random_clips, write_exported
from utils.base.errors import UserError
from utils.networks.exported import ExportedModel
from utils.networks.formats.opening import open_runtime


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_scores_are_those_of_the_network(tmp_path, suffix):
    """Predictions would be wrong: OpenVINO computes in bfloat16 by default, which errs by 1 %."""
    clips = random_clips()
    for temperature in (None, 2.5):
        path = write_exported(tmp_path / f"net{suffix}", temperature=temperature)
        runtime = open_runtime(path, threads=1)
        assert (runtime.input_shape, runtime.num_classes, runtime.is_dynamic) == ((16, 32, 32, 3), 3, True)
        expected = logits_of(clips) if temperature is None else probabilities_of(clips, temperature)
        for batch in (clips, clips[:1], clips[:3]):
            found = runtime(batch)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected[: len(batch)], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_network_of_one_clip_is_called_once_per_clip(tmp_path, suffix):
    """A file with a fixed batch could not be applied to several videos."""
    runtime = open_runtime(write_exported(tmp_path / f"net{suffix}", shape=(1, 16, 32, 32, 3)), threads=1)
    assert not runtime.is_dynamic
    clips = random_clips()
    np.testing.assert_allclose(runtime(clips), logits_of(clips), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_results_of_earlier_calls_stay(tmp_path, suffix):
    """The scores of one batch would be overwritten by the next one."""
    runtime, clips = open_runtime(write_exported(tmp_path / f"net{suffix}"), threads=1), random_clips()
    first = runtime(clips[:1])
    runtime(clips[1:2])
    np.testing.assert_allclose(first, logits_of(clips[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_metadata(tmp_path, suffix):
    """A file without its .json would lose class names and calibration."""
    about = {"class_names": ["à", "b", "c"], "temperature": 1.25}
    runtime = open_runtime(write_exported(tmp_path / f"net{suffix}", metadata=about), threads=1)
    assert json.loads(runtime.metadata) == about
    assert open_runtime(write_exported(tmp_path / f"plain{suffix}"), threads=1).metadata is None


def test_zeros_of_integers_stand_for_half_a_step(tmp_path):
    """The loss of an int8 file would be ten times that of its float32 file, by 69 nats for each zero."""
    runtime = open_runtime(write_exported(tmp_path / "net.onnx", temperature=1.0), threads=1)
    rounded = replace(runtime, step=1 / 256, run=lambda clips: np.array([[255, 0, 0], [128, 127, 0]], np.float32) / 256)
    found = ExportedModel(rounded, temperature=2.0).predict_on_batch(random_clips(2))
    expected = np.log([[1, 1 / 1024, 1 / 1024], [128 / 255, 127 / 255, 1 / 512]])
    np.testing.assert_allclose(found, 2 * expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_package_is_named_with_the_way_to_install_it(tmp_path, monkeypatch, suffix):
    """Whoever has installed requirements.txt only would get a traceback."""
    path, imported = write_exported(tmp_path / f"net{suffix}"), importlib.import_module

    def missing(name):
        if name.startswith("utils."):
            return imported(name)
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UserError, match=r"net\.\w+ needs the package \w+.*: pip install -r requirements-export.txt$"):
        open_runtime(path)
