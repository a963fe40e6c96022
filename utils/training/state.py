"""What a training keeps at each epoch's end beside its output, so that a killed run continues where it was.

One file holds every variable of the network and of its optimiser, the states of the dropouts' random numbers, the best
epoch's weights, the history and the settings, and is renamed into place as a whole: parts in files of their own could
stem from different epochs. With the order of batches a function of (seed, epoch) the continued run ends, on a CPU, with
the weights and the history of an undisturbed one.
"""

import contextlib
import json
import signal
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from utils.data.clips import ClipDataset
from utils.networks.records import SETS, record_path
from utils.runtime.devices import installed_versions
from utils.runtime.errors import UserError
from utils.runtime.files import (
    digest,
    disk_error,
    exclusive_lock,
    file_fingerprint,
    plain,
    remove_partial,
    require_free_space,
    written_beside,
)
from utils.runtime.interruption import Interrupted
from utils.settings.options import OutputOptions
from utils.splits.protocols import Split

FORMAT = 1
HEADER = "header.json"
DIGEST = "sha256:"
ANEW = "start anew with --overwrite, or by removing it"
FINGERPRINTED = ("data", "annotations", "paths", "split_dir", "source", "weights")  # what these hold counts, not where
WITHOUT_EFFECT = ("cache", "keep_going", "max_minutes", "tensorboard")  # on an epoch's weights and history


def settings_of(
    options: Sequence, dataset: ClipDataset, split: Split, files: Mapping[str, Path | None] | None = None
) -> dict:
    """All that a training's result follows from, as plain values by the name that a user knows.

    `options` are dataclasses; `files` are further inputs by argument, compared by their content.
    """
    arguments = {name: item for group in options for name, item in plain(asdict(group)).items()}
    settings = {f"--{name}": arguments[name] for name in arguments if name not in FINGERPRINTED + WITHOUT_EFFECT}
    fingerprints = {"--data": json.dumps(dataset.fingerprint())}
    fingerprints["division of the clips"] = json.dumps([getattr(split, name).tolist() for name in SETS])
    for name, content in fingerprints.items():
        settings[name] = DIGEST + digest(content.encode())
    for name, path in (files or {}).items():
        settings[name] = DIGEST + file_fingerprint(path) if path else None
    return json.loads(json.dumps(settings))  # tuples are lists, as they will be when read again


class TrainingState:
    """The epochs that have ended, from the file `path` if it is there; nothing is kept without a path.

    `history` has a dict an epoch, `ended` says that no epoch is to follow. Raises UserError if the file is that of a
    training with other settings.
    """

    def __init__(self, path: Path | None = None, settings: dict | None = None):
        self.path, self.settings = path, settings
        self.history: list[dict[str, float]] = []
        self.ended = False
        self._seconds, self._opened = 0.0, time.perf_counter()
        if path is not None and path.exists():
            with self._reading() as archive:
                header = json.loads(archive.read(HEADER))
            if header.get("format") != FORMAT:
                raise UserError(f"{self._place} is of format {header.get('format')}, not {FORMAT}; {ANEW}")
            self._compare(header)
            self.history, self._seconds, self.ended = header["history"], header["seconds"], header["ended"]

    def seconds(self) -> float:
        """What the training has taken so far, that of earlier runs included, as far as it is kept."""
        return self._seconds + time.perf_counter() - self._opened

    def restore(self, model) -> None:
        """Puts the kept values into a compiled model and its built optimiser, if there are any."""
        if not self.history:
            return
        with self._reading() as archive:
            assign(own_variables(model), _arrays(archive, "model"))
            assign(model.optimizer.variables, _arrays(archive, "optimizer"))

    def best(self) -> list[np.ndarray] | None:
        """The values of `own_variables` after the best epoch so far."""
        if not self.history:
            return None
        with self._reading() as archive:
            return _arrays(archive, "best") or _arrays(archive, "model")

    def save(self, model, history: Sequence[Mapping], best: Sequence[np.ndarray] | None, *, ended: bool) -> None:
        """Replaces what was kept; `best` is None if the model's present values are the best."""
        if self.path is None:
            return
        header = {
            "format": FORMAT,
            "settings": self.settings,
            "versions": installed_versions(),
            "history": list(history),
            "seconds": self.seconds(),
            "ended": ended,
        }
        parts = {"model": own_variables(model), "optimizer": model.optimizer.variables, "best": best or []}
        with written_beside(self.path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            archive.writestr(HEADER, json.dumps(header))
            for part, values in parts.items():
                for number, value in enumerate(values):  # one at a time: together they may be gigabytes
                    with archive.open(f"{part}/{number}.npy", "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, np.asarray(value), allow_pickle=False)
        self.history, self.ended = header["history"], ended

    def require_space(self, model) -> None:
        """Raises UserError if the disk has no room for this file, and for a second one while it is replaced."""
        if self.path is not None:
            own = sum(value.numpy().nbytes for value in own_variables(model))
            size = 2 * own + sum(value.numpy().nbytes for value in model.optimizer.variables)
            copies = 1 if self.path.exists() else 2
            require_free_space(self.path.parent, copies * size, what=f"--output_path: {self.path}")

    def remove(self) -> None:
        """To be called once the training has ended and all that it was for is saved."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def kept(self) -> str:
        """What is left of an interrupted training, and how to go on, for a person to read."""
        if not self.history:
            return "no epoch had ended, so nothing of the training is kept"
        last = len(self.history)
        what = "epoch 1 is" if last == 1 else f"epochs 1 to {last} are"
        return f"{what} kept in {self.path}, and the same command continues"

    @property
    def _place(self) -> str:
        return f"--output_path: {self.path}"

    @contextlib.contextmanager
    def _reading(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except UserError:
            raise
        except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
            raise UserError(f"{self._place} must be a whole training state, but {error}; {ANEW}") from None

    def _compare(self, header: dict) -> None:
        differences = []
        for name in dict.fromkeys([*self.settings, *header["settings"]]):
            before, now = header["settings"].get(name), self.settings.get(name)
            if before != now:
                is_digest = any(str(value).startswith(DIGEST) for value in (before, now))
                differences.append(f"another {name}" if is_digest else f"{name} {before}, asked for {now}")
        if differences:
            raise UserError(
                f"{self._place} is an unfinished training with {'; '.join(differences)}; "
                f"name another --output_path, or {ANEW}"
            )
        for package, version in installed_versions().items():
            if header["versions"].get(package) != version:
                print(f"note: {self.path} was begun with {package} {header['versions'].get(package)}, now {version}")


@contextlib.contextmanager
def training_state(output: OutputOptions, settings: dict) -> Iterator[TrainingState]:
    """The state of the training that makes `output`, under a lock; an interruption says what is kept.

    Raises UserError if another process makes the same output, if there is a state of other settings (unless
    `output.overwrite`), and if the disk is full.
    """
    path = output.output_path.with_suffix(".training")
    with exclusive_lock(path.with_name(f".{path.name}.lock"), what=f"--output_path: {output.output_path}"):
        for made in (path, output.output_path, record_path(output.output_path)):
            remove_partial(made)  # what a killed run was writing
        if output.overwrite:
            path.unlink(missing_ok=True)
        state = TrainingState(path, settings)
        try:
            yield state
        except KeyboardInterrupt as stop:
            raise Interrupted(f"interrupted: {state.kept()}", getattr(stop, "number", signal.SIGINT)) from None
        except OSError as error:
            if disk_error(error) is None:
                raise
            raise UserError(f"{disk_error(error)}: {state.kept()}") from None


def own_variables(model) -> list:
    """The variables of a model with those of its dropouts' random numbers, without those of a frozen teacher in it."""
    teacher = getattr(model, "teacher", None)
    frozen = {id(variable) for variable in teacher.variables} if teacher is not None else set()
    return [variable for variable in model.variables if id(variable) not in frozen]


def assign(variables: Sequence, values: Sequence[np.ndarray]) -> None:
    """Gives variables their values. Raises ValueError if they do not fit."""
    shapes, found = [tuple(v.shape) for v in variables], [v.shape for v in values]
    if shapes != found:
        raise ValueError(f"it holds arrays of shapes {found[:4]}..., the network has {shapes[:4]}...")
    for variable, value in zip(variables, values):
        variable.assign(value)


def _arrays(archive: zipfile.ZipFile, part: str) -> list[np.ndarray]:
    count = sum(name.startswith(f"{part}/") for name in archive.namelist())
    arrays = []
    for number in range(count):
        with archive.open(f"{part}/{number}.npy") as file:
            arrays.append(np.lib.format.read_array(file, allow_pickle=False))
    return arrays
