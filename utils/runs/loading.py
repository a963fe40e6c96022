"""Load and split the arrays of stage 1, the first step of every later stage."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.base.errors import UserError
from utils.base.files import digest
from utils.base.options import DataOptions
from utils.base.run_log import log_only
from utils.base.text import counted
from utils.data.clips import ClipDataset, open_clips, with_unlabelled
from utils.data.protocols import Split, make_split, parse_protocol
from utils.runs.seen import sets_of_model


@dataclass(frozen=True)
class SplitDataset:
    """A dataset with its split into training, validation and test clips."""

    dataset: ClipDataset
    split: Split


def load(data: DataOptions, input_shape: tuple[int, int, int, int], unlabelled: Sequence[Path] = ()) -> SplitDataset:
    """Open the arrays, split them and print both. Raises UserError if the clips are too short for `input_shape`.

    `unlabelled` are further frames.npy, whose clips are in no set of the split.
    """
    dataset = with_unlabelled(open_clips(data.data, data.annotations, data.paths), unlabelled)
    check_length(data, dataset, input_shape)
    clips, length, height, width, _ = dataset.frames.shape
    split = split_of(data, dataset)
    size = f"{counted(length, 'frame')} {height}x{width} (HxW)"
    classes = counted(len(dataset.class_names), "class", "classes")
    print(f"{counted(clips, 'clip')} of {size} in {classes}: {data.data}")
    print(
        f"split {split.protocol}: {len(split.train)} train, {len(split.validation)} validation, {len(split.test)} test"
    )
    for part in dataset.unlabelled:
        print(f"{len(part)} unlabelled clips: {part.frames.path}")
    log_only(f"arrays: {json.dumps(dataset.fingerprint())}")
    for note in split.notes:
        print(f"note: {note}")
    return SplitDataset(dataset, split)


def check_length(data: DataOptions, dataset: ClipDataset, input_shape: tuple[int, int, int, int]) -> None:
    """Raise UserError if the stored clips have fewer frames than `input_shape`."""
    if dataset.frames.shape[1] < input_shape[0]:
        raise UserError(
            f"--data: {data.data} holds clips of {dataset.frames.shape[1]} frames, the model takes {input_shape[0]}"
        )


def split_of(data: DataOptions, dataset: ClipDataset) -> Split:
    """Return the split of `dataset` that `data` describes."""
    kind, model = parse_protocol(data.split)
    return make_split(
        dataset.labels,
        dataset.paths,
        class_names=dataset.class_names,
        protocol=data.split,
        split_seed=data.split_seed,
        group_pattern=data.group_pattern,
        split_dir=data.split_dir,
        known=sets_of_model(Path(model), argument=f"--split {data.split}") if kind == "like" else None,
    )


def unlabelled_files(loaded: SplitDataset) -> dict[str, str]:
    """Return the digests of the unlabelled clips by argument, for the settings of a training."""
    parts = enumerate(loaded.dataset.unlabelled, start=1)
    return {f"--unlabelled {number}": digest(json.dumps(part.fingerprint()).encode()) for number, part in parts}
