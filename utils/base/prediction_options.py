"""The settings of predict.py: each field states name, default, help and type of the argument that sets it."""

from dataclasses import dataclass
from pathlib import Path

from utils.base.argument_types import (
    existing_file,
    input_size,
    non_negative_float,
    positive_float,
    positive_int,
    share,
)
from utils.base.options import CHANNELS, INPUT_SCALES
from utils.base.setting import setting

RUN_PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class PredictionOptions:
    """How recognisers are applied to videos. What a record states is not set by an argument.

    `threshold` None stands for the calibrated threshold of the record. `sequence_length` and `frame_size` are those of
    stage 1; None stands for the input of the model.
    """

    views: int = setting(1, "number of views of each video whose probabilities are averaged", type=positive_int)
    threshold: float | None = setting(
        None,
        'predict "no action" if the highest probability is below this value; 0 never does; by default the '
        "calibrated threshold in the record",
        type=share,
    )
    short_videos: str = setting(
        "skip",
        "videos with too few frames; repeat: play them again from the start, hold: hold the last frame",
        choices=("skip", "repeat", "hold"),
    )
    batch_size: int = setting(16, "clips per forward pass", type=positive_int)
    threads: int | None = setting(
        None, "threads of an exported model per call, by default one per core", type=positive_int
    )
    precision: str = setting(
        "auto",
        "number format of an OpenVINO model; auto: bfloat16 if the CPU has it and export.py has verified it",
        choices=RUN_PRECISIONS,
    )
    class_names: Path | None = setting(
        None, "for a model without a record: text file with one class name per line", type=existing_file
    )
    channels: str = setting("rgb", "channel order that a model without a record expects", choices=CHANNELS)
    input_scale: str = setting(
        "0..255", "range of input values that a model without a record expects", choices=tuple(INPUT_SCALES)
    )
    sequence_length: int | None = setting(
        None, "for a model without a record: --sequence_length of stage 1", type=positive_int
    )
    frame_size: tuple[int, int] | None = setting(
        None, "for a model without a record: frame size of stage 1, SIDE or HEIGHTxWIDTH in pixels", type=input_size
    )


@dataclass(frozen=True)
class TimelineOptions:
    """Windows and segments of a long video, in seconds. None stands for the default that the help text states."""

    window: float | None = setting(
        None,
        "length of a window in seconds, by default the median of the training clips in the record, else 2",
        type=positive_float,
    )
    stride: float | None = setting(
        None, "seconds between the starts of windows, by default a quarter of the window", type=positive_float
    )
    smoothing: float | None = setting(
        None,
        "seconds over which probabilities are averaged, by default the length of a window; 0: no smoothing",
        type=non_negative_float,
    )
    min_segment: float | None = setting(
        None,
        "segments shorter than this many seconds are merged with a neighbour, by default half a window",
        type=non_negative_float,
    )
