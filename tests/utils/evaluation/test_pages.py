"""Pages show any text as text."""

import re

import pytest

from utils.evaluation.experiment_page import FIGURES
from utils.evaluation.pages import page, table, visible, write_page
from utils.evaluation.protocol import Conditions

NAMES = {  # by name as it may be in a file system: as it is shown
    "<script>alert(1)</script>": "&lt;script&gt;alert(1)&lt;/script&gt;",
    "a$^$b": "a$^$b",
    "two\nlines\t": "two\\nlines\\t",
    'say "it\'s"': "say &#34;it&#39;s&#34;",
    "שלום": "שלום",
    "v_\udc80.keras": "v_\ufffd.keras",
    "\u202egnp.exe": "\\u202egnp.exe",
    "{{ 7 * 7 }}": "{{ 7 * 7 }}",
    "&amp;": "&amp;amp;",
    "nul\0\x7f": "nul\\x00\\x7f",
    "👩‍👩‍👧": "👩‍👩‍👧",
}


def experiment(**changes):
    """Return the content of a page without results."""
    empty = table("none", ["a"], [])
    content = {"title": "t", "sections": [], "conditions": Conditions("python", "machine", {}, "today"), "clips": 1}
    content |= {
        "folds": 1,
        "seeds": 1,
        "verdict": [],
        "warnings": [],
        "results": empty,
        "figures": dict.fromkeys(FIGURES),
    }
    content |= {"grids": [], "chosen": None, "runs": empty, "lacks_pages": False, "terms_shown": [], "arguments": empty}
    return content | changes


@pytest.mark.parametrize("name", NAMES)
def test_names_are_text(name):
    """A class called <script> would run in the browser of whoever opens the page, or a name would disguise itself."""
    html = page("experiment.html", **experiment(runs=table(name, [name], [[name, name]]), terms_shown=[(name, [name])]))
    assert html.count(f"<bdi>{NAMES[name]}</bdi>") == 5  # header, row, cell, term, value
    assert f"<caption>{NAMES[name]}</caption>" in html
    assert f'aria-label="Table: {NAMES[name]}"' in html
    assert "<script" not in html
    html.encode()


def test_numbers_are_unchanged():
    assert visible(3.5) == 3.5
    assert visible(None) is None
    assert visible("plain text, ümläut") == "plain text, ümläut"


def test_pages_need_no_network():
    """A page that is sent by mail would lack its style or pictures, or would report who reads it."""
    html = page("experiment.html", **experiment())
    assert html.startswith("<!doctype html>")
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in html
    assert re.findall(r"(?:src|href)=\"(?!#)[^\"]*\"|@import|url\(", html) == []


def test_a_page_that_fails_is_a_note(tmp_path, capsys):
    """Results of hours would end with a traceback because of a page."""

    def fail():
        raise MemoryError

    path = tmp_path / "report.html"
    assert write_page(path, fail, "experiment.html") is False
    assert capsys.readouterr().out == f"note: {path} was not written (MemoryError)\n"
    path.write_text("old")
    assert write_page(path, lambda: {"title": "t"}, "experiment.html") is False  # a value is missing
    assert "; the file of an earlier run is still there" in capsys.readouterr().out
    assert path.read_text() == "old"
    assert write_page(path, experiment, "experiment.html") is True
    assert path.read_text().startswith("<!doctype html>")
