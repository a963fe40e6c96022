"""Figures on disk, drawn by Display objects."""

from pathlib import Path

from utils.runtime.files import written_beside


def save_figure(display, path: str | Path) -> None:
    """Draws a Display and writes it as PNG, complete or not at all."""
    with written_beside(Path(path)) as temporary:
        display.plot().savefig(temporary, dpi=120, bbox_inches="tight")
