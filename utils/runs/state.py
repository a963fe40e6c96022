"""The resumable state of a training, saved next to its output after each epoch.

One file holds all variables of the network and its optimiser, the states of the dropout generators, the weights of the
kept epoch, the history and the settings. It is written next to the old file and renamed, so that all parts are of the
same epoch. The order of batches is a function of (seed, epoch), so a resumed run on a CPU ends with the weights and
the history of an uninterrupted run.
"""

import contextlib
import dataclasses
import enum
import json
import math
import signal
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pydantic

from utils.base.errors import UserError, first_line
from utils.base.files import (
    JSON_BYTES,
    disk_error,
    regular_size,
    remove_partial,
    require_free_space,
    written_beside,
)
from utils.base.interruption import Interrupted
from utils.base.locks import exclusive_lock
from utils.base.machine import installed_versions
from utils.base.options import OutputOptions
from utils.base.schemas import NonNegative, Schema, checked
from utils.runs.identity import DIGEST
from utils.runs.paths import RunFiles

FORMAT = 1
HEADER = "header.json"
NEEDED_METRICS = {"epoch", "seconds", "val_loss", "val_accuracy"}
REMEDY = "use --overwrite to start over, or remove it"


class Ending(enum.StrEnum):
    """Why a training ended."""

    LAST_EPOCH = "last epoch"
    NO_IMPROVEMENT = "no improvement"
    OUT_OF_TIME = "out of time"  # the next run resumes it
    HOPELESS = "hopeless"


Metric = Annotated[float, pydantic.Field(allow_inf_nan=True)] | Literal["nan", "inf", "-inf"]  # a loss may diverge


class Header(Schema):
    """The content of header.json in the file of a TrainingState, see `TrainingState.save`."""

    format: Literal[FORMAT]
    settings: dict
    versions: dict[str, str]
    history: list[dict[str, int | Metric]]
    seconds: NonNegative
    ending: Literal[tuple(ending.value for ending in Ending)] | None

    @pydantic.model_validator(mode="after")
    def _check_epochs(self):
        for number, row in enumerate(self.history, start=1):
            if not row.keys() >= NEEDED_METRICS or row.keys() != self.history[0].keys() or row["epoch"] != number:
                raise ValueError(f"history[{number - 1}] must hold epoch {number} with the metrics of all epochs")
        return self


def read_header(archive: zipfile.ZipFile, place: str) -> Header:
    """Read the header of a training state. Raises UserError that starts with `place` if it is damaged."""
    size = archive.getinfo(HEADER).file_size
    if size > JSON_BYTES:
        raise UserError(f"{place}: {HEADER} must have at most {JSON_BYTES:,} bytes, found {size:,}")
    return checked(archive.read(HEADER), Header, what=f"{place}: {HEADER}")


class TrainingState:
    """The finished epochs of a training, read from the file `path` if it exists; without a path nothing is saved.

    history: a dict of metrics per epoch. ending: why training ended, None if it was interrupted. Raises UserError if
    the file belongs to a training with other settings.
    """

    def __init__(self, path: Path | None = None, settings: dict | None = None):
        self.path, self.settings = path, settings
        self.history: list[dict[str, float]] = []
        self.ending: Ending | None = None
        self._seconds, self._opened = 0.0, time.perf_counter()
        if path is not None and path.exists():
            with self._reading() as archive:
                header = read_header(archive, self._place)
            self._compare(header)
            self.history, self._seconds = [_as_floats(epoch) for epoch in header.history], header.seconds
            self.ending = Ending(header.ending) if header.ending else None

    @property
    def can_resume(self) -> bool:
        """Whether epochs remain, for this or a later run."""
        return self.ending in (None, Ending.OUT_OF_TIME)

    def seconds(self) -> float:
        """Return the training time so far in seconds, including saved epochs of earlier runs."""
        return self._seconds + time.perf_counter() - self._opened

    def restore(self, model) -> None:
        """Assign the saved values, if any, to a compiled model and its built optimiser."""
        if not self.history:
            return
        with self._reading() as archive:
            assign(own_variables(model), _arrays(archive, "model"))
            assign(model.optimizer.variables, _arrays(archive, "optimizer"))

    def kept_weights(self) -> list[np.ndarray] | None:
        """Return the values of `own_variables` after the epoch that is kept so far, or None before the first epoch."""
        if not self.history:
            return None
        with self._reading() as archive:
            return _arrays(archive, "kept") or _arrays(archive, "model")

    def save(self, model, history: Sequence[Mapping], kept: Sequence[np.ndarray] | None) -> None:
        """Replace the saved state; `kept` is None if the model's current values are those to keep."""
        if self.path is None:
            return
        header = {
            "format": FORMAT,
            "settings": self.settings,
            "versions": installed_versions(),
            "history": [_as_json(epoch) for epoch in history],
            "seconds": self.seconds(),
            "ending": self.ending,
        }
        parts = {"model": own_variables(model), "optimizer": model.optimizer.variables, "kept": kept or []}
        with written_beside(self.path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            archive.writestr(HEADER, json.dumps(header, allow_nan=False))
            for part, values in parts.items():
                for number, value in enumerate(values):  # one at a time: together they may be gigabytes
                    with archive.open(f"{part}/{number}.npy", "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, np.asarray(value), allow_pickle=False)
        self.history = list(history)  # last: what is saved, if the write fails

    def require_space(self, model) -> None:
        """Raise UserError if the disk has too little free space for the file and its replacement."""
        if self.path is not None:
            own = sum(value.numpy().nbytes for value in own_variables(model))
            size = 2 * own + sum(value.numpy().nbytes for value in model.optimizer.variables)
            copies = 1 if self.path.exists() else 2
            require_free_space(self.path.parent, copies * size, what=f"--output_path: {self.path}")

    def remove(self) -> None:
        """Remove the file; to be called after model, record and history are saved."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def kept(self) -> str:
        """Return what is saved of an interrupted training, and how to resume it, as text."""
        if not self.history:
            return "no epoch was finished, so nothing is saved"
        last = len(self.history)
        what = "epoch 1 is" if last == 1 else f"epochs 1 to {last} are"
        return f"{what} saved in {self.path}; rerun the same command to resume"

    @property
    def _place(self) -> str:
        return f"--output_path: {self.path}"

    @contextlib.contextmanager
    def _reading(self) -> Iterator[zipfile.ZipFile]:
        try:
            regular_size(self.path, what=self._place)
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except UserError as error:
            raise UserError(f"{error}; {REMEDY}") from None
        except Exception as error:  # a damaged archive, header or array raises many types
            reason = first_line(error)
            raise UserError(f"{self._place} must be a complete training state, but {reason}; {REMEDY}") from None

    def _compare(self, header: "Header") -> None:
        differences = []
        for name in dict.fromkeys([*self.settings, *header.settings]):
            before, now = header.settings.get(name), self.settings.get(name)
            if before != now:
                is_digest = any(str(value).startswith(DIGEST) for value in (before, now))
                differences.append(f"another {name}" if is_digest else f"{name} {before}, asked for {now}")
        if differences:
            raise UserError(
                f"{self._place} is an unfinished training with {'; '.join(differences)}; "
                f"use another --output_path, or {REMEDY}"
            )
        versions = installed_versions()
        for package in dict.fromkeys([*versions, *header.versions]):
            before, now = header.versions.get(package, "none"), versions.get(package, "none")
            if before != now:
                print(f"note: {self.path} was started with {package} {before}, now {now}")


@contextlib.contextmanager
def training_state(output: OutputOptions, settings: dict) -> Iterator[TrainingState]:
    """Yield the state of the training that writes `output`, under a lock; an interruption reports what is saved.

    Raises UserError if another process writes the same output, if there is a state with other settings (unless
    `output.overwrite`), and if the disk is full.
    """
    files = RunFiles.of(output)
    with _only_writer(files, overwrite=output.overwrite):
        state = TrainingState(files.state, settings)
        try:
            yield state
        except KeyboardInterrupt as stop:
            raise Interrupted(f"interrupted: {state.kept()}", getattr(stop, "number", signal.SIGINT)) from None
        except OSError as error:
            if disk_error(error) is None:
                raise
            raise UserError(f"{disk_error(error)}: {state.kept()}") from None


@contextlib.contextmanager
def _only_writer(files: RunFiles, *, overwrite: bool) -> Iterator[None]:
    """Hold the lock of an output; first remove what a killed run left."""
    with exclusive_lock(files.lock, what=f"--output_path: {files.model}"):
        for made in dataclasses.astuple(files):
            remove_partial(made)  # left by a killed run
        if overwrite:
            files.state.unlink(missing_ok=True)
        yield


def own_variables(model) -> list:
    """Return the variables of a model, including dropout seed generators but not those of a live teacher."""
    teacher = getattr(model, "teacher", None)
    frozen = {id(variable) for variable in teacher.variables} if teacher is not None else set()
    return [variable for variable in model.variables if id(variable) not in frozen]


def assign(variables: Sequence, values: Sequence[np.ndarray]) -> None:
    """Assign values to variables. Raises ValueError if the shapes differ."""
    shapes, found = [tuple(v.shape) for v in variables], [v.shape for v in values]
    if shapes != found:
        raise ValueError(f"it holds arrays of shapes {found[:4]}..., the model has {shapes[:4]}...")
    for variable, value in zip(variables, values):
        variable.assign(value)


def _as_json(epoch: Mapping[str, float]) -> dict[str, float | str]:
    """Return the metrics of an epoch with "nan", "inf" and "-inf" for numbers that JSON does not have."""
    return {name: value if math.isfinite(value) else str(value) for name, value in epoch.items()}


def _as_floats(epoch: Mapping[str, float | str]) -> dict[str, float]:
    return {name: float(value) if isinstance(value, str) else value for name, value in epoch.items()}


def _arrays(archive: zipfile.ZipFile, part: str) -> list[np.ndarray]:
    count = sum(name.startswith(f"{part}/") for name in archive.namelist())
    arrays = []
    for number in range(count):
        with archive.open(f"{part}/{number}.npy") as file:
            arrays.append(np.lib.format.read_array(file, allow_pickle=False))
    return arrays
