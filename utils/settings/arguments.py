"""Argument groups that several scripts share, and the conversion of parsed arguments to options."""

import argparse
import dataclasses

from models import STUDENTS
from utils.settings.argument_types import (
    clip_norm,
    existing_file,
    existing_folder,
    input_size,
    non_negative_float,
    non_negative_int,
    output_folder,
    output_stem,
    positive_float,
    positive_int,
    seed,
    share,
    student,
)
from utils.settings.options import (
    PRECISIONS,
    PROTOCOLS,
    DataOptions,
    NetworkOptions,
    TrainingOptions,
    ViewOptions,
)

EPOCHS_HELP = "number of passes over the training clips"
CHANNELS_HELP = "channel order that a model without a record expects"
VIEWS_HELP = "number of augmented views per clip, in addition to the original"
SCALES_HELP = "range of input values that a model without a record expects"


def add_data_arguments(parser: argparse.ArgumentParser):
    """Add --data, --annotations and --paths; returns their group."""
    group = parser.add_argument_group("arrays")
    group.add_argument("--data", type=existing_file, required=True, help="frames.npy written by video_to_frames.py")
    group.add_argument("--annotations", type=existing_file, required=True, help="labels.npy next to it")
    group.add_argument("--paths", type=existing_file, help="video_file_paths.npy, by default the one next to --data")
    return group


def add_unlabelled_argument(group) -> None:
    """Add --unlabelled."""
    group.add_argument(
        "--unlabelled",
        type=existing_file,
        nargs="+",
        default=[],
        help="frames.npy of further clips, from which students learn without labels",
    )


def add_split_arguments(parser: argparse.ArgumentParser, *, default: str | None) -> None:
    """Add --split and its settings. With `default` None, the split is that of each recogniser's record."""
    group = parser.add_argument_group("split into training, validation and test clips")
    without = "" if default else "; by default the test clips in the record of each recogniser"
    group.add_argument("--split", default=default, metavar="PROTOCOL", help=f"{PROTOCOLS}{without}")
    group.add_argument("--split_seed", type=seed, default=DataOptions.split_seed, help="seed of the split")
    group.add_argument("--split_dir", type=existing_folder, help="folder of the official lists, for official:K")
    group.add_argument("--group_pattern", metavar="REGEX", help="regular expression that captures the group in a path")


def add_synthetic_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the number and appearance of the synthetic videos."""
    group = parser.add_argument_group("synthetic videos")
    group.add_argument("--classes", type=positive_int, default=10, help="number of action classes, an even number")
    group.add_argument("--subjects", type=positive_int, default=10, help="number of people")
    group.add_argument("--clips", type=positive_int, default=6, help="clips per action and person")
    group.add_argument("--video_seed", type=seed, default=0, help="seed for rendering")
    group.add_argument("--clutter", type=non_negative_float, default=1.0, help="amount of background clutter")
    group.add_argument("--noise", type=non_negative_float, default=5.0, help="sensor noise in grey levels")
    group.add_argument("--jitter", type=non_negative_float, default=1.0, help="strength of the camera shake")
    group.add_argument("--phase_spread", type=share, default=0.25, help="randomness of the start of a motion, 0 to 1")


def add_model_arguments(parser: argparse.ArgumentParser, *, with_student: bool = False) -> None:
    """Add the size of the network, and --student if `with_student`."""
    group = parser.add_argument_group("network")
    if with_student:
        add_student_argument(group)
    group.add_argument("--width", type=positive_float, default=1.0, help="multiplier of filters and dense units")
    group.add_argument("--dropout", type=share, default=1.0, help="multiplier of the dropout rates")
    group.add_argument("--input_size", type=input_size, default="112", help="SIDE or HEIGHTxWIDTH in pixels")
    group.add_argument("--input_frames", type=positive_int, default=NetworkOptions.input_frames, help="frames per clip")


def add_student_argument(group) -> None:
    """Add --student."""
    names = ", ".join(STUDENTS)
    group.add_argument(
        "--student", type=student, default="compact3d", help=f"{names}, or package.module:function for your own"
    )


def add_training_arguments(parser: argparse.ArgumentParser, *, epochs: int | None) -> None:
    """Add the settings of training. `epochs` is the default; with None, arguments of a single training are left out."""
    defaults = TrainingOptions()
    group = parser.add_argument_group("training")
    if epochs is not None:
        group.add_argument("--epochs", type=positive_int, default=epochs, help=EPOCHS_HELP)
        group.add_argument(
            "--seed", type=seed, default=defaults.seed, help="seed of initialisation, batch order and dropout"
        )
    group.add_argument("--batch_size", type=positive_int, default=defaults.batch_size, help="clips per step")
    group.add_argument(
        "--learning_rate", type=positive_float, default=defaults.learning_rate, help="peak learning rate"
    )
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
        help='clip the global gradient norm to this value ("none" disables clipping)',
    )
    group.add_argument(
        "--weight_decay",
        type=non_negative_float,
        default=defaults.weight_decay,
        help="decoupled weight decay of kernels (AdamW); 0 means Adam",
    )
    group.add_argument(
        "--initialisation",
        choices=["data", "random"],
        default=defaults.initialisation,
        help="data: rescale the random initial weights, based on some training clips",
    )
    group.add_argument(
        "--class_weights",
        choices=["none", "balanced"],
        default=defaults.class_weights,
        help="balanced: weight the loss inversely to class frequency",
    )
    group.add_argument(
        "--keep",
        choices=["last", "best"],
        default=defaults.keep,
        help="epoch whose weights are kept; best: highest validation accuracy, as always after an early stop",
    )
    group.add_argument("--patience", type=positive_int, help="stop after this many epochs without improvement")
    if epochs is not None:
        group.add_argument(
            "--max_minutes", type=positive_float, help="time budget; no epoch is started that would exceed it"
        )
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=defaults.precision,
        help="auto: float32 on a CPU, 16-bit mixed precision on a GPU that supports it",
    )
    group.add_argument("--keep_going", action="store_true", help="do not stop a failing training run")
    if epochs is not None:
        group.add_argument("--tensorboard", type=output_folder, help="write TensorBoard scalars to this folder")


def add_view_arguments(parser: argparse.ArgumentParser, *, views_help: str) -> None:
    """Add the settings of augmentation. `views_help` explains what --views means in the script."""
    group = parser.add_argument_group(
        "augmentation (crop, time window, flip and colour, the same for all frames of a clip)"
    )
    defaults = ViewOptions()
    group.add_argument("--views", type=non_negative_int, default=defaults.views, help=views_help)
    group.add_argument("--view_seed", type=seed, default=defaults.view_seed, help="seed of the augmented views")
    group.add_argument(
        "--no_flip", dest="flip", action="store_false", help="disable horizontal flips, e.g. for left/right classes"
    )


def add_log_argument(group) -> None:
    """Add --log_path, for scripts that train."""
    help = "history: .npy, .csv, .png, .log; by default OUTPUT_history next to the model OUTPUT"
    group.add_argument("--log_path", type=output_stem, help=help)


def add_overwrite_argument(group) -> None:
    """Add --overwrite, for scripts that train."""
    help = "start over instead of resuming an interrupted run, and replace the files of another one"
    group.add_argument("--overwrite", action="store_true", help=help)


def settings_by_name(args: argparse.Namespace, **kinds: type) -> dict:
    """Return the keyword arguments of a stage: for each keyword, an instance of its dataclass from `options_of`."""
    return {name: options_of(kind, args) for name, kind in kinds.items()}


def options_of(kind: type, args: argparse.Namespace):
    """Return an instance of a dataclass of options.py. Fields without an argument of that name keep their defaults."""
    names = [field.name for field in dataclasses.fields(kind) if hasattr(args, field.name)]
    return kind(**{name: getattr(args, name) for name in names})
