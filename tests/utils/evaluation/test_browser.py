"""Report pages in headless Chromium: complete, accessible and as wide as the window."""

import re

import pytest

from tests.browser import chromium, faults, open_page, print_to_pdf
from tests.made_up_report import CLASSES, made_up_report
from tests.utils.evaluation.test_experiment_page import experiment_report
from utils.evaluation.evaluation_page import write_evaluation_page
from utils.evaluation.experiment_page import write_experiment_page

pytestmark = [pytest.mark.slow, pytest.mark.draws]
TWO = {"student": (0.35, 1, 0.5), "teacher": (0.45, 10, 5.0)}
HOSTILE = ["<script>alert(1)</script>", "\u202e$x^y שלום"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages of 101 classes, of two classes with hostile names, and of an experiment."""
    folder, found = tmp_path_factory.mktemp("pages"), {}
    paths = [f'{HOSTILE[number // 10]}/"it\'s"\n{"long" * 40}{number}.avi' for number in range(20)]
    for name, report in {
        "UCF101": made_up_report(folder / "UCF101", CLASSES, 3783),
        "two classes": made_up_report(folder / "two", HOSTILE, 20, models=TWO, paths=paths),
    }.items():
        found[name] = report.folder / "report.html"
        assert write_evaluation_page(found[name], report)
    found["experiment"] = folder / "experiment.html"
    assert write_experiment_page(found["experiment"], experiment_report(folder))
    return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", ["UCF101", "two classes", "experiment"])
def test_a_page_has_no_faults(pages, browser, name, width):
    """A page would scroll sideways on a phone, lack a picture, or be closed to a screen reader."""
    open_page(browser, pages[name], width=width)
    assert faults(browser) == []


def test_the_dark_page_has_no_faults(pages, browser):
    """Text would be dark on a dark page."""
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    try:
        open_page(browser, pages["two classes"], width=1280)
        colour = "return getComputedStyle(document.body).backgroundColor"
        assert browser.execute_script(colour) == "rgb(21, 24, 28)"
        assert faults(browser) == []
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_faults_are_found(browser, tmp_path):
    """A page with every fault would pass."""
    path = tmp_path / "bad.html"
    path.write_text("<script>nothing()</script><img src='missing.png'><div style='width: 900px'>wide</div>")
    open_page(browser, path, width=400)
    found = " ".join(faults(browser))
    for fault in ("console: ", "image does not load", "pixels wide", "axe: image-alt", "axe: html-has-lang"):
        assert fault in found


def test_sizes_and_print(pages, browser, tmp_path):
    """A page could not be sent by mail, or a printed one would fill a folder: what is folded stays folded."""
    assert pages["UCF101"].stat().st_size < 10e6
    open_page(browser, pages["two classes"], width=1280)
    print_to_pdf(browser, tmp_path / "page.pdf")
    content = (tmp_path / "page.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/MediaBox [0 0 594" in content  # A4 is 595 points wide
    assert len(re.findall(rb"/Type\s*/Page\b", content)) <= 6
