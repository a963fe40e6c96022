"""Notes on finished runs that an experiment does not reuse because their settings differ."""

from collections import Counter
from collections.abc import Iterable

from utils.base.files import read_json
from utils.experiments.cells import Cell
from utils.runs.identity import differences


def print_not_reused(cells: Iterable[Cell]) -> None:
    """Print in which settings finished runs of the same row, fold and seed differ from cells that are missing.

    A cell is compared with its latest finished training. Cells with equal differences share a line.
    """
    counts = Counter(
        differences_of(stored, cell.settings)
        for cell in cells
        if not cell.is_trained and (stored := latest_settings(cell)) is not None
    )
    for text, count in counts.items():
        runs = "1 finished run is" if count == 1 else f"{count} finished runs are"
        print(f"note: {runs} not reused: {text}")


def latest_settings(cell: Cell) -> dict | None:
    """Return the settings of the latest training that differs from `cell` only in its key; None if there is none."""
    found = [path for path in cell.root.glob(f"{cell.label}_*/trained.json") if path.parent.name != cell.folder.name]
    return read_json(max(found, key=lambda path: path.stat().st_mtime))["settings"] if found else None


def differences_of(stored: dict, wanted: dict) -> str:
    """Return the differences of two nested settings as text, with names such as `arrays.content`."""
    stored, wanted = dict(flat(stored)), dict(flat(wanted))
    missing = [f"{name} is missing here" for name in stored if name not in wanted]
    return "; ".join(filter(None, [differences(stored, wanted), *missing]))


def flat(value, name: str = "") -> Iterable[tuple[str, object]]:
    """Yield the names and values of nested dicts and lists of dicts."""
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
        parts = enumerate(value, start=1)
    else:
        yield name, list(value) if isinstance(value, tuple) else value
        return
    for key, part in parts:
        yield from flat(part, f"{name}.{key}" if name else str(key))
