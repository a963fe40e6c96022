"""Pages from the templates in templates/: self-contained HTML in which every value is escaped."""

import functools
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.base.drawing import print_failure
from utils.base.files import write_text

TEMPLATES = Path(__file__).parent / "templates"
UNDISPLAYED = ("Cs", "Cn")  # surrogates, unassigned
DIRECTION_CONTROLS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"


@dataclass(frozen=True)
class Cell:
    """A cell of a table. share: 0 to 1, drawn as a bar behind the text, or None. link: relative address, or None."""

    text: str
    share: float | None = None
    link: str | None = None


@dataclass(frozen=True)
class Table:
    """A table with its caption; the first column names the rows. text_columns: numbers of left-aligned columns."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    text_columns: Collection[int] = ()


def table(caption: str, header: Sequence[str], rows, text_columns: Collection[int] = ()) -> Table:
    """Return a table whose cells are given as Cell, or as text."""
    cells = [[cell if isinstance(cell, Cell) else Cell(str(cell)) for cell in row] for row in rows]
    return Table(caption, header, cells, text_columns)


def visible(value):
    """Return a text in which characters without a picture of their own are visible; other values are unchanged.

    Control characters become escapes, a line break in a file name for example \\n, and so do characters that only
    change the direction of writing, because they can disguise a name. Surrogates of undecodable names become U+FFFD.
    """
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return "".join(map(_visible_character, value))


def _visible_character(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cc":
        return repr(character)[1:-1]
    if character in DIRECTION_CONTROLS:
        return f"\\u{ord(character):04x}"
    return "\N{REPLACEMENT CHARACTER}" if category in UNDISPLAYED else character


def page(template: str, **content) -> str:
    """Return the HTML of a template with `content`; text passes through `visible` and is escaped."""
    return _environment().get_template(template).render(content)


@functools.cache
def _environment():
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def write_page(path: Path, make_content, template: str) -> bool:
    """Write the page of `template` with the dict from `make_content()`.

    Write all results first: if the page cannot be made, this prints a note, leaves an earlier page and returns False.
    """
    try:
        write_text(path, page(template, **make_content()))
    except Exception as error:  # of any library that draws, reads frames or renders
        print_failure(path, error, verb="written")
        return False
    return True
