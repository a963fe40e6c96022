"""The trainings of an experiment with their states, for --dry_run."""

from collections import Counter

from utils.base.text import counted
from utils.experiments.grid import Grid
from utils.experiments.not_reused import print_not_reused


def print_plan(grid: Grid) -> None:
    """Print each cell with its state, what is not reused, and the number of cells by state."""
    states = Counter()
    for cell in grid.cells:
        state = "tested" if cell.is_tested else "trained" if cell.is_trained else "to do"
        states[state] += 1
        print(f"{cell.fold}  seed {cell.seed}  {cell.row.name}: {state}")
    print_not_reused(grid.cells)
    found = ", ".join(f"{count} {state}" for state, count in states.items())
    print(f"{counted(len(grid.cells), 'training run')} ({found})")
