"""The settings of the stages: each field states name, default, help and type of the argument that sets it."""

from dataclasses import dataclass, fields
from pathlib import Path

from models import BACKBONES, LITE0, MIXINGS, STUDENTS
from utils.base.argument_types import (
    TEACHER_OUTPUTS,
    clip_norm,
    device_count,
    existing_file,
    existing_folder,
    existing_model,
    existing_teacher,
    frames_file,
    input_size,
    non_negative_float,
    output_folder,
    output_model,
    output_scores,
    output_stem,
    positive_float,
    positive_int,
    scheduler,
    seed,
    share,
    student,
    student_weights,
    view_count,
    width,
)
from utils.base.frame_students import NO_MIXING, NO_WEIGHTS, PRETRAINED_RATE
from utils.base.setting import REQUIRED, setting

PROTOCOLS = "auto, random, group, folders, logo:K, fold:K/N, official:K, list:FILE or like:MODEL"  # of --split
TASK_FROM_SCRATCH = "train_local_teacher"
TASKS_FINE_TUNING = ("fintuning_C3D_Sports1M", "finetuning_C3D_Sports1M")  # the first is the published spelling
TASK_PROBE = "image_probe"
LABELS_FILE, PATHS_FILE = "labels.npy", "video_file_paths.npy"  # next to frames.npy
CHANNELS = ("rgb", "bgr")
INPUT_SCALES = {"0..255": (1.0, 0.0), "0..1": (1 / 255, 0.0), "-1..1": (1 / 127.5, -1.0)}  # name: scale, offset
SCORE_KINDS = ("auto", "probabilities", "logits")
PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
SHORT_VIDEOS = ("skip", "repeat", "hold")  # what to do with videos of fewer frames than a clip
SCHEDULER = "Dask scheduler whose workers do this, e.g. tcp://host:8786, or local to start one"
TRAINED_TEACHERS = ("scratch", "sports1m")  # of reproduce.py

# Metadata of fields that are not part of the key of a trained model, see utils/runs/identity.py:
NO_EFFECT = {"keyed": False}  # trained weights do not depend on it
BY_CONTENT = {"keyed": False}  # a file, which is identified by its content instead of its path


@dataclass(frozen=True)
class DataOptions:
    """Which arrays to use and how they are split into training, validation and test clips.

    With `annotations` None, they are labels.npy next to `data`; with `paths` None, they are video_file_paths.npy there.
    With `split` None, the split is the one in the record of a model.
    """

    data: Path = setting(
        REQUIRED, "folder written by video_to_frames.py, or frames.npy in it", type=frames_file, key=BY_CONTENT
    )
    annotations: Path | None = setting(
        None, "labels.npy, by default the one next to --data", type=existing_file, key=BY_CONTENT
    )
    paths: Path | None = setting(
        None, "video_file_paths.npy, by default the one next to --data", type=existing_file, key=BY_CONTENT
    )
    split: str | None = setting("auto", PROTOCOLS, metavar="PROTOCOL")
    split_seed: int = setting(0, "seed of the split", type=seed)
    split_dir: Path | None = setting(
        None, "folder of the official lists, for official:K", type=existing_folder, key=BY_CONTENT
    )
    group_pattern: str | None = setting(None, "regular expression that captures the group in a path", metavar="REGEX")

    def __post_init__(self):
        if self.annotations is None and self.data is not None:
            object.__setattr__(self, "annotations", Path(self.data).with_name(LABELS_FILE))


def values_of(kind: type, options) -> dict:
    """Return the fields of the dataclass `kind`, of which `options` is an instance, by name."""
    return {part.name: getattr(options, part.name) for part in fields(kind)}


@dataclass(frozen=True)
class OptimizerOptions:
    """Settings of the optimiser. `clip_norm` None disables clipping."""

    learning_rate: float = setting(3e-4, "peak learning rate", type=positive_float)
    schedule: str = setting(
        "cosine", "cosine: 10 %% linear warm-up, then cosine decay to 0", choices=("cosine", "constant")
    )
    clip_norm: float | None = setting(
        1.0, 'clip the global gradient norm to this value ("none" disables clipping)', type=clip_norm
    )
    backbone_rate: float = setting(
        1.0,
        "learning rate of the image model of frames:NAME relative to that of the other layers; by default "
        f"{PRETRAINED_RATE:g} with --student_weights or --initial_weights, otherwise 1",
        type=positive_float,
    )
    weight_decay: float = setting(
        0.0, "decoupled weight decay of kernels (AdamW); 0 means Adam", type=non_negative_float
    )

    def optimizer(self) -> dict:
        """Return the keyword arguments of `adam` in utils/training/optimizers.py."""
        return values_of(OptimizerOptions, self)


@dataclass(frozen=True)
class TrainingOptions(OptimizerOptions):
    """Settings of training. `patience` and `max_minutes` None set no limit."""

    batch_size: int = setting(8, "clips per step, on all devices together", type=positive_int)
    epochs: int = setting(100, "number of passes over the training clips", type=positive_int)
    initialisation: str = setting(
        "data", "data: rescale the random initial weights, based on some training clips", choices=("data", "random")
    )
    initial_weights: Path | None = setting(
        None,
        "start from this finished model; the classifier keeps classes of equal name",
        type=existing_model,
        key=BY_CONTENT,
    )
    seed: int = setting(0, "seed of initialisation, batch order and dropout", type=seed)
    class_weights: str = setting(
        "none", "balanced: weight the loss inversely to class frequency", choices=("none", "balanced")
    )
    keep: str = setting(
        "last",
        "epoch whose weights are kept; best: highest validation accuracy, as always after an early stop",
        choices=("last", "best"),
    )
    patience: int | None = setting(None, "stop after this many epochs without improvement", type=positive_int)
    max_minutes: float | None = setting(
        None, "time budget; no epoch is started that would exceed it", type=positive_float, key=NO_EFFECT
    )
    precision: str = setting(
        "auto", "auto: float32 on a CPU, 16-bit mixed precision on a GPU that supports it", choices=PRECISIONS
    )
    devices: int | str = setting(
        1,
        "number of GPUs to train on, or all; each computes an equal part of a batch",
        type=device_count,
        metavar="N",
        key=NO_EFFECT,
    )
    keep_going: bool = setting(False, "do not stop a failing training run", action="store_true", key=NO_EFFECT)
    tensorboard: Path | None = setting(
        None, "write TensorBoard scalars to this folder", type=output_folder, key=NO_EFFECT
    )


@dataclass(frozen=True)
class ViewOptions:
    """Augmented views for training (utils/data/views.py). Validation and test use view 0, the whole clip."""

    views: int = setting(8, "number of augmented views per clip, in addition to the original", type=view_count)
    view_seed: int = setting(0, "seed of the augmented views", type=seed)
    flip: bool = setting(True, "horizontal flips; disable them e.g. for left/right classes", action="store_true")


@dataclass(frozen=True)
class NetworkOptions:
    """Size of a network. `input_size` is (height, width) in pixels."""

    width: float = setting(1.0, "multiplier of filters and dense units", type=width)
    dropout: float = setting(0.0, "multiplier of the dropout rates; 1: those of the paper", type=share)
    input_size: tuple[int, int] = setting((112, 112), "SIDE or HEIGHTxWIDTH in pixels", type=input_size)
    input_frames: int = setting(16, "frames per clip", type=positive_int)

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of an input clip: (frames, height, width, 3)."""
        return self.input_frames, *self.input_size, 3

    def size(self) -> dict:
        """Return the keyword arguments of the functions that build networks."""
        values = values_of(NetworkOptions, self)
        return {name: values[name] for name in values if not name.startswith("input_")} | {
            "input_shape": self.input_shape
        }


@dataclass(frozen=True)
class TeacherOptions:
    """Initialisation of a C3D teacher. With `weights` None, the Sports-1M weights are downloaded once."""

    task: str = setting(
        TASK_FROM_SCRATCH,
        "C3D from scratch, C3D fine-tuned from Sports-1M weights, or a linear probe on frozen ImageNet features",
        choices=(TASK_FROM_SCRATCH, *TASKS_FINE_TUNING, TASK_PROBE),
    )
    weights: Path | None = setting(
        None, "Sports-1M weights (.h5); downloaded once by default", type=existing_file, key=BY_CONTENT
    )
    unfreeze: str = setting("fc8", "first layer that fine-tuning trains", metavar="LAYER")
    backbone: str = setting(LITE0, "image network of --task image_probe", choices=BACKBONES)


@dataclass(frozen=True)
class LossOptions:
    """Settings of the distillation loss."""

    temperature: float = setting(10.0, "distillation temperature", type=positive_float)
    alpha: float = setting(0.1, "weight of the hard loss; 1 means no teacher", type=share)

    def loss(self) -> dict:
        """Return the keyword arguments of `DistillationLoss`."""
        return values_of(LossOptions, self)


@dataclass(frozen=True)
class DistillationOptions(LossOptions):
    """The student, its teachers and the distillation loss. `labels_per_class` None stands for all labels."""

    student: str = setting(
        "compact3d",
        f"{', '.join(STUDENTS)}; frames:NAME for an image model on each frame, one of {', '.join(BACKBONES)}; or "
        "package.module:function for your own",
        type=student,
    )
    student_weights: str | Path = setting(
        NO_WEIGHTS,
        "initial weights of the image model of frames:NAME: imagenet, an .h5 file, or none",
        type=student_weights,
        key=BY_CONTENT,
    )
    freeze_backbone: bool = setting(
        False,
        "train only the classifier of frames:NAME, on features that are computed once; needs --student_weights",
        action="store_true",
    )
    mixing: str = setting(
        NO_MIXING,
        "how frames:NAME mixes frames over time: shift, convolution or none, the default with --student_weights",
        choices=MIXINGS,
    )
    source: Path | tuple[Path, ...] | None = setting(
        None,
        "the published name of --teacher",
        type=existing_teacher,
        nargs="+",
        key=BY_CONTENT,
    )
    teacher_mode: str = setting(
        "cached",
        "cached: compute the logits once per view; live: in every step, for a new view per clip and epoch",
        flag="--teacher_outputs",
        choices=TEACHER_OUTPUTS,
    )
    cache: Path | None = setting(
        None, ".npy for the logits, by default next to the teacher", type=output_scores, key=NO_EFFECT
    )
    scheduler: str | None = setting(None, SCHEDULER, type=scheduler, key=NO_EFFECT)
    labels_per_class: int | None = setting(
        None, "number of labelled clips per class available to students", type=positive_int
    )
    unlabelled: tuple[Path, ...] = setting(
        (),
        "further clips, from which students learn without labels: frames.npy or its folder",
        type=frames_file,
        nargs="+",
        key=BY_CONTENT,
    )
    fail_on_leak: bool = setting(
        False, "fail if test clips leak into the clips of --unlabelled", action="store_true", key=NO_EFFECT
    )
    source_channels: str = setting("rgb", "channel order that a model without a record expects", choices=CHANNELS)
    source_input_scale: str = setting(
        "0..255", "range of input values that a model without a record expects", choices=tuple(INPUT_SCALES)
    )
    source_scores: str = setting(
        "auto",
        "content of .npy sources; auto: probabilities if all rows sum to 1, logits if some value is negative",
        choices=SCORE_KINDS,
    )

    @property
    def sources(self) -> tuple[Path, ...]:
        """The paths of `source` as a tuple."""
        if self.source is None:
            return ()
        return (self.source,) if isinstance(self.source, Path) else tuple(self.source)


@dataclass(frozen=True)
class OutputOptions:
    """Output files of training."""

    output_path: Path = setting(REQUIRED, "the model", type=output_model)
    log_path: Path | None = setting(
        None, "history: .npy, .csv, .png, .log; by default OUTPUT_history next to the model OUTPUT", type=output_stem
    )
    overwrite: bool = setting(
        False,
        "start over instead of resuming an interrupted run, and replace the files of another one",
        action="store_true",
    )

    @property
    def log_stem(self) -> Path:
        """Path from which those of the history and the log are formed."""
        return self.log_path or self.output_path.with_name(f"{self.output_path.stem}_history")
