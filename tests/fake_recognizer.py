"""Recognisers with given scores instead of a network."""

from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from utils.networks.recognizer import Recognizer
from utils.runs.record_schema import digest_of_rows
from utils.runs.records import split_record


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


def record_of(dataset, split) -> dict:
    """Return the parts of a record that show which clips a recogniser has seen."""
    return {
        "class_names": list(dataset.class_names),
        "split": split_record(split),
        "arrays": dataset.fingerprint(),
        "arguments": {"group_pattern": None},
    }


def valid_record(*, class_names=("a", "b", "c"), input_shape=(16, 32, 32, 3), **fields) -> dict:
    """Return a complete record of a training on nine clips without paths, but for the fingerprint of the model."""
    rows = {"train": [0, 1, 2, 3], "validation": [4, 5], "test": [6, 8]}
    return {
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
