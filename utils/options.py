"""The settings that several stages share, with their defaults."""

from dataclasses import dataclass
from pathlib import Path


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
    seed: int = 0
    tensorboard: Path | None = None
