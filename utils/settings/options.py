"""The settings of the stages and their defaults. Arguments of the same name set them; records store them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

PROTOCOLS = "auto, random, group, logo:K, fold:K/N, official:K or list:FILE"  # of --split
TASK_FROM_SCRATCH = "train_local_teacher"
TASKS_FINE_TUNING = ("fintuning_C3D_Sports1M", "finetuning_C3D_Sports1M")  # the first is the published spelling
MODEL_SUFFIXES = (".keras", ".h5")
SCORES_SUFFIX = ".npy"
CHANNELS = ("rgb", "bgr")
INPUT_SCALES = {"0..255": (1.0, 0.0), "0..1": (1 / 255, 0.0), "-1..1": (1 / 127.5, -1.0)}  # name: scale, offset
PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
TRAINED_TEACHERS = ("scratch", "sports1m")  # of reproduce.py

# Metadata of fields that are not part of the key of a trained network, see `weight_settings`:
NO_EFFECT = {"keyed": False}  # trained weights do not depend on it
BY_CONTENT = {"keyed": False}  # a file, which is identified by its content instead of its path


def weight_settings(groups: Sequence) -> dict[str, object]:
    """Return the settings on which trained weights depend, by name: the keyed fields of the dataclasses `groups`.

    A field that is added later declares `metadata={"same_as_before": value}` with the value that does not change
    training. That value is left out of the result, so that the keys of finished trainings stay valid.
    """
    found = {}
    for group in groups:
        for part in fields(group):
            value = getattr(group, part.name)
            if part.metadata.get("keyed", True) and part.metadata.get("same_as_before", ...) != value:
                found[part.name] = value
    return found


@dataclass(frozen=True)
class DataOptions:
    """Which arrays to use and how they are split into training, validation and test clips."""

    data: Path = field(metadata=BY_CONTENT)
    annotations: Path = field(metadata=BY_CONTENT)
    paths: Path | None = field(default=None, metadata=BY_CONTENT)  # None: video_file_paths.npy next to `data`
    split: str | None = "auto"  # None: the split in the record of a recogniser
    split_seed: int = 0
    split_dir: Path | None = field(default=None, metadata=BY_CONTENT)
    group_pattern: str | None = None


@dataclass(frozen=True)
class TrainingOptions:
    """Settings of training."""

    batch_size: int = 8
    epochs: int = 50
    learning_rate: float = 3e-4  # peak of the schedule
    schedule: str = "cosine"  # "cosine": 10 % linear warm-up, then cosine decay to 0; or "constant"
    clip_norm: float | None = 1.0  # global gradient norm; None: no clipping
    initialisation: str = "data"  # "data": see models/initialisation.py; or "random"
    seed: int = 0
    weight_decay: float = 0.0  # decoupled, kernels only; 0: plain Adam
    class_weights: str = "none"  # "balanced": see utils/data/labels.py
    keep: str = field(default="last", metadata={"same_as_before": "best"})  # epoch whose weights are kept, or "best"
    patience: int | None = None  # epochs without improvement before early stopping; None: never
    max_minutes: float | None = field(default=None, metadata=NO_EFFECT)  # None: no limit
    precision: str = "auto"  # or a Keras dtype policy, see utils/networks/precision.py
    keep_going: bool = field(default=False, metadata=NO_EFFECT)  # continue where utils/training/guards.py would stop
    tensorboard: Path | None = field(default=None, metadata=NO_EFFECT)


@dataclass(frozen=True)
class ViewOptions:
    """Augmented views for training (utils/data/views.py). Validation and test use view 0, the whole clip."""

    views: int = 8  # number of augmented views per clip, in addition to view 0; 0: no augmentation
    view_seed: int = 0
    flip: bool = True  # horizontal flips


@dataclass(frozen=True)
class NetworkOptions:
    """Size of a network."""

    width: float = 1.0  # multiplier of filters and dense units
    dropout: float = 1.0  # multiplier of the dropout rates
    input_size: tuple[int, int] = (112, 112)  # height, width in pixels
    input_frames: int = 16

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of an input clip: (frames, height, width, 3)."""
        return self.input_frames, *self.input_size, 3


@dataclass(frozen=True)
class TeacherOptions:
    """Initialisation of a C3D teacher."""

    task: str = TASK_FROM_SCRATCH  # or one of TASKS_FINE_TUNING
    weights: Path | None = field(default=None, metadata=BY_CONTENT)  # Sports-1M weights; None: downloaded once
    unfreeze: str = "fc8"  # first layer that fine-tuning trains


@dataclass(frozen=True)
class DistillationOptions:
    """The student, its teachers and the distillation loss."""

    student: str = "compact3d"  # a key of models.STUDENTS, or "package.module:function"
    source: Path | tuple[Path, ...] | None = field(default=None, metadata=BY_CONTENT)  # models or .npy scores
    teacher_mode: str = "cached"  # "cached": logits are computed once per view; "live": in every step
    cache: Path | None = field(default=None, metadata=NO_EFFECT)  # file for the logits; None: next to the teacher
    temperature: float = 10.0
    alpha: float = 0.1  # weight of the hard loss; 1: no teacher
    labels_per_class: int | None = None  # None: all
    unlabelled: tuple[Path, ...] = field(default=(), metadata=BY_CONTENT)  # frames.npy of further clips
    fail_on_leak: bool = field(default=False, metadata=NO_EFFECT)  # reject unlabelled clips that test clips leak into
    source_channels: str = "rgb"
    source_input_scale: str = "0..255"

    @property
    def sources(self) -> tuple[Path, ...]:
        """The paths of `source` as a tuple."""
        if self.source is None:
            return ()
        return (self.source,) if isinstance(self.source, Path) else tuple(self.source)


@dataclass(frozen=True)
class OutputOptions:
    """Output files of training."""

    output_path: Path
    log_path: Path | None = None  # history; None: NAME_history next to the model NAME
    overwrite: bool = False  # discard an unfinished training, and replace the model and history of another one

    @property
    def log_stem(self) -> Path:
        """Path from which those of the history and the log are formed."""
        return self.log_path or self.output_path.with_name(f"{self.output_path.stem}_history")
