"""Given teachers, which are not trained: networks or class scores of any framework, single or averaged."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.data.clips import ClipDataset
from utils.experiments.cells import Cell
from utils.networks.class_scores import as_logits
from utils.networks.recognizer import load_recognizer
from utils.runtime.errors import UserError
from utils.runtime.files import file_fingerprint
from utils.settings.argument_types import SCORES_SUFFIX
from utils.settings.options import TRAINED_TEACHERS
from utils.teachers.score_files import open_scores, scores_fingerprint, scores_kind
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


def key_of_parts(parts: Sequence[Path | Cell], source_scores: str) -> dict:
    """Return what identifies a given teacher: the keys of its parts, and `source_scores` if it is not "auto".

    Raises UserError if class scores are neither logits nor probabilities.
    """
    keys, is_choice = [], False
    for part in parts:
        if isinstance(part, Cell):
            keys.append(part.key)
        elif part.suffix == SCORES_SUFFIX:
            kind = scores_kind(part, "--sources", source_scores)
            keys.append(scores_fingerprint(file_fingerprint(part), kind))
            is_choice = source_scores != "auto"
        else:
            keys.append(file_fingerprint(part))
    return {"parts": keys} | ({"source_scores": source_scores} if is_choice else {})


def logits_of(cell: Cell, dataset: ClipDataset, rows: np.ndarray, source_scores: str) -> np.ndarray | None:
    """Return log-probabilities of a given teacher for view 0 of `rows`, float32 `(n, C)`, averaged over its parts.

    None if a file lacks scores for some of these rows; see `kind_of` for `source_scores`. Raises UserError if a file
    does not match the arrays.
    """
    found = []
    for path in cell.teaching_files:
        if path.suffix == SCORES_SUFFIX:
            classes = len(dataset.class_names)
            scores = open_scores(path, "--sources", clips=dataset.row_count, classes=classes)
            kind = scores_kind(path, "--sources", source_scores)
            logits = as_logits(np.asarray(scores[rows] if scores.ndim == 2 else scores[rows, 0]), kind)
        else:
            logits = load_recognizer(path, argument="--sources").logits(dataset, rows)
        if not np.isfinite(logits).all():
            return None
        found.append(logits)
    return average(found, 1.0)
