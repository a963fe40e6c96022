"""Teachers of an experiment that are given, not trained: networks or scores of any framework, alone or averaged."""

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
    """NAME=PART[,PART] as name and parts; a part is a file, with {fold} and {seed} in its name, or one of
    TRAINED_TEACHERS.

    Raises UserError if the text is not of that form.
    """
    name, equals, parts = text.partition("=")
    if not name or not equals or not all(parts.split(",")) or name in TRAINED_TEACHERS:
        raise UserError(f"--sources must be NAME=FILE or NAME=FILE,FILE with a name of its own, got {text}")
    return name, tuple(parts.split(","))


def file_of_part(part: str, fold: str, seed: int) -> Path:
    """The file of a part on one fold and seed: {fold} stands for 1-3 on fold:1/3. Raises UserError if it is missing."""
    number = fold.partition(":")[2].replace("/", "-") or fold
    path = Path(part.replace("{fold}", number).replace("{seed}", str(seed)))
    if not path.is_file():
        raise UserError(f"--sources must name existing files, got {path}")
    return path


def answers_of(cell: Cell, dataset: ClipDataset, rows: np.ndarray) -> np.ndarray | None:
    """Log-probabilities float32 `(n, C)` of a given teacher for view 0 of `rows`, averaged over its sources.

    None if a file of scores has none for some of these rows. Raises UserError if a file does not fit the arrays.
    """
    answers = []
    for path in cell.teaching_files:
        if path.suffix == ".npy":
            scores = open_array(path, "--sources", mmap_mode="r")
            if scores.ndim not in (2, 3) or len(scores) != len(dataset):
                raise UserError(
                    f"--sources: {path} must hold scores of {len(dataset)} clips, its shape is {scores.shape}"
                )
            logits = as_logits(np.asarray(scores[rows] if scores.ndim == 2 else scores[rows, 0], np.float32))
        else:
            logits = load_recognizer(path, argument="--sources").logits(dataset, rows)
        if not np.isfinite(logits).all():
            return None
        answers.append(logits)
    return average(answers, 1.0)
