"""Build the network of a training and give it its initial weights."""

from collections.abc import Callable, Sequence

import numpy as np

from models.frames import backbone_of
from models.initialisation import can_be_initialised_by_data, initialise_by_data
from utils.base.devices import strategy_scope
from utils.base.errors import as_user_error
from utils.base.files import file_fingerprint
from utils.base.options import (
    DistillationOptions,
    NetworkOptions,
    OutputOptions,
    TrainingOptions,
)
from utils.networks.initial_weights import ARGUMENT, set_initial_weights
from utils.networks.model_file import trainable_in_memory
from utils.networks.student_builders import builder_of, check_student
from utils.runs.loading import SplitDataset
from utils.runs.record import read_record
from utils.runs.seen import Parent, inherited_from
from utils.training.teacher import Teacher

INITIALISATION_CLIPS = 32


def build(builder: Callable, loaded: SplitDataset, network: NetworkOptions, training: TrainingOptions, **settings):
    """Build a network for the classes of the dataset, on the devices on which it will be trained.

    Raises UserError if the requested size is impossible.
    """
    unfit = as_user_error("--width, --input_size or --input_frames")
    with strategy_scope(training.devices), unfit, trainable_in_memory():
        return builder(len(loaded.dataset.class_names), **network.size(), **settings)


def build_student(
    distillation: DistillationOptions,
    loaded: SplitDataset,
    training: TrainingOptions,
    network: NetworkOptions,
    output: OutputOptions,
):
    """Build the student. Raises UserError also if it cannot be trained, saved as the output and loaded again."""
    builder = builder_of(distillation, is_pretrained=training.initial_weights is not None)
    student = build(builder, loaded, network, training)
    classes = len(loaded.dataset.class_names)
    check_student(distillation.student, student, classes, network.input_shape, output.output_path)
    return student


def initial_files(training: TrainingOptions) -> dict[str, str]:
    """Return the digest of --initial_weights, for the settings of a training."""
    return {ARGUMENT: file_fingerprint(training.initial_weights)} if training.initial_weights else {}


def about_weights(
    files: dict[str, str], loaded: SplitDataset, training: TrainingOptions, teachers: Sequence[Teacher] = ()
) -> dict:
    """Return what the record states of the initial weights and of what they and the teachers have seen.

    `files` are digests by argument. Prints what is unknown. Raises UserError if a parent has seen test clips.
    """
    names = ("student_weights", "initial_weights")
    about = {name: files[f"--{name}"] for name in names if f"--{name}" in files}
    parents = [Parent(teacher.path, teacher.about, "--source", ", its teacher,") for teacher in teachers]
    if (path := training.initial_weights) is not None:
        record = read_record(path, file_fingerprint, argument=ARGUMENT)
        parents.append(Parent(path, record, ARGUMENT, ", from which its training started,"))
    return about | {"inherited": inherited_from(parents, loaded.dataset, loaded.split)}


def initialise(model, loaded: SplitDataset, training: TrainingOptions) -> None:
    """Assign --initial_weights, or scale the random weights with some training clips.

    The latter is done if `training.initialisation` is "data", but not for students frames:NAME, whose image network is
    normalised or pretrained. Raises UserError if the initial weights are of another architecture.
    """
    if training.initial_weights is not None:
        set_initial_weights(model, training.initial_weights, loaded.dataset.class_names)
        return
    if training.initialisation != "data" or backbone_of(model) is not None:
        return
    if not can_be_initialised_by_data(model):
        print("note: this model is not a chain of 3D convolutions and dense layers; its weights stay as drawn.")
    else:
        rows = np.random.default_rng(training.seed).permutation(loaded.split.train)[:INITIALISATION_CLIPS]
        initialise_by_data(model, loaded.dataset.view_zero(rows, model.input_shape[1:]))
