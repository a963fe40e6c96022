"""The pages of the cells of an experiment, next to their results."""

from pathlib import Path

import numpy as np

from utils.base.devices import hardware
from utils.base.run_log import command_line
from utils.data.clips import ClipDataset
from utils.data.groups import Groups, groups_or_reason
from utils.evaluation.evaluation_page import write_evaluation_page
from utils.evaluation.evaluation_report import EvaluationReport
from utils.evaluation.protocol import Conditions
from utils.evaluation.testing import ChosenClips, Predictions
from utils.experiments.cells import Cell
from utils.experiments.grid import Grid
from utils.experiments.provenance import record_of_source, seen_by
from utils.networks.recognizer import Recognizer
from utils.runs.record import Record

HOME = "../../report.html"  # the page of the experiment, from that of a cell


def groups_of(grid: Grid, dataset: ClipDataset) -> Groups | None:
    """Return the groups of the clips of an experiment, None if they are unknown."""
    return groups_or_reason(dataset.paths, grid.data.group_pattern)[0]


def write_cell_page(grid: Grid, cell: Cell, predictions: Predictions, result: dict, dataset: ClipDataset) -> None:
    """Write the page of a tested cell with its result, or print a note if that fails."""
    name = f"{cell.row.name} ({cell.fold}, seed {cell.seed})"
    conditions = Conditions(command_line(), hardware())
    groups = groups_of(grid, dataset)
    report = EvaluationReport([predictions], [result], [name], ["cell"], [], dataset, groups, conditions, home=HOME)
    write_evaluation_page(page_of(cell), report)


def page_of(cell: Cell) -> Path:
    """Return the path of a cell's page."""
    return cell.path_of("report", ".html")


def link_to(cell: Cell) -> str | None:
    """Return the address of a cell's page from the page of the experiment; None if there is no page."""
    path = page_of(cell)
    return f"cells/{cell.folder.name}/{path.name}" if path.is_file() else None


def predictions_of_given(grid: Grid, cell: Cell, dataset: ClipDataset, logits: np.ndarray) -> Predictions:
    """Return the predictions of a given teacher, logits float `(n, C)`, for the test clips of its fold."""
    split = grid.splits[cell.fold]
    first, *others = cell.teaching_files
    record = None if others else record_of_source(first)
    seen = seen_by(cell, dataset, split).test
    clips = ChosenClips(split.test, dataset.labels[split.test], dataset.class_names, cell.fold, (), seen, split)
    return Predictions(
        Recognizer(first, None, record if isinstance(record, Record) else None),
        clips,
        logits,
        0.0,
        views=cell.views.count,
    )
