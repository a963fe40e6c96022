"""Given teachers, which are not trained: networks or class scores of any framework, single or averaged."""

from pathlib import Path

import numpy as np

from utils.data.clips import ClipDataset, open_array
from utils.experiments.cells import Cell
from utils.networks.recognizer import load_recognizer
from utils.runtime.errors import UserError
from utils.settings.options import TRAINED_TEACHERS
from utils.teachers.exchange import as_logits
from utils.teachers.targets import average


def parse_source(text: str) -> tuple[str, tuple[str, ...]]:
    """Parse NAME=PART[,PART] into the name and the parts.

    A part is one of TRAINED_TEACHERS or a file name, which may contain {fold} and {seed}. Raises UserError if the text
    has another form.
    """
    name, equals, parts = text.partition("=")
    if not name or not equals or not all(parts.split(",")) or name in TRAINED_TEACHERS:
        raise UserError(f"--sources must be NAME=FILE or NAME=FILE,FILE with a new name, got {text}")
    return name, tuple(parts.split(","))


def file_of_part(part: str, fold: str, seed: int) -> Path:
    """Return the file of a part for one fold and seed; on fold:1/3, {fold} becomes 1-3.

    Raises UserError if the file does not exist.
    """
    number = fold.partition(":")[2].replace("/", "-") or fold
    path = Path(part.replace("{fold}", number).replace("{seed}", str(seed)))
    if not path.is_file():
        raise UserError(f"--sources must name existing files, got {path}")
    return path


def logits_of(cell: Cell, dataset: ClipDataset, rows: np.ndarray) -> np.ndarray | None:
    """Return log-probabilities of a given teacher for view 0 of `rows`, float32 `(n, C)`, averaged over its parts.

    None if a file lacks finite scores for some of these rows. Raises UserError if a file does not match the arrays.
    """
    found = []
    for path in cell.teaching_files:
        if path.suffix == ".npy":
            scores = open_array(path, "--sources", mmap_mode="r")
            if scores.ndim not in (2, 3) or len(scores) != dataset.row_count:
                raise UserError(
                    f"--sources: {path} must hold scores of {dataset.row_count} clips, got shape {scores.shape}"
                )
            logits = as_logits(np.asarray(scores[rows] if scores.ndim == 2 else scores[rows, 0], np.float32))
        else:
            logits = load_recognizer(path, argument="--sources").logits(dataset, rows)
        if not np.isfinite(logits).all():
            return None
        found.append(logits)
    return average(found, 1.0)
