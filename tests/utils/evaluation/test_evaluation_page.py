"""The page of eval.py from made-up answers, without networks."""

import base64
import re
import subprocess
import sys
from dataclasses import replace
from html import unescape

import cv2
import numpy as np
import pytest

from tests.made_up_report import made_up_report
from tests.scripts import PROJECT
from utils.base import drawing
from utils.evaluation.confusion import ConfusionMatrix
from utils.evaluation.evaluation_page import content, write_evaluation_page
from utils.evaluation.metrics import calibration_error
from utils.evaluation.pictures import strip_of_frames

pytestmark = pytest.mark.draws

CLASSES = ["<script>alert(1)</script>", "a$^$b", "two\nlines", "שלום"]
MODELS = {"student": (0.35, 1, 0.5), "teacher": (0.45, 10, 5.0)}
FIGURES = ["accuracy", "accuracy_by_cost", "class_gains_teacher", "confusion_student"]
FIGURES += ["confusion_teacher", "precision_recall", "reliability", "roc"]


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    """Save time."""
    monkeypatch.setattr(drawing, "DPI", 40)


@pytest.fixture
def report(tmp_path):
    """The report of two recognisers of four classes with difficult names, for 40 clips."""
    paths = [f'{CLASSES[number // 10]}/"quo\'ted"\n{number}.avi' for number in range(40)]
    return made_up_report(tmp_path / "out", CLASSES, 40, models=MODELS, paths=paths)


def cells(found):
    """Return the texts of a table, by row."""
    return [[cell.text for cell in row] for row in found.rows]


def test_numbers_are_those_of_the_answers(report):
    """The page that people send to each other would show other numbers than the tables."""
    page = content(report)
    first, second = report.predictions
    labels = first.clips.labels
    right, other = (each.logits.argmax(axis=1) == labels for each in (first, second))
    mine, theirs = page["verdict"]
    assert (mine["accuracy"], mine["clips"]) == (f"{100 * right.mean():.1f} %", 40)
    assert mine["versus"] is None
    gain = 100 * (right.mean() - other.mean())
    assert theirs["versus"]["difference"] == f"{gain:.1f} points above it"
    assert "; not significant, p = 1 by " in theirs["versus"]["detail"]
    assert theirs["versus"]["cost"] == "10 % of"  # 0.5 of 5.0
    assert page["chance"] == "25.0 %"
    rows = cells(page["comparison"])
    assert [row[0] for row in rows] == ["student.keras", "teacher.keras"]
    assert rows[0][1].startswith(f"{100 * right.mean():.1f} % (")
    assert rows[0][4:] == [f"{report.results[0]['macro_f1']:.3f}", "0.500", "6.2", "1,000,000", "4.0", "unknown"]
    (pair,) = page["pairs"]
    assert (pair["only_first"], pair["only_second"]) == ((right & ~other).sum(), (other & ~right).sum())
    for row in cells(pair["table"]):
        of_class = labels == CLASSES.index(row[0])
        assert row[1] == "10"
        assert row[2:4] == [f"{100 * right[of_class].mean():.1f} %", f"{100 * other[of_class].mean():.1f} %"]
        assert row[4] == f"{100 * (right[of_class].mean() - other[of_class].mean()):+.1f}"
    assert [float(row[4]) for row in cells(pair["table"])] == sorted(
        (float(row[4]) for row in cells(pair["table"])), reverse=True
    )
    same = np.mean(first.logits.argmax(axis=1) == second.logits.argmax(axis=1))
    assert cells(page["agreement"])[0] == ["student.keras", "100.0 %", f"{100 * same:.1f} %"]
    areas = [report.results[0][name][kind] for name in ("roc_auc", "average_precision") for kind in ("macro", "micro")]
    assert cells(page["areas"])[0][1:] == [f"{area:.3f}" for area in areas]
    true, predicted, count, _ = cells(page["confusions"][0]["table"])[0]
    confused = (labels == CLASSES.index(true)) & (first.logits.argmax(axis=1) == CLASSES.index(predicted))
    assert int(count) == confused.sum() > 0


def test_sheets_show_the_most_confident_mistakes(report):
    """Clips would be shown with the frames or answers of others."""
    mistakes, only_student, only_teacher = content(report)["sheets"]
    first, second = report.predictions
    labels = first.clips.labels
    exponentials = np.exp(first.logits.astype(float))
    confidence = (exponentials / exponentials.sum(axis=1, keepdims=True)).max(axis=1)
    answers = [each.logits.argmax(axis=1) for each in (first, second)]
    wrong = np.flatnonzero(answers[0] != labels)
    expected = wrong[np.argsort(-confidence[wrong])][:9]
    assert [clip.path for clip in mistakes.clips] == report.dataset.paths[expected].tolist()
    clip, row = mistakes.clips[0], expected[0]
    assert clip.truth == CLASSES[labels[row]]
    assert [answer["predicted"] for answer in clip.answers] == [CLASSES[found[row]] for found in answers]
    assert clip.answers[0]["confidence"] == f"{100 * confidence[row]:.0f} %"
    assert (clip.source, clip.width, clip.height) == strip_of_frames(report.dataset.frames.read(row))
    rows = {path: number for number, path in enumerate(report.dataset.paths.tolist())}
    for sheet, right, other in ((only_student, 0, 1), (only_teacher, 1, 0)):
        for clip in sheet.clips:
            row = rows[clip.path]
            assert answers[right][row] == labels[row] != answers[other][row]


def test_strips_show_frames_in_their_colours():
    """Red and blue would be exchanged, or frames would be out of order."""
    clip = np.zeros((8, 36, 48, 3), np.uint8)
    clip[:4, ..., 0], clip[4:, ..., 2] = 255, 255  # first red, then blue
    source, width, height = strip_of_frames(clip)
    assert (width, height) == (4 * 128, 96)
    kind, _, content = source.partition(",")
    assert kind == "data:image/jpeg;base64"
    blue, _, red = (
        part.astype(int) for part in cv2.split(cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), 1))
    )
    assert red[:, :256].mean() > 250 > 5 > red[:, 256:].mean()
    assert blue[:, 256:].mean() > 250 > 5 > blue[:, :256].mean()


def test_the_files(report, capsys):
    """A figure would be missing beside the page, or the page would not contain it."""
    path = report.folder / "report.html"
    assert write_evaluation_page(path, report) is True
    assert capsys.readouterr().out == ""
    written = sorted(file.name for file in report.folder.iterdir() if file.suffix in (".png", ".svg", ".pdf"))
    assert written == sorted(f"{name}{suffix}" for name in FIGURES for suffix in (".png", ".svg", ".pdf"))
    html = path.read_text()
    assert html.count("data:image/svg+xml;base64,") == len(FIGURES)
    shown = re.sub(r"<[^>]*>", " ", html)
    for name in (*CLASSES[:2], CLASSES[3], r"two\nlines", r"""quo'ted"\n"""):
        assert name in unescape(shown)
    assert "<script" not in html
    assert len(re.findall("<h1", html)) == 1
    assert html.count("<table>") == html.count("<caption>")
    assert all(re.findall(r'alt="([^"]*)"', html))


def test_one_recogniser(report):
    """A test of a single model would have no page."""
    alone = replace(
        report,
        predictions=report.predictions[:1],
        results=report.results[:1],
        names=report.names[:1],
        comparisons=[],
        folder=None,
    )
    page = content(alone)
    assert page["pairs"] == []
    assert (page["agreement"], page["accuracy"], page["cost"]) == (None, None, None)
    right = report.predictions[0].logits.argmax(axis=1) == report.predictions[0].clips.labels
    shares = [float(row[2].removesuffix(" %")) for row in cells(page["per_class"])]
    assert shares == sorted(shares)
    assert np.mean(shares) == pytest.approx(100 * right.mean(), abs=0.1)
    assert [sheet.title for sheet in page["sheets"]] == ["Most confident mistakes of student.keras"]
    assert "no record" in page["trainings"][0]["reason"]


def test_a_figure_that_fails_costs_neither_the_page_nor_the_others(report, monkeypatch, capsys):
    """One class name that a library cannot draw would cost the page."""

    def fail(self, ax=None):
        raise RuntimeError("planted")

    monkeypatch.setattr(ConfusionMatrix, "plot", fail)
    assert write_evaluation_page(report.folder / "report.html", report) is True
    names = ("student", "teacher")
    assert capsys.readouterr().out.splitlines() == [
        f"note: {report.folder}/confusion_{name}.png was not drawn (planted)" for name in names
    ]
    html = (report.folder / "report.html").read_text()
    assert html.count("data:image/svg+xml;base64,") == len(FIGURES) - 2


def test_no_tensorflow_is_needed():
    """Building a page from stored answers would take seconds longer, and need a network library."""
    code = "import sys, utils.evaluation.evaluation_page, utils.evaluation.experiment_page; "
    code += "sys.exit(bool({'tensorflow', 'keras', 'jinja2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, timeout=120).returncode == 0


@pytest.mark.parametrize(
    ("gain", "p_value", "costs", "difference", "verdict", "cost"),
    [
        (0.125, 0.049, (5, 20), "12.5 points above it", "significant", "25 % of"),
        (-0.125, 0.051, (20, 5), "12.5 points below it", "too few groups for a test", "4.0 times"),
        (0.0, 1.0, (5, 5), "as accurate", "not significant", None),
    ],
)
def test_the_verdict_on_another_model(report, gain, p_value, costs, difference, verdict, cost):
    """The first sentence that people read would name the wrong model as better or cheaper, or chance as a result."""
    results = [result | {"multiply_accumulates": value} for result, value in zip(report.results, costs)]
    interval = {"estimate": gain, "low": gain - 0.1, "high": gain + 0.1}
    compared = report.comparisons[0] | {"p_value": p_value, "verdict": verdict, "difference": interval}
    _, found = content(replace(report, results=results, comparisons=[compared], folder=None))["verdict"]
    assert found["versus"]["difference"] == difference
    assert f"to {100 * gain + 10:+.1f}; {verdict}, p = {p_value:.2g} by " in found["versus"]["detail"]
    assert found["versus"]["cost"] == cost


def test_who_alone_recognises_how_many_clips(report):
    """The sentence would credit one model with the clips of the other."""
    write_evaluation_page(report.folder / "report.html", report)
    text = " ".join(unescape(re.sub(r"<[^>]*>", "", (report.folder / "report.html").read_text())).split())
    labels = report.predictions[0].clips.labels
    right, other = (each.logits.argmax(axis=1) == labels for each in report.predictions)
    only, only_other = (right & ~other).sum(), (other & ~right).sum()
    assert only != only_other
    assert f"recognised by student.keras only: {only}; by teacher.keras only: {only_other}." in text


def test_the_calibrated_diagram_divides_by_the_temperature(report, monkeypatch):
    """A model that is overconfident would look worse after its calibration, or the figure contradict the table."""
    labels, temperature = report.predictions[0].clips.labels, 3.0
    predictions = [replace(each, logits=4 * each.logits) for each in report.predictions]
    calibrated = {"temperature": temperature, "threshold": 0.5, "calibration_error": 0.25, "loss": 1.5}
    results = [result | {"calibrated": calibrated} for result in report.results]
    monkeypatch.setattr(type(report), "draw", lambda self, display, *_: display)
    page = content(replace(report, predictions=predictions, results=results))
    for each, raw, after in zip(predictions, page["reliability"].lines, page["reliability_calibrated"].lines):
        assert raw.error == pytest.approx(calibration_error(labels, each.logits))
        assert after.error == pytest.approx(calibration_error(labels, each.logits / temperature))
        assert after.error < raw.error
    assert cells(page["calibration"])[0][3:] == ["3", "25.0 %", "1.500"]
