"""The record next to a model file: its data, its settings and its validation metrics."""

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from utils.base.devices import installed_versions
from utils.base.files import escaped, plain
from utils.data.clips import ClipDataset
from utils.data.protocols import Split
from utils.data.split_lists import SETS
from utils.runs.record_schema import FORMAT, digest_of_rows


def record_path(model_path: str | os.PathLike) -> Path:
    """Return the path of a model's record: the same name with .json."""
    return Path(model_path).with_suffix(".json")


def make_record(
    dataset: ClipDataset,
    split: Split,
    *,
    input_shape: Sequence[int],
    options: Sequence,
    kept: dict[str, float],
    history_path: Path,
) -> dict:
    """Return the common content of all records (record_schema.py).

    `options` are dataclasses, `kept` is the kept row of the history. A validation metric that is not finite is None.
    """
    return {
        "format": FORMAT,
        "class_names": list(dataset.class_names),
        "input": {"shape": list(input_shape), "channels": "rgb", "range": "0..255", "sampling": "middles"},
        "split": split_record(split),
        "arrays": dataset.fingerprint(),
        "arguments": {name: item for group in options for name, item in plain(asdict(group)).items()},
        "kept_epoch": kept["epoch"],
        "validation": plain({name: value for name, value in kept.items() if name.startswith("val_")}),
        "history": escaped(str(history_path)),
        "versions": {"python": platform.python_version()} | installed_versions(),
    }


def split_record(split: Split) -> dict:
    """Return a split as plain values: protocol, seed, notes, digest of the test rows, and the rows of each set."""
    return {
        "protocol": split.protocol,
        "split_seed": split.split_seed,
        "notes": list(split.notes),
        "test": digest_of_rows(split.test),
        "rows": split_rows(split),
    }


def split_rows(split: Split) -> dict[str, list[int]]:
    """Return the row numbers of a split by set."""
    return {name: getattr(split, name).tolist() for name in SETS}


def recorded_split(record: dict) -> Split:
    """Return the split in a record. Raises KeyError if there is none."""
    split = record["split"]
    rows = {name: np.array(split["rows"][name], np.int64) for name in SETS}
    return Split(split["protocol"], split["split_seed"], **rows, notes=tuple(split["notes"]))


def same_clips(record: dict, dataset: ClipDataset) -> bool:
    """Return whether the row numbers in a record refer to the same clips in `dataset`.

    They do if labels and paths are equal, at any frame size. Without paths the frames have to be equal as well.
    """
    known, found = record["arrays"], dataset.fingerprint()
    if dataset.paths is None:
        return known == found
    return known["shape"][0] == found["shape"][0] and all(known[part] == found[part] for part in ("labels", "paths"))
