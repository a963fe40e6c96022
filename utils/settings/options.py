"""The settings of the stages, with their defaults; command lines fill them by name and records keep them."""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class DataOptions:
    """Which arrays, and who of them is in training, validation and test."""

    data: Path
    annotations: Path
    paths: Path | None = None  # None: video_file_paths.npy beside `data`, if it is there
    split: str | None = "auto"  # None: as the record of a recogniser says
    split_seed: int = 0
    split_dir: Path | None = None
    group_pattern: str | None = None


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is fitted."""

    batch_size: int = 8
    epochs: int = 50
    learning_rate: float = 3e-4  # the peak of the schedule
    schedule: str = "cosine"  # "cosine": 10 % linear warm-up, then cosine decay to 0; or "constant"
    clip_norm: float | None = 1.0  # gradients longer than this are shortened; None: not
    initialisation: str = "data"  # "data": see models/initialisation.py; or "random"
    seed: int = 0
    weight_decay: float = 0.0  # decoupled, of kernels only; 0: plain Adam
    class_weights: str = "none"  # "balanced": labels of rare classes weigh more, see utils/data/labels.py
    patience: int | None = None  # epochs without a better one after which training ends; None: never
    max_minutes: float | None = None  # no epoch is begun that would end later; None: no limit
    precision: str = "auto"  # or a Keras dtype policy, see utils/networks/precision.py
    keep_going: bool = False  # trains on where utils/training/guards.py would end it
    tensorboard: Path | None = None


@dataclass(frozen=True)
class ViewOptions:
    """Which views of the clips training reads; see views.py. Validation and test read view 0, the whole clip."""

    views: int = 8  # beside view 0, for a student of computed answers; 0: view 0 alone; else whether views are varied
    view_seed: int = 0  # what view v of a clip is
    flip: bool = True  # whether views may be mirrored


@dataclass(frozen=True)
class NetworkOptions:
    """How large a network is."""

    width: float = 1.0  # multiplies filters and dense units
    dropout: float = 1.0  # multiplies the dropout rates
    input_size: tuple[int, int] = (112, 112)  # height, width in pixels
    input_frames: int = 16

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        return self.input_frames, *self.input_size, 3


@dataclass(frozen=True)
class TeacherOptions:
    """Where a C3D starts from."""

    task: str = TASK_FROM_SCRATCH  # or one of TASKS_FINE_TUNING
    weights: Path | None = None  # Sports-1M weights; None: downloaded once
    unfreeze: str = "fc8"  # fine-tuning trains from this layer up


@dataclass(frozen=True)
class DistillationOptions:
    """Which student learns, and what from."""

    student: str = "compact3d"  # a key of models.STUDENTS, or "package.module:function"
    source: Path | tuple[Path, ...] | None = None  # the teacher or several: models, or .npy scores; None with alpha 1
    teacher: str = "cached"  # its answers are computed once for each view; "live": in every step, for ever new views
    cache: Path | None = None  # where the answers are kept; None: beside the teacher
    temperature: float = 10.0
    alpha: float = 0.1  # weight of the labels; 1: no teacher
    labels_per_class: int | None = None  # None: all
    source_channels: str = "rgb"
    source_input_scale: str = "0..255"

    @property
    def sources(self) -> tuple[Path, ...]:
        """All of `source`."""
        if self.source is None:
            return ()
        return (self.source,) if isinstance(self.source, Path) else tuple(self.source)

    @property
    def models(self) -> tuple[Path, ...]:
        """Those of `source` that are networks and not scores."""
        return tuple(path for path in self.sources if path.suffix != SCORES_SUFFIX)


@dataclass(frozen=True)
class OutputOptions:
    """Where a trained network and its history go."""

    output_path: Path
    log_path: Path
    overwrite: bool = False  # an unfinished training is not continued
