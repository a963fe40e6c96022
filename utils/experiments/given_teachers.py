"""Given teachers, which are not trained: networks or class scores of any framework, single or averaged."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.base.argument_types import MODEL_SUFFIXES, SCORES_SUFFIX
from utils.base.errors import UserError
from utils.base.files import file_fingerprint
from utils.base.options import TRAINED_TEACHERS
from utils.data.class_scores import as_logits, mean_probabilities
from utils.data.clips import ClipDataset
from utils.experiments.cells import Cell
from utils.networks.averaging import (
    WHOLE_CLIP,
    AveragedViews,
    averaged_logits,
    mean_of_views,
)
from utils.networks.cost import cost_of_model
from utils.networks.recognizer import load_recognizer
from utils.runs.cost import Cost, stated_cost, total_cost
from utils.runs.identity import scores_fingerprint
from utils.training.score_files import open_scores, scores_kind


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

    Raises UserError if the file does not exist or is neither a model nor class scores, or if the cost stated
    in the .json next to its scores is invalid.
    """
    number = fold.partition(":")[2].replace("/", "-") or fold
    path = Path(part.replace("{fold}", number).replace("{seed}", str(seed)))
    if not os.path.isfile(path):
        raise UserError(f"--sources must name existing files, got {path}")
    if path.suffix not in (*MODEL_SUFFIXES, SCORES_SUFFIX):
        raise UserError(f"--sources must name models (.keras, .h5) or class scores (.npy), got {path}")
    if path.suffix == SCORES_SUFFIX:
        stated_cost(path, argument="--sources")
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


def logits_of(
    cell: Cell,
    dataset: ClipDataset,
    rows: np.ndarray,
    source_scores: str,
    views: AveragedViews = WHOLE_CLIP,
) -> np.ndarray | None:
    """Return logits of a given teacher for `rows`, float32 `(n, C)`, averaged over its parts and `views`.

    The parts are averaged as in predict.py, each at its own temperature. Scores have the temperature 1; those per clip
    `(N, C)` are those of view 0. None if a file lacks scores for some of these rows or views; see `kind_of` for
    `source_scores`. Raises UserError if a file does not match the arrays.
    """
    found, temperatures = [], []
    for path in cell.teaching_files:
        temperature = 1.0
        if path.suffix == SCORES_SUFFIX:
            classes = len(dataset.class_names)
            scores = open_scores(path, "--sources", clips=dataset.row_count, classes=classes)
            kind = scores_kind(path, "--sources", source_scores)
            by_view = scores[:, None] if scores.ndim == 2 else scores
            if by_view.shape[1] < views.count:
                return None
            by_view = [as_logits(np.asarray(by_view[rows, view]), kind) for view in range(views.count)]
            logits = mean_of_views(by_view, temperature)
        else:
            recognizer = load_recognizer(path, argument="--sources")
            temperature = recognizer.temperature
            logits = averaged_logits(recognizer, dataset, rows, views)
        if not np.isfinite(logits).all():
            return None
        found.append(logits)
        temperatures.append(temperature)
    return found[0] if len(found) == 1 else np.log(mean_probabilities(found, temperatures)).astype(np.float32)


def costs_of(cell: Cell) -> dict:
    """Return the values of a given teacher's `Cost`, for all views of the test; None each if any part is unknown.

    Networks are measured, and score files state the cost in their .json. A clip needs all parts of an average.
    """
    costs = []
    for path in cell.teaching_files:
        if path.suffix == SCORES_SUFFIX:
            costs.append(stated_cost(path, argument="--sources"))
        else:
            costs.append(cost_of_model(load_recognizer(path, argument="--sources").model))
    if None in costs:
        return dict.fromkeys(Cost.model_fields)
    found = total_cost(costs).model_dump()
    return found | {"multiply_accumulates": cell.views.count * found["multiply_accumulates"]}


def has_new_cost(cell: Cell) -> bool:
    """Return whether the stored test of a given teacher lacks its cost, or has another one than its .json states."""
    tested = cell.read("tested")
    are_scores = all(path.suffix == SCORES_SUFFIX for path in cell.teaching_files)
    if not are_scores and tested["parameters"] is not None:
        return False  # files of networks are part of the cell's key
    return {name: tested[name] for name in Cost.model_fields} != costs_of(cell)
