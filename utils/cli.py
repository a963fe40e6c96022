"""What the scripts' command lines share: argument types, argument groups, one-line errors.

Nothing here imports TensorFlow, Keras or matplotlib, so that `--help` and an argument error answer at once.
"""

import argparse
import dataclasses
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from models.students import STUDENTS
from utils.errors import UserError
from utils.files import disk_error
from utils.interruption import raise_interrupted
from utils.options import SCORES_SUFFIX, DataOptions, NetworkOptions, TrainingOptions, ViewOptions

EPOCHS_HELP = "passes over the training clips"
MODEL_SUFFIXES = (".keras", ".h5")
CHANNELS = ("rgb", "bgr")
CHANNELS_HELP = "channel order of a model without a record"
PROTOCOLS = "auto, random, group, logo:K, fold:K/N, official:K or list:FILE"
STUDENT_HELP = f"{', '.join(STUDENTS)}, or package.module:function that builds your own"
SCALES = ("0..255", "0..1", "-1..1")
SEED_HELP = "initialisation, order of batches, dropout"
SCALES_HELP = "values that a model without a record takes"


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of each flag that has one, and which flags are required."""

    def _get_help_string(self, action: argparse.Action) -> str:
        if action.required:
            return f"{action.help} (required)"
        has_default = action.default is not None and action.default is not False
        return super()._get_help_string(action) if has_default else action.help


class ArgumentParser(argparse.ArgumentParser):
    """argparse with defaults shown by `--help`, no abbreviated flags, and errors of one line."""

    def __init__(self, description: str):
        super().__init__(description=description, formatter_class=HelpFormatter, allow_abbrev=False)

    def error(self, message: str):
        self.exit(2, f"error: {message.removeprefix('argument ')}\n")


def run(main: Callable[[], None]) -> None:
    """Runs a script's `main`; Ctrl-C gives exit code 130, SIGTERM 143.

    A UserError, a full disk or a file that may not be written becomes one line on stderr and exit code 2.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up messages say nothing to a user
    signal.signal(signal.SIGTERM, raise_interrupted)
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if disk_error(error) is None:
            raise
        print(f"error: {disk_error(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        print(str(stop) or "interrupted", file=sys.stderr)
        sys.exit(128 + getattr(stop, "number", signal.SIGINT))


def start_tensorflow() -> None:
    """Imports TensorFlow quietly; called once the arguments are checked."""
    from utils import devices

    devices.start_tensorflow()


def number(text: str, kind: type, expected: str, accepts: Callable[[float], bool]):
    """`text` as a number of `kind` that `accepts` it; argparse shows `expected` and what was found otherwise."""
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not accepts(value):
        raise argparse.ArgumentTypeError(f"must be {expected}, got {text}")
    return value


def positive_int(text: str) -> int:
    """A whole number of at least 1."""
    return number(text, int, "a whole number of at least 1", lambda value: value >= 1)


def non_negative_int(text: str) -> int:
    """A whole number of at least 0."""
    return number(text, int, "a whole number of at least 0", lambda value: value >= 0)


def seed(text: str) -> int:
    """A whole number of at least 0 that fits 32 bits."""
    return number(text, int, "a whole number from 0 to 4294967295", lambda value: 0 <= value < 2**32)


def positive_float(text: str) -> float:
    """A finite number above 0."""
    return number(text, float, "a number above 0", lambda value: 0 < value < float("inf"))


def non_negative_float(text: str) -> float:
    """A finite number of at least 0."""
    return number(text, float, "a number of at least 0", lambda value: 0 <= value < float("inf"))


def clip_norm(text: str) -> float | None:
    """A finite number above 0, or none."""
    return None if text == "none" else number(text, float, "a number above 0 or none", lambda value: 0 < value < 1e9)


def share(text: str) -> float:
    """A number from 0 to 1."""
    return number(text, float, "a number from 0 to 1", lambda value: 0 <= value <= 1)


def existing_file(text: str) -> Path:
    """A path of a file that is there."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"must be an existing file, got {text}")
    return path


def existing_folder(text: str) -> Path:
    """A path of a folder that is there."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"must be an existing folder, got {text}")
    return path


def output_folder(text: str) -> Path:
    """A path of a folder that is there or can be made, and be written to; nothing is made yet.

    Checked before the work, whose result would otherwise be lost at its end.
    """
    path = Path(text)
    existing = path.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise argparse.ArgumentTypeError(f"must be a folder or lie in one, got {text}, where {existing} is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"must be in a folder that can be written to, got {text} in {existing}")
    return path


def output_stem(text: str) -> Path:
    """A path, with or without suffix, for files whose names begin so."""
    path = Path(text)
    if not path.name:
        raise argparse.ArgumentTypeError(f"must end in a name for the files, got {text or 'nothing'}")
    output_folder(str(path.parent))
    return path


def output_model(text: str) -> Path:
    """A path to write a model to: it ends in .keras or .h5, and its folder is there or can be made."""
    path = with_model_suffix(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file, got the folder {text}")
    output_folder(str(path.parent))
    return path


def existing_model(text: str) -> Path:
    """A path of a model file that is there and ends in .keras or .h5."""
    return existing_file(str(with_model_suffix(text)))


def existing_teacher(text: str) -> Path:
    """A path of a model file, or of a .npy of class scores, that is there."""
    path = Path(text)
    if path.suffix not in (*MODEL_SUFFIXES, SCORES_SUFFIX):
        raise argparse.ArgumentTypeError(f"must end in .keras or .h5, or in .npy for class scores, got {text}")
    return existing_file(text)


def output_scores(text: str) -> Path:
    """A path to keep scores at: it ends in .npy, and its folder is there or can be made."""
    path = Path(text)
    if path.suffix != SCORES_SUFFIX or path.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file that ends in .npy, got {text}")
    output_folder(str(path.parent))
    return path


def with_model_suffix(text: str) -> Path:
    """`text` as a path, if it ends in .keras or .h5."""
    path = Path(text)
    if path.suffix not in MODEL_SUFFIXES:
        raise argparse.ArgumentTypeError(f"must end in .keras or .h5, got {text}")
    return path


def student(text: str) -> str:
    """The name of a built-in student, or of a function as package.module:function."""
    if text not in STUDENTS and not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", text):
        raise argparse.ArgumentTypeError(f"must be {', '.join(STUDENTS)} or package.module:function, got {text}")
    return text


def input_size(text: str) -> tuple[int, int]:
    """A picture size: one number for a square, or HEIGHTxWIDTH. Returns (height, width) in pixels."""
    try:
        sides = tuple(positive_int(part) for part in text.lower().split("x"))
    except argparse.ArgumentTypeError:
        sides = ()
    if len(sides) not in (1, 2):
        raise argparse.ArgumentTypeError(f"must be SIDE or HEIGHTxWIDTH in pixels, as 112 or 120x160, got {text}")
    return sides[0], sides[-1]


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
        "--dropout", type=share, default=defaults.dropout, help="multiplies the dropout rates; small networks need less"
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
        "--weight_decay", type=non_negative_float, default=defaults.weight_decay, help="AdamW's, of kernels; 0: Adam"
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
        choices=["auto", "float32", "mixed_bfloat16", "mixed_float16"],
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


def options_of(kind: type, args: argparse.Namespace):
    """A dataclass of utils/options.py filled from the arguments of the same names; others keep their defaults."""
    names = [field.name for field in dataclasses.fields(kind) if hasattr(args, field.name)]
    return kind(**{name: getattr(args, name) for name in names})
