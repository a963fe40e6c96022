"""The paths of the files of a run, all by the name of its model or of its history."""

import os
from dataclasses import dataclass
from pathlib import Path

from utils.base.files import beside_history
from utils.base.options import OutputOptions


@dataclass(frozen=True)
class RunFiles:
    """The paths of a training run: those named after the model, then those named after --log_path."""

    model: Path
    record: Path
    card: Path
    state: Path
    lock: Path
    history: Path
    history_table: Path
    curves: Path
    log: Path

    @classmethod
    def of(cls, output: OutputOptions) -> "RunFiles":
        model = output.output_path
        state = model.with_suffix(".training")
        histories = [beside_history(output.log_stem, suffix) for suffix in (".npy", ".csv", ".png", ".log")]
        lock = state.with_name(f".{state.name}.lock")
        return cls(model, record_path(model), card_path(model), state, lock, *histories)


def record_path(model: str | os.PathLike) -> Path:
    """Return the path of what is stated about a model or about class scores: the same name with .json."""
    return Path(model).with_suffix(".json")


def card_path(model: str | os.PathLike) -> Path:
    """Return the path of a model's card: the same name with .md."""
    return Path(model).with_suffix(".md")


def scores_folder(model: Path) -> Path:
    """Return the folder of the logits of a teacher."""
    return model.with_suffix(".scores")
