"""Arrays opened, checked and divided: what every stage after the first begins with."""

import json

from utils.data.clips import ClipDataset, open_clips
from utils.runtime.errors import UserError
from utils.runtime.run_log import log_only
from utils.settings.options import DataOptions
from utils.splits.protocols import Split, make_split


def open_data(data: DataOptions, input_shape: tuple[int, int, int, int]) -> tuple[ClipDataset, Split]:
    """Opens the arrays, divides them, and says what was found. Raises UserError if the clips are too short."""
    dataset = open_clips(data.data, data.annotations, data.paths)
    check_length(data, dataset, input_shape)
    clips, length, height, width, _ = dataset.frames.shape
    split = split_of(data, dataset)
    print(f"{clips} clips of {length} frames {height}x{width} (HxW) in {len(dataset.class_names)} classes: {data.data}")
    print(
        f"split {split.protocol}: {len(split.train)} train, {len(split.validation)} validation, {len(split.test)} test"
    )
    log_only(f"arrays: {json.dumps(dataset.fingerprint())}")
    for note in split.notes:
        print(f"note: {note}")
    return dataset, split


def check_length(data: DataOptions, dataset: ClipDataset, input_shape: tuple[int, int, int, int]) -> None:
    """Raises UserError if the stored clips have fewer frames than a model takes."""
    if dataset.frames.shape[1] < input_shape[0]:
        raise UserError(
            f"--data: {data.data} holds clips of {dataset.frames.shape[1]} frames, the model takes {input_shape[0]}"
        )


def split_of(data: DataOptions, dataset: ClipDataset) -> Split:
    """The split that `data` names, of `dataset`."""
    return make_split(
        dataset.labels,
        dataset.paths,
        class_names=dataset.class_names,
        protocol=data.split,
        split_seed=data.split_seed,
        group_pattern=data.group_pattern,
        split_dir=data.split_dir,
    )
