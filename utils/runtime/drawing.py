"""Saving figures that Display objects draw."""

from pathlib import Path

from utils.runtime.files import written_beside


def save_figure(display, path: str | Path) -> None:
    """Draw a Display object, whose `plot()` returns a figure, and save it as a PNG file atomically."""
    with written_beside(Path(path)) as temporary:
        display.plot().savefig(temporary, dpi=120, bbox_inches="tight")
