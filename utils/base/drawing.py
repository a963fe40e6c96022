"""Drawing and saving of figures: any text can be shown, and a figure that cannot be drawn does not end a run."""

import contextlib
import io
import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from utils.base.errors import first_line
from utils.base.files import write_bytes

NO_MARKUP = {"text.parse_math": False, "text.usetex": False}  # "$" in names is no formula, whatever a matplotlibrc says
SVG = {"svg.fonttype": "none", "svg.hashsalt": "figure"}  # text stays text; equal figures are equal files
MISSING_GLYPH = "Glyph .* missing from"  # start of matplotlib's warning
DPI = 120  # of saved figures
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
UNPRINTABLE = ("Cc", "Cs", "Co", "Cn")  # categories: control characters, surrogates, private use, unassigned
COMBINING = ("Mn", "Me")  # accents, which are drawn over the character before


def label(text: str, longest: int = 48) -> str:
    """Return a name from a user in one line for a figure, shortened in the middle to `longest` characters.

    White space becomes single spaces. Characters without a glyph, such as control characters and the surrogates of
    undecodable file names, become U+FFFD. Invisible formatting characters are removed, and so are combining characters
    that follow three others, because they would cover other rows. The result is not empty and does not begin with an
    underscore, which would hide a legend entry.
    """
    printable, combined = [], 0
    for character in " ".join(str(text).split()):
        category = unicodedata.category(character)
        combined = combined + 1 if category in COMBINING else 0
        if category != "Cf" and combined <= 3:
            printable.append(REPLACEMENT if category in UNPRINTABLE else character)
    shown = "".join(printable) or "(empty)"
    if len(shown) > longest:
        end = (longest - 1) // 2
        shown = f"{shown[: longest - 1 - end]}…{shown[-end:]}"
    return f" {shown}" if shown.startswith("_") else shown


class Display:
    """Base class of figures, modelled on scikit-learn's Display objects: data and drawing are separate.

    Subclasses are dataclasses. `plot` draws the data and returns the object; the matplotlib figure is in `figure_`, its
    axes are in `ax_`. Subclasses define `draw`, and `size` or `new_axes` for the figure.
    """

    def size(self) -> tuple[float, float]:
        """Return width and height of a new figure in inches."""
        return 5.2, 3.6

    def new_axes(self):
        """Return the axes of a new figure; a display with several panels returns an array of axes."""
        from matplotlib.figure import Figure

        return Figure(figsize=self.size()).subplots()

    def draw(self, ax) -> None:
        """Draw on the axes."""
        raise NotImplementedError

    def plot(self, ax=None):
        """Draw on `ax`, by default on a new figure, and return self.

        ax: matplotlib axes; for a display with several panels an array of that many axes.
        """
        with text_as_it_is():
            self.is_new_figure_ = ax is None
            self.ax_ = self.new_axes() if ax is None else ax
            self.figure_ = np.ravel(self.ax_)[0].figure
            self.draw(self.ax_)
        return self

    def _repr_png_(self) -> bytes | None:
        """Show a plotted figure in a notebook; matplotlib itself shows axes that it was given."""
        return rendered(self.figure_, "png") if getattr(self, "is_new_figure_", False) else None


def rendered(figure, kind: str, *, whole_page: bool = False) -> bytes:
    """Return a matplotlib figure as a file of the format `kind`, "png", "svg" or "pdf".

    The margins are cropped unless `whole_page`.
    """
    content = io.BytesIO()
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with text_as_it_is():
        figure.savefig(content, format=kind, dpi=DPI, bbox_inches=None if whole_page else "tight", metadata=metadata)
    return content.getvalue()


def save_figure(display: Display, *paths: str | Path, whole_page: bool = False) -> bool:
    """Draw a display once and save it to each path, .png or .svg, atomically.

    Save all results first: if drawing or saving fails, this prints a note, leaves a file at the path as it is and
    returns False.
    """
    path = paths[0]
    try:
        figure = display.plot().figure_
        for path in paths:
            write_bytes(path, rendered(figure, Path(path).suffix[1:], whole_page=whole_page))
    except Exception as error:  # matplotlib raises many types
        print_failure(path, error)
        return False
    return True


def print_failure(path: str | Path, error: Exception, *, verb: str = "drawn") -> None:
    """Print a note that `path` was not drawn, or another verb, with the reason."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
    old = f"; the {'figure' if verb == 'drawn' else 'file'} of an earlier run is still there"
    print(f"note: {path} was not {verb} ({reason}){old if Path(path).is_file() else ''}")


@contextlib.contextmanager
def text_as_it_is() -> Iterator[None]:
    """Draw text without markup, and characters that the font lacks as boxes, without matplotlib's warnings."""
    import matplotlib

    with matplotlib.rc_context(NO_MARKUP | SVG), warnings.catch_warnings():
        warnings.filterwarnings("ignore", MISSING_GLYPH)
        yield
