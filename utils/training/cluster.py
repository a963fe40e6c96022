"""Teacher logits on a Dask cluster: each worker loads the teacher once, and answers for parts of the clips."""

import contextlib
import functools
import hashlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from utils.base.cluster import Cluster, run_on_cluster
from utils.base.cluster_worker import Job
from utils.base.devices import start_tensorflow
from utils.base.errors import UserError
from utils.base.files import file_fingerprint
from utils.base.in_order import Lost
from utils.base.interruption import between_steps
from utils.base.isolation import silence
from utils.base.options import ViewOptions
from utils.data.clips import ClipDataset, FrameFile
from utils.data.views import evenly_spaced
from utils.networks.precision import in_bfloat16
from utils.networks.recognizer import Recognizer
from utils.training.question import Question
from utils.training.teacher import Teacher

MODULES = (__name__, "models.frame_layers")  # whose code must be the same on all machines
PACKAGES = ("numpy", "cv2", "tensorflow", "keras")
SAMPLED_CLIPS = 64


@dataclass(frozen=True)
class Setup:
    """What a worker needs to answer: files, by the same absolute paths as here, and how to use them.

    files: frames.npy of the clips with labels, then those of `unlabelled`, with the digests of their samples.
    """

    teacher: Teacher
    bfloat16: bool
    files: tuple[tuple[str, str], ...]
    class_names: tuple[str, ...]
    views: ViewOptions

    def open(self) -> tuple[Recognizer, ClipDataset]:
        """Load the teacher and open the clips. Raises UserError if they are not those of the machine that asks."""
        start_tensorflow()
        if file_fingerprint(self.teacher.path) != self.teacher.fingerprint:
            raise UserError(f"--scheduler: {socket.gethostname()} finds another file in {self.teacher.path}")
        first, *unlabelled = (self._clips(*file) for file in self.files)
        dataset = replace(first, class_names=self.class_names, unlabelled=tuple(unlabelled))
        network = self.teacher.load(dataset)
        return (replace(network, model=in_bfloat16(network.model)) if self.bfloat16 else network), dataset

    @staticmethod
    def _clips(path: str, digest: str) -> ClipDataset:
        frames = FrameFile(path)
        if sample_digest(frames) != digest:
            raise UserError(f"--scheduler: {socket.gethostname()} finds other clips in {path}")
        return ClipDataset(frames, np.full(frames.shape[0], -1), None, ())  # views do not depend on labels


def logits_on_cluster(
    scheduler: str,
    teacher: Teacher,
    question: Question,
    parts: Sequence[tuple[int, np.ndarray]],
    *,
    bfloat16: bool,
    receive: Callable[[int, np.ndarray], None],
) -> Iterator[None]:
    """Compute the logits of parts, (view, rows), and yield in their order when one has been received.

    `receive(index, logits)` gets float32 (len(rows), C), in any order. With `bfloat16`, all workers use a copy of the
    teacher in that format. Raises UserError if a part ends its worker repeatedly, and what `run_on_cluster` raises.
    """
    path = os.path.abspath(teacher.path)
    opened = [part.frames for part in (question.dataset, *question.dataset.unlabelled)]
    files = {os.path.abspath(frames.path): sample_digest(frames) for frames in opened}
    names, views = question.dataset.class_names, question.views
    setup = Setup(replace(teacher, path=Path(path)), bfloat16, tuple(files.items()), names, views)
    with between_steps() as check:
        results = run_on_cluster(
            Cluster(scheduler, MODULES, PACKAGES, (path, *files)),
            Job(answer, prepare, (setup,), shared=True),
            parts,
            count=len(parts),
            receive=receive,
            check=check,
        )
        with contextlib.closing(results):
            for result in results:
                if isinstance(result, Lost):
                    raise UserError(f"--scheduler: {path} {result.reason}; does it fit into the workers' memory?")
                yield


def sample_digest(frames: FrameFile) -> str:
    """Return the SHA-256 of the first frames of up to 64 clips, spread over the file."""
    sha = hashlib.sha256()
    for row in evenly_spaced(SAMPLED_CLIPS, frames.shape[0]):
        sha.update(frames.read(row, np.array([0])))
    return sha.hexdigest()


def prepare(setup: Setup) -> None:
    """Initialise a child process of a worker; it loads the teacher with its first part, which can report errors."""
    global _setup
    silence()
    _setup = setup


def answer(view: int, rows: np.ndarray) -> np.ndarray:
    """Return the logits of the teacher for a view of clips: float32 (len(rows), C)."""
    network, dataset = _opened()
    return network.logits(dataset, rows, view=view, options=_setup.views)


@functools.cache
def _opened() -> tuple[Recognizer, ClipDataset]:
    return _setup.open()
