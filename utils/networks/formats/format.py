"""What the modules of formats have in common: a format, an opened file, and the checks of both."""

import contextlib
import importlib
import re
import resource
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.base.errors import UserError, first_line
from utils.networks.model_file import ModelFileError

INPUT = "clip"  # name of the input in all formats
METADATA_KEY = "video_action_distillation"  # of what files state about themselves
CALL_SLACK = 1024**3  # bytes of a call beyond those that its number of clips explains; other threads decode meanwhile
SOURCE_POSITION = r"Exception from |Check '"  # starts of errors of OpenVINO, whose last line is the reason
NO_MEMORY = "bad_alloc|AllocateRaw|allocate memory"
ERROR_CODE = r"^\[ONNXRuntimeError\] : \d+ : \w+ : "
INSTALL = "pip install -r requirements-export.txt"
Calibration = Callable[[], Iterator[np.ndarray]]  # returns clips float32 `(T, H, W, 3)`, as often as asked
Operators = list[tuple[str, bool]]  # convolutions and matrix products: kind, and whether both inputs are 8-bit integers


@dataclass(frozen=True)
class Runtime:
    """An opened file: a network that maps RGB clips 0..255 to class scores.

    input_shape: (T, H, W, 3). is_dynamic: whether `run` takes any number of clips; otherwise it takes one. run: maps
    float32 `(B, *input_shape)`, contiguous, to float32 `(B, num_classes)`. metadata: the text under METADATA_KEY.
    step: of the scores if they are rounded to its multiples, as those of integers are. memory: bytes that opening the
    file and a first call with one clip took; None if unknown.
    """

    path: Path
    input_shape: tuple[int, int, int, int]
    num_classes: int
    is_dynamic: bool
    run: Callable[[np.ndarray], np.ndarray]
    metadata: str | None
    step: float = 0.0
    memory: int | None = None

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        """Return the scores of clips `(B, *input_shape)` as the file outputs them: float32 `(B, num_classes)`.

        Raises ModelFileError if it fails, if the scores have another shape or are not finite, or if a clip takes much
        more memory than the first one. Clips of one file may do what those of another do not.
        """
        clips = np.ascontiguousarray(clips, np.float32)
        parts = [clips] if self.is_dynamic else np.split(clips, len(clips))
        allowed = None if self.memory is None else CALL_SLACK + (1 + len(parts[0])) * self.memory
        try:
            with memory_limited(allowed):
                scores = np.concatenate([self.run(part) for part in parts])
        except Exception as error:  # each runtime has its own types
            raise ModelFileError(reason_of(error)) from None
        if scores.shape != (len(clips), self.num_classes):
            raise ModelFileError(
                f"it must output scores ({len(clips)}, {self.num_classes}) for {len(clips)} clips, it outputs "
                f"{scores.shape}"
            )
        if not np.isfinite(scores).all():
            raise ModelFileError("its scores hold NaN or infinite values")
        return scores


@dataclass(frozen=True)
class Format:
    """A format of exported files.

    runtime: the distribution that runs the files. modules, modules_int8: what the conversion imports.
    write: writes a Keras model of one named output, given with the path and the metadata. write_int8: writes it with
    8-bit integers, given also the clips on which they are calibrated, and the float32 file.
    open_file: opens a path; `threads` and `precision` ("float32" or "bfloat16") are keywords. It may raise anything
    for a damaged file. operators: reads those with weights from a file.
    """

    runtime: str
    modules: tuple[str, ...]
    write: Callable[[object, Path, str], None]
    open_file: Callable[..., Runtime]
    write_int8: Callable[[object, Path, str, Calibration, Path], None] | None = None
    operators: Callable[[Path], Operators] | None = None
    modules_int8: tuple[str, ...] = ()
    has_bfloat16: bool = False


def files_of(path: Path) -> list[Path]:
    """Return the files of an exported file: itself, with the weights of an OpenVINO model, or those in a folder."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]


def reason_of(error: Exception) -> str:
    """Return the reason in an error of a runtime on one line, without codes and positions in the runtime's source."""
    if isinstance(error, MemoryError) or re.search(NO_MEMORY, str(error)):
        return "it needs too much memory for a file of its size"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = lines[-1] if re.match(SOURCE_POSITION, lines[0]) else re.sub(ERROR_CODE, "", lines[0])
    return first_line(ValueError(reason))


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
def memory_limited(allowed: int | None) -> Iterator[None]:
    """Let allocations of the block fail that exceed what the process has by more than `allowed` bytes (on Linux).

    A graph of a hundred bytes can ask for a constant that fills the memory.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if allowed is None or (held := memory_held()) is None:
        yield
        return
    others = [each for each in (soft, hard) if each != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(held + allowed, *others) if others else held + allowed, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def memory_held() -> int | None:
    """Return the bytes that RLIMIT_DATA limits in this process; None on other systems than Linux."""
    status = Path("/proc/self/status")
    return 1024 * int(status.read_text().partition("VmData:")[2].split()[0]) if status.is_file() else None
