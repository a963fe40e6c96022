"""The record next to a model: which data it was trained on, so that test clips stay unseen."""

import json
from pathlib import Path

import numpy as np
import pytest

from utils.base import devices
from utils.base.devices import installed_versions
from utils.base.options import DataOptions, TrainingOptions
from utils.data.clips import open_clips
from utils.data.protocols import make_split
from utils.runs.records import make_record, record_path, recorded_split, same_clips


@pytest.fixture
def dataset(make_arrays):
    folder = make_arrays(height=32, width=32)
    return open_clips(folder / "frames.npy", folder / "labels.npy")


def record_of(dataset, split):
    return make_record(
        dataset,
        split,
        input_shape=(16, 32, 32, 3),
        options=[DataOptions(Path("f.npy"), Path("l.npy")), TrainingOptions(seed=4)],
        kept={"epoch": 3, "loss": 0.1, "val_loss": 0.5, "val_accuracy": 0.75},
        history_path=Path("logs/hist.npy"),
    )


def test_a_split_is_restored_from_json(dataset):
    """eval.py tests on these rows; with wrong rows it would test on training clips."""
    split = make_split(dataset.labels, dataset.paths, class_names=dataset.class_names, protocol="logo:2")
    record = json.loads(json.dumps(record_of(dataset, split), allow_nan=False))
    back = recorded_split(record)
    assert (back.protocol, back.split_seed, back.notes) == (split.protocol, split.split_seed, split.notes)
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(back, name), getattr(split, name))
        assert getattr(back, name).dtype == np.int64
    assert record["class_names"] == ["Class0", "Class1", "Class2"]
    assert record["arguments"]["seed"] == 4
    assert record["arguments"]["data"] == "f.npy"
    assert (record["kept_epoch"], record["validation"]) == (3, {"val_loss": 0.5, "val_accuracy": 0.75})
    assert record["history"] == "logs/hist.npy"


def test_the_same_videos_with_another_frame_size_are_the_same_clips(dataset, make_arrays):
    """A teacher at 112 pixels and a student at 64 pixels have the same test clips."""
    split = make_split(dataset.labels, dataset.paths, class_names=dataset.class_names)
    record = record_of(dataset, split)
    folder = make_arrays("larger", height=40, width=48)
    assert same_clips(record, open_clips(folder / "frames.npy", folder / "labels.npy"))
    folder = make_arrays("more", groups=6)
    assert not same_clips(record, open_clips(folder / "frames.npy", folder / "labels.npy"))


def test_without_paths_the_frames_are_compared(make_arrays):
    """Many sets of videos have the same labels, for example five clips of each class."""
    folders = [make_arrays(name, height=32, width=32, seed=seed) for name, seed in (("a", 0), ("b", 1))]
    for folder in folders:
        (folder / "video_file_paths.npy").unlink()
    one, other = (open_clips(folder / "frames.npy", folder / "labels.npy") for folder in folders)
    record = record_of(one, make_split(one.labels, None, class_names=one.class_names))
    assert same_clips(record, one)
    assert not same_clips(record, other)


def test_versions_of_installed_packages(monkeypatch):
    """A package with another name, such as tensorflow-cpu, must not make saving the record fail."""
    assert installed_versions()["numpy"] == np.__version__
    monkeypatch.setattr(devices, "PACKAGES", ("numpy", "no-such-package"))
    assert list(installed_versions()) == ["numpy"]


def test_the_record_is_next_to_its_model():
    assert record_path("a/student.v2.h5") == Path("a/student.v2.json")
