"""Drawing and saving of figures: any text can be shown, and a figure that cannot be drawn does not end a run."""

import contextlib
import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path

from utils.runtime.errors import first_line
from utils.runtime.files import written_beside

NO_MARKUP = {"text.parse_math": False, "text.usetex": False}  # "$" in names is no formula, whatever a matplotlibrc says
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


def save_figure(display, path: str | Path, *, whole_page: bool = False) -> bool:
    """Draw a Display object, whose `plot()` returns a figure, and save it as a PNG file atomically.

    The margins are cropped unless `whole_page`. Save all results first: if drawing or saving fails, this prints a note,
    leaves a file at `path` as it is and returns False.
    """
    try:
        with text_as_it_is(), written_beside(Path(path)) as temporary:
            display.plot().savefig(temporary, dpi=DPI, bbox_inches=None if whole_page else "tight")
    except Exception as error:  # matplotlib raises many types
        reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        old = "; the figure of an earlier run is still there" if Path(path).is_file() else ""
        print(f"note: {path} was not drawn ({reason}){old}")
        return False
    return True


@contextlib.contextmanager
def text_as_it_is() -> Iterator[None]:
    """Draw text without markup, and characters that the font lacks as boxes, without matplotlib's warnings."""
    import matplotlib

    with matplotlib.rc_context(NO_MARKUP), warnings.catch_warnings():
        warnings.filterwarnings("ignore", MISSING_GLYPH)
        yield
