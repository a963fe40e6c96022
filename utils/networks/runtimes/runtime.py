"""The interface of an exported network, and the checks that all formats share."""

import contextlib
import importlib
import os
import resource
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.networks.model_file import ModelFileError

INSTALL = "pip install -r requirements-export.txt"
GROWTH, SLACK = 10, 4 * 1024**3  # a network may need GROWTH times the size of its files, and SLACK bytes


@dataclass(frozen=True)
class Runtime:
    """An exported network that maps RGB clips 0..255 to class scores.

    input_shape: (T, H, W, 3). run: maps float32 `(B, *input_shape)`, contiguous, to float32 `(B, num_classes)`.
    is_dynamic: whether `run` takes any number of clips; otherwise it takes one. metadata: returns the text under a key
    of the file's own metadata, or None.
    """

    path: Path
    input_shape: tuple[int, int, int, int]
    num_classes: int
    run: Callable[[np.ndarray], np.ndarray]
    is_dynamic: bool
    metadata: Callable[[str], str | None]

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        """Return the scores of clips `(B, *input_shape)` as the file outputs them: float32 `(B, num_classes)`."""
        clips = np.ascontiguousarray(clips, np.float32)
        if self.is_dynamic:
            return self.run(clips)
        return np.concatenate([self.run(clips[number : number + 1]) for number in range(len(clips))])


def package(name: str, path: Path):
    """Import what runs the file at `path`. Raises UserError that says how to install it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise UserError(f"{path} needs the package {name.partition('.')[0]}, which is missing: {INSTALL}") from None


def check_interface(
    inputs: Sequence[tuple[Sequence[int | None], str]], outputs: Sequence[tuple[Sequence[int | None], str]]
) -> tuple[tuple[int, int, int, int], int, bool]:
    """Return the input shape, the number of classes and whether the batch is dynamic.

    Inputs and outputs are given by shape, with None for sizes that are not fixed, and type. Raises ModelFileError
    unless the only input is float32 clips `(B, T, H, W, 3)` and the only output float32 scores `(B, C)`, where B is 1
    or not fixed, the other sizes are fixed, and there are at least two classes.
    """
    (clips, *others), (scores, *further) = (_described(inputs), _described(outputs))
    shape, kind = inputs[0] if inputs else ((), "")
    if others or len(shape) != 5 or shape[-1] != 3 or None in shape[1:] or shape[0] not in (None, 1):
        raise ModelFileError(f"it must take clips (B, T, H, W, 3) of a fixed size, it takes {clips}")
    if kind != "float32":
        raise ModelFileError(f"it must take clips float32, it takes {clips}")
    scored, kind = outputs[0] if outputs else ((), "")
    if further or len(scored) != 2 or scored[0] not in (None, 1) or scored[1] is None or scored[1] < 2:
        raise ModelFileError(f"it must output class scores (B, C), it outputs {scores}")
    if kind != "float32":
        raise ModelFileError(f"it must output scores float32, it outputs {scores}")
    return tuple(shape[1:]), scored[1], shape[0] is None and scored[0] is None


def _described(tensors: Sequence[tuple[Sequence[int | None], str]]) -> list[str]:
    """Return a text on all tensors, followed by one per further tensor."""
    texts = [f"({', '.join('?' if side is None else str(side) for side in shape)}) {kind}" for shape, kind in tensors]
    return [" and ".join(texts) or "nothing", *texts[1:]]


@contextlib.contextmanager
def memory_limited(*paths: str | os.PathLike) -> Iterator[None]:
    """Let allocations of the block fail that a network of the size of its files cannot need.

    A graph of a hundred bytes can ask for a constant that fills the memory. The limit counts the whole process.
    """
    size = GROWTH * sum(map(os.path.getsize, paths)) + SLACK
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    status = Path("/proc/self/status")
    if not status.is_file():  # not Linux
        yield
        return
    limit = 1024 * int(status.read_text().partition("VmData:")[2].split()[0]) + size
    others = [each for each in (soft, hard) if each != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limit, *others) if others else limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
