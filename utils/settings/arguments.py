"""The argument groups that scripts share, and the settings that are filled from them."""

import argparse
import dataclasses

from utils.settings.argument_types import (
    clip_norm,
    existing_file,
    existing_folder,
    input_size,
    non_negative_float,
    non_negative_int,
    output_folder,
    positive_float,
    positive_int,
    seed,
    share,
)
from utils.settings.options import PRECISIONS, PROTOCOLS, DataOptions, NetworkOptions, TrainingOptions, ViewOptions

EPOCHS_HELP = "passes over the training clips"
SEED_HELP = "initialisation, order of batches, dropout"


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """--data, --annotations, --paths and how they are divided."""
    group = parser.add_argument_group("arrays")
    group.add_argument("--data", type=existing_file, required=True, help="frames.npy of video_to_frames.py")
    group.add_argument("--annotations", type=existing_file, required=True, help="labels.npy of video_to_frames.py")
    group.add_argument("--paths", type=existing_file, help="video_file_paths.npy; by default the one beside --data")


def add_split_arguments(parser: argparse.ArgumentParser, *, default: str | None) -> None:
    """--split and what it needs; `default` None where a record may know."""
    group = parser.add_argument_group("split")
    without = "" if default else "; without it the record of each recogniser says which clips are for testing"
    group.add_argument("--split", default=default, help=f"{PROTOCOLS}{without}")
    group.add_argument("--split_seed", type=seed, default=DataOptions.split_seed, help="who is in which set")
    group.add_argument("--split_dir", type=existing_folder, help="the official lists, for --split official:K")
    group.add_argument("--group_pattern", help="regular expression; what it captures in a path is the clip's group")


def add_synthetic_arguments(parser: argparse.ArgumentParser) -> None:
    """How many synthetic videos, and what they look like."""
    group = parser.add_argument_group("synthetic videos")
    group.add_argument("--classes", type=positive_int, default=10, help="kinds of action, an even number")
    group.add_argument("--subjects", type=positive_int, default=10, help="people; test people are never seen")
    group.add_argument("--clips", type=positive_int, default=6, help="clips of each action by each person")
    group.add_argument("--video_seed", type=seed, default=0, help="what the videos look like")
    group.add_argument("--clutter", type=non_negative_float, default=1.0, help="strength of the backdrop")
    group.add_argument("--noise", type=non_negative_float, default=5.0, help="of the sensor, in grey levels")
    group.add_argument("--jitter", type=non_negative_float, default=1.0, help="shaking of the camera")
    group.add_argument("--phase_spread", type=share, default=0.25, help="1: a motion starts anywhere in its loop")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The network's size."""
    group = parser.add_argument_group("network")
    defaults = NetworkOptions()
    group.add_argument(
        "--width", type=positive_float, default=defaults.width, help="multiplies filters and dense units"
    )
    group.add_argument(
        "--dropout",
        type=share,
        default=defaults.dropout,
        help="multiplies the dropout rates; small networks need less",
    )
    group.add_argument("--input_size", type=input_size, default="112", help="SIDE or HEIGHTxWIDTH of its input, pixels")
    group.add_argument("--input_frames", type=positive_int, default=defaults.input_frames, help="frames of its input")


def add_training_arguments(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """How a network is fitted; `several`: without the number of epochs and the seed, of which a script has several."""
    defaults = TrainingOptions()
    group = parser.add_argument_group("training")
    group.add_argument("--batch_size", type=positive_int, default=defaults.batch_size, help="clips a step")
    if not several:
        group.add_argument("--epochs", type=positive_int, default=defaults.epochs, help=EPOCHS_HELP)
        group.add_argument("--seed", type=seed, default=defaults.seed, help=SEED_HELP)
        group.add_argument("--max_minutes", type=positive_float, help="begins no epoch that would end later than this")
        group.add_argument("--tensorboard", type=output_folder, help="folder for TensorBoard scalars")
    group.add_argument("--learning_rate", type=positive_float, default=defaults.learning_rate, help="the peak rate")
    group.add_argument(
        "--schedule",
        choices=["cosine", "constant"],
        default=defaults.schedule,
        help="cosine: 10 %% linear warm-up, then cosine decay to 0",
    )
    group.add_argument(
        "--clip_norm",
        type=clip_norm,
        default=defaults.clip_norm,
        help="shortens longer gradients to this; none: does not",
    )
    group.add_argument(
        "--initialisation",
        choices=["data", "random"],
        default=defaults.initialisation,
        help="from scratch: data: weights scaled by some training clips, random: as drawn",
    )
    group.add_argument(
        "--weight_decay",
        type=non_negative_float,
        default=defaults.weight_decay,
        help="AdamW's, of kernels; 0: Adam",
    )
    group.add_argument(
        "--class_weights",
        choices=["none", "balanced"],
        default=defaults.class_weights,
        help="balanced: labels of rare classes weigh more",
    )
    group.add_argument("--patience", type=positive_int, help="ends after so many epochs without a better one")
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=defaults.precision,
        help="number format of training; auto: float32 on a CPU, what a GPU is fastest in",
    )
    group.add_argument("--keep_going", action="store_true", help="trains on where it seems hopeless")


def add_view_arguments(parser: argparse.ArgumentParser, *, views_help: str) -> None:
    """Which views of the clips training reads; `views_help` says what --views means to the script."""
    group = parser.add_argument_group("views: box, time window, flip and colour; the same for all frames of a clip")
    defaults = ViewOptions()
    group.add_argument("--views", type=non_negative_int, default=defaults.views, help=views_help)
    group.add_argument("--view_seed", type=seed, default=defaults.view_seed, help="what each view of a clip is")
    group.add_argument(
        "--no_flip", dest="flip", action="store_false", help="no mirrored views, where left and right are classes"
    )


def add_overwrite_argument(group) -> None:
    """--overwrite of the scripts that train."""
    group.add_argument("--overwrite", action="store_true", help="start anew where an unfinished training could go on")


def settings_by_name(args: argparse.Namespace, **kinds: type) -> dict:
    """One dataclass per keyword, filled by `options_of`, as keyword arguments of a stage."""
    return {name: options_of(kind, args) for name, kind in kinds.items()}


def options_of(kind: type, args: argparse.Namespace):
    """A dataclass of options.py filled from the arguments of the same names; others keep their defaults."""
    names = [field.name for field in dataclasses.fields(kind) if hasattr(args, field.name)]
    return kind(**{name: getattr(args, name) for name in names})
