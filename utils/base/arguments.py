"""Argument groups that several scripts share, and the conversion of parsed arguments to options."""

import argparse
import dataclasses
from collections.abc import Sequence

from utils.base.argument_types import (
    SCORES_SUFFIX,
    existing_file,
    non_negative_float,
    positive_int,
    seed,
    share,
    teacher_or_outputs,
)
from utils.base.options import (
    PROTOCOLS,
    DataOptions,
    DistillationOptions,
    NetworkOptions,
    OutputOptions,
    TrainingOptions,
    ViewOptions,
)
from utils.base.setting import add_setting, add_settings

SINGLE_TRAINING = (
    "epochs",
    "initial_weights",
    "seed",
    "max_minutes",
    "tensorboard",
)  # not set for all trainings of a grid


def add_recipe_argument(parser: argparse.ArgumentParser, *, default: str = "") -> None:
    """Add --config, which `ArgumentParser` reads. `default` describes the recipe that is used without it."""
    parser.add_argument("--config", type=existing_file, help=f"recipe: YAML file of settings{default}")


def add_data_arguments(parser: argparse.ArgumentParser):
    """Add --data, --annotations and --paths; returns their group."""
    group = parser.add_argument_group("arrays")
    for name in ("data", "annotations", "paths"):
        add_setting(group, DataOptions, name)
    return group


def add_unlabelled_argument(group) -> None:
    """Add --unlabelled."""
    add_setting(group, DistillationOptions, "unlabelled")


def add_teacher_argument(group) -> None:
    """Add --teacher, which `settle_teacher` replaces."""
    teacher = "a model or a .npy of class scores; several are averaged; not needed with --alpha 1"
    group.add_argument("--teacher", type=teacher_or_outputs, nargs="+", metavar="FILE", help=teacher)


def settle_teacher(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Set `source` or `teacher_mode` of parsed arguments to what --teacher names."""
    given = args.teacher or []
    del args.teacher
    outputs = [item for item in given if isinstance(item, str)]
    if outputs == given and len(given) == 1:
        args.teacher_mode = outputs[0]
    elif given and (outputs or args.source):
        found = " ".join(map(str, given)) + (" with --source" if args.source else "")
        parser.error(f"--teacher: must be models or files of class scores, or else --source must be, got {found}")
    elif given:
        args.source = given


def check_source_scores(parser: argparse.ArgumentParser, choice: str, sources: Sequence) -> None:
    """Reject --source_scores if no source is a .npy, because it would have no effect."""
    if choice != "auto" and not any(str(source).endswith(SCORES_SUFFIX) for source in sources):
        parser.error(f"--source_scores: must go with a source that ends in {SCORES_SUFFIX}, got {choice}")


def add_split_arguments(parser: argparse.ArgumentParser, *, default: str | None) -> None:
    """Add --split and its settings. With `default` None, the split is that of each recogniser's record."""
    group = parser.add_argument_group("split into training, validation and test clips")
    without = "" if default else "; by default the test clips in the record of each model"
    changes = {"split": {"default": default, "help": f"{PROTOCOLS}{without}"}}
    if default is None:
        changes["split_seed"] = {"default": None, "help": "seed of --split, by default 0"}
    add_settings(group, DataOptions, leave_out=("data", "annotations", "paths"), **changes)


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
    group = parser.add_argument_group("model")
    if with_student:
        add_student_argument(group)
    add_settings(group, NetworkOptions)


def add_student_argument(group) -> None:
    """Add --student and the options of students frames:NAME, which `settle_frame_student` completes."""
    add_setting(group, DistillationOptions, "student")
    add_setting(group, DistillationOptions, "student_weights")
    add_setting(group, DistillationOptions, "freeze_backbone")
    add_setting(group, DistillationOptions, "mixing", default=None)
    add_setting(group, TrainingOptions, "backbone_rate", default=None)


def add_training_arguments(parser: argparse.ArgumentParser, *, for_grid: bool = False) -> None:
    """Add the settings of training. For a grid, arguments of a single training are left out."""
    leave_out = ("backbone_rate", *(SINGLE_TRAINING if for_grid else ()))
    add_settings(parser.add_argument_group("training"), TrainingOptions, leave_out=leave_out)


def add_view_arguments(parser: argparse.ArgumentParser, *, views_help: str | None = None) -> None:
    """Add the settings of augmentation. `views_help` explains --views where it has another meaning."""
    group = parser.add_argument_group(
        "augmentation (crop, time window, flip and colour, the same for all frames of a clip)"
    )
    add_settings(group, ViewOptions, views={"help": views_help} if views_help else {})


def add_output_arguments(parser: argparse.ArgumentParser, *, output_path: str):
    """Add the outputs of a training with the default path of the model; returns their group."""
    group = parser.add_argument_group("output")
    add_settings(group, OutputOptions, output_path={"default": output_path})
    return group


def add_overwrite_argument(group) -> None:
    """Add --overwrite of a script that writes no model."""
    group.add_argument("--overwrite", action="store_true", help="replace files that are not of a former run")


def settings_by_name(args: argparse.Namespace, **kinds: type) -> dict:
    """Return the keyword arguments of a stage: for each keyword, an instance of its dataclass from `options_of`."""
    return {name: options_of(kind, args) for name, kind in kinds.items()}


def options_of(kind: type, args: argparse.Namespace):
    """Return an instance of a dataclass of options.py. Fields without an argument of that name keep their defaults."""
    names = [field.name for field in dataclasses.fields(kind) if hasattr(args, field.name)]
    return kind(**{name: getattr(args, name) for name in names})
