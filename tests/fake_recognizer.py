"""Recognisers with given scores instead of a network."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from utils.base.options import DataOptions
from utils.base.schemas import checked
from utils.networks.recognizer import Recognizer, save_model
from utils.runs.clips import digest_of_rows
from utils.runs.record import FORMAT, Record, make_record


@dataclass
class FakeModel:
    """The attributes of a Keras model that the code reads: shapes, size, layers; its graph multiplies nothing."""

    num_classes: int
    frames: int = 16

    @property
    def input_shape(self):
        return (None, self.frames, 32, 32, 3)

    @property
    def output_shape(self):
        return (None, self.num_classes)

    def count_params(self):
        return 123

    def predict_on_batch(self, clips):
        return np.zeros((len(clips), self.num_classes))

    def __call__(self, clips, training=None):
        return keras.ops.zeros((len(clips), self.num_classes))


@dataclass(frozen=True)
class FakeRecognizer(Recognizer):
    """Returns `scores[row] + v` as the logits for view v of clip `row`; `asked` collects the rows."""

    scores: np.ndarray | None = None
    asked: list = field(default_factory=list)

    def logits(self, dataset, rows, *, batch_size=16, view=0, options=None):
        self.asked.extend(np.asarray(rows).tolist())
        return self.scores[rows] + view


def fake_recognizer(path, *, num_classes=3, frames=16, record=None, scores=None) -> FakeRecognizer:
    return FakeRecognizer(Path(path), FakeModel(num_classes, frames), record, scores)


def record_of(dataset, split, **about) -> Record:
    """Return the record of a student that was trained on these clips; `about` are further fields."""
    options = [DataOptions(dataset.frames.path, dataset.frames.path.with_name("labels.npy"), group_pattern=None)]
    record = make_record(
        dataset,
        split,
        input_shape=(16, 32, 32, 3),
        options=options,
        kept={"epoch": 1, "val_accuracy": 0.5},
        history_path=Path("history.npy"),
        fingerprint="0" * 64,
        kind="student",
    )
    return record.changed(**about)


def record_content(*, class_names=("a", "b", "c"), input_shape=(16, 32, 32, 3), **fields) -> dict:
    """Return the JSON of a record of a training on nine clips without paths."""
    rows = {"train": [0, 1, 2, 3], "validation": [4, 5], "test": [6, 8]}
    return {
        "format": FORMAT,
        "fingerprint": "0" * 64,
        "kind": "student",
        "class_names": list(class_names),
        "input": {"shape": list(input_shape), "channels": "rgb", "range": "0..255", "sampling": "middles"},
        "split": {
            "protocol": "random",
            "split_seed": 0,
            "notes": ["a note"],
            "test": digest_of_rows(rows["test"]),
            "rows": rows,
        },
        "arrays": {"shape": [9, 16, 32, 32, 3], "labels": "1" * 64, "paths": "", "content": f"xxh3_128:{2:032x}"},
        "arguments": {"group_pattern": None},
        "kept_epoch": 2,
        "validation": {"val_accuracy": 0.5, "val_loss": 1.0},
        "history": "history.npy",
        "versions": {"keras": "3"},
        **fields,
    }


def valid_record(**fields) -> Record:
    """Return the record of `record_content`."""
    return checked(json.dumps(record_content(**fields)), Record, what="record")


def save_recognizer(model, path, record: Record) -> None:
    """Write a model with its record."""
    record.changed(fingerprint=save_model(model, path)).save(path)


def recorded_test(**fields) -> dict:
    """Return the entry "test" of `valid_record`: one of its two test clips is recognised."""
    return {
        "protocol": "random, seed 0",
        "clips": 2,
        "views": 1,
        "interval": [0.25, 0.75],
        "method": "Wilson",
        "caution": "",
        "top5": None,
        "classes": [{"clips": 1, "correct": 1}, {"clips": 1, "correct": 0}, {"clips": 0, "correct": 0}],
        "seen": 0,
        "unknown": [],
        "leaking": 0,
        "milliseconds_per_clip": 12.5,
        "batch_size": 16,
        "threads": 2,
        "hardware": "2 cores of a processor, 8 GiB, no GPU",
        **fields,
    }
