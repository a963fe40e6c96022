"""Figures show any number of rows and any text, and a figure that fails costs no result."""

import ast
import errno
import itertools
import unicodedata
import warnings
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from utils.base import drawing
from utils.base.drawing import label, save_figure
from utils.base.errors import UserError
from utils.evaluation.class_gains import ClassGain, ClassGains
from utils.evaluation.confusion import ConfusionMatrix
from utils.evaluation.curves import Curve, PrecisionRecallCurves, RocCurves
from utils.evaluation.figures import AccuracyBars, AccuracyByCost, AccuracyByTemperature
from utils.evaluation.reliability import Reliability, ReliabilityDiagram
from utils.export.results import AccuracyByLatency
from utils.runs.history import TrainingCurves
from utils.video.dataset_report import DatasetReport
from utils.video.extraction_state import VideoOutcome

pytestmark = pytest.mark.draws

PROJECT = Path(__file__).parents[3]
BASES = {"Display", "Curves"}
OWN_SAVING = {"benchmarks/overview_picture.py"}  # the picture is its only result
NAMES = ["a$^$b", "$x_1$ und $y^$", "\\frac{1}{2}", "", " ", "two\nlines\r\n", "tab\t", "nul\0", "\x1b[31mred"]
NAMES += [
    "v_\udc80\udcff.keras",
    "שלום עולם",
    "مرحبا بالعالم",
    "跳远",
    "😀👩‍👩‍👧",
    "x" * 200,
    "y" * 199 + "z",
    "_hidden",
]
NAMES += ["e" + "\u0301" * 300, "{}", "{0}", "%s %d", "#&~^_", "\u202egnp.exe", "\ufeffbom", "\ue000private", "a, T 1"]


def interval(value=0.5):
    return {"estimate": value, "low": value - 0.1, "high": value + 0.1}


def rows(names, values, role=lambda number: "alone"):
    seen = {"test_clips": 6, "seen_test_clips": 2, "unknown": []}
    return [
        {
            "name": name,
            "role": role(number),
            "teacher": name,
            "alpha": 0.1,
            "temperature": 1.0 + number % 3,
            "seen": seen,
        }
        | {"interval": interval(value), "validation_accuracy": value, "multiply_accumulates": 1e9 * (1 + number % 2)}
        for number, (name, value) in enumerate(zip(names, values))
    ]


def history(names, values):
    fields = ("loss", "val_loss", "val_hard_loss", "accuracy", "val_accuracy", "val_agreement")
    content = [(number, *[value] * len(fields)) for number, value in enumerate(values)]
    table = np.array(content, dtype=[("epoch", int), *((name, float) for name in fields)])
    return TrainingCurves(table, "".join(names), 0)


def data_set(names, values):
    outcomes = tuple(
        VideoOutcome(f"{name}/v.avi", None, 0.1, 50.0, frame_count=5 + n, height=40, width=48 + n, frame_rate=25.0 + n)
        for n, name in enumerate(names)
    )
    counts = {name: number + 1 for number, name in enumerate(names)}
    picture = np.zeros((4, 4, 3), np.uint8)
    pictures = {name: [picture] for name in names[:11]}
    return DatasetReport("".join(names), counts, outcomes, "".join(names), counts, pictures)


def curves(names, values):
    return [
        Curve(name, "macro", np.array([0, value]), np.array([value, 1]), value) for name, value in zip(names, values)
    ]


def reliability(names, values):
    line = np.array([0.1, 0.9])
    return [Reliability(name, line, value * line, np.array([1, 2]), value) for name, value in zip(names, values)]


DISPLAYS = {  # by class: makes a display of rows with names and values 0..1
    ConfusionMatrix: lambda names, values: ConfusionMatrix(np.eye(len(names), dtype=int), tuple(names), "".join(names)),
    AccuracyBars: lambda names, values: AccuracyBars(names, [interval(value) for value in values]),
    AccuracyByTemperature: lambda names, values: AccuracyByTemperature(
        rows(names, values, lambda number: ("alone", "teacher", "distilled")[number % 3])
    ),
    AccuracyByCost: lambda names, values: AccuracyByCost(rows(names, values)),
    RocCurves: lambda names, values: RocCurves(curves(names, values)),
    PrecisionRecallCurves: lambda names, values: PrecisionRecallCurves(curves(names, values)),
    ReliabilityDiagram: lambda names, values: ReliabilityDiagram(reliability(names, values)),
    ClassGains: lambda names, values: ClassGains(
        [ClassGain(name, 3, value, 0.3, 1, 1, 1.0, 1.0) for name, value in zip(names, values)], *["".join(names)] * 2
    ),
    TrainingCurves: history,
    DatasetReport: data_set,
    AccuracyByLatency: lambda names, values: AccuracyByLatency(
        [
            {"file": name, "precision": "int8", "milliseconds": 9 * v, "accuracy": interval(v), "agreement": v}
            for name, v in zip(names, values)
        ],
        2,
    ),
}
ALL = pytest.mark.parametrize("kind", DISPLAYS, ids=lambda kind: kind.__name__)


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    """Save time."""
    monkeypatch.setattr(drawing, "DPI", 40)


def drawn(display, path, capsys):
    """Return the drawn figure; fail if there is a note, a warning or no picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = (path, path.with_suffix(".svg"))
        assert save_figure(display, *paths, whole_page=isinstance(display, DatasetReport)), capsys.readouterr().out
    assert capsys.readouterr().out == ""
    assert cv2.imread(str(path)).std() > 1
    assert ElementTree.parse(paths[1]).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    return display.figure_


def sources():
    scripts = (path for path in PROJECT.glob("*.py"))
    folders = (
        path for name in ("utils", "models", "benchmarks", "examples") for path in (PROJECT / name).rglob("*.py")
    )
    return {str(path.relative_to(PROJECT)): path.read_text() for path in itertools.chain(scripts, folders)}


def test_all_figures_are_in_this_test_and_are_saved_by_one_function():
    """A new figure could end a training by the name of a class."""
    classes = set()
    for text in sources().values():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and {getattr(base, "id", "") for base in node.bases} & BASES:
                classes.add(node.name)
    assert classes - BASES == {kind.__name__ for kind in DISPLAYS}
    assert {name for name, text in sources().items() if "savefig(" in text} == {"utils/base/drawing.py"} | OWN_SAVING
    assert not [name for name, text in sources().items() if "pyplot as" in text]


@ALL
def test_any_text_can_be_drawn(kind, tmp_path, capsys):
    """A class called a$^$b, or a file name that is no UTF-8, would end a run in a formula parser or an encoder."""
    figure = drawn(DISPLAYS[kind](NAMES, np.linspace(0.1, 0.9, len(NAMES))), tmp_path / "it.png", capsys)
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    assert texts
    for text in texts:
        assert not text.get_parse_math()
        assert "\\mathdefault" not in text.get_text()  # markup of a matplotlib formatter would be shown as it is
        assert len(text.get_text()) < 120
        assert not {unicodedata.category(character) for character in text.get_text()} & {"Cc", "Cs", "Cf"}


@ALL
@pytest.mark.parametrize("count", [0, 1, 2, 11, 101])
def test_any_number_of_rows_can_be_drawn(kind, count, tmp_path, capsys):
    """More rows than colours would end a run after all trainings."""
    display = DISPLAYS[kind]([f"name {number}" for number in range(count)], np.linspace(0.1, 0.9, count))
    possible = {
        ConfusionMatrix: count > 0,
    }
    if possible.get(kind, True):
        drawn(display, tmp_path / "it.png", capsys)


@ALL
def test_any_value_can_be_drawn(kind, tmp_path, capsys):
    """The curves of a training that ended with NaN would cost its model."""
    drawn(DISPLAYS[kind](["a", "b", "c", "d", "e"], [0.5, np.nan, np.inf, -np.inf, 3e38]), tmp_path / "a.png", capsys)
    drawn(DISPLAYS[kind](["a", "b"], [np.nan, np.nan]), tmp_path / "b.png", capsys)


@pytest.mark.parametrize("count", [2, 101])
def test_names_of_bars_do_not_overlap(count):
    """The rows of a large experiment would be unreadable."""
    names = [f"name {number}" for number in range(count)]
    assert shown_names(DISPLAYS[AccuracyBars](names, [0.5] * count).plot().figure_) == names[::-1]


@pytest.mark.slow
def test_a_figure_with_many_bars_can_be_saved():
    """The figure would be higher than matplotlib can save."""
    height = DISPLAYS[AccuracyBars](["it"] * 2000, [0.5] * 2000).plot().figure_.get_size_inches()[1]
    assert 300 < height < 2**16 / 120


@pytest.mark.parametrize(("count", "step"), [(2, 1), (101, 1), (400, 2)])
def test_names_of_a_confusion_matrix_do_not_overlap(count, step):
    """The classes of UCF101 or of Kinetics would be unreadable."""
    names = [f"class {number}" for number in range(count)]
    assert shown_names(DISPLAYS[ConfusionMatrix](names, None).plot().figure_) == names[::step][::-1]


def shown_names(figure):
    """Return the names at the vertical axis from bottom to top; fail if they overlap."""
    figure.draw_without_rendering()
    found = [(text.get_window_extent(), text.get_text()) for text in figure.axes[0].get_yticklabels()]
    found.sort(key=lambda item: item[0].y0)
    assert all(lower.y1 <= upper.y0 + 1 for (lower, _), (upper, _) in itertools.pairwise(found))
    return [name for _, name in found]


@ALL
def test_displays_follow_scikit_learn(kind):
    """A figure could not be placed among others in a notebook, or would not be shown there."""
    display = DISPLAYS[kind](["a", "b"], [0.5, 0.25])
    assert display.plot() is display
    assert display._repr_png_().startswith(b"\x89PNG")
    own = display.ax_
    figure = Figure()
    given = figure.subplots(1, np.size(own))
    assert display.plot(ax=given) is display
    assert display.figure_ is figure
    assert display.ax_ is given
    assert np.ravel(given)[0].has_data()
    assert display._repr_png_() is None  # matplotlib shows this figure


def test_a_table_of_labels():
    """A name would be shown as another one, or not at all."""
    for name, shown in {
        "Running": "Running",
        "a$^$b": "a$^$b",
        "two\n lines\t": "two lines",
        "": "(empty)",
        "\u200b": "(empty)",
        "v_\udc80.keras": "v_\ufffd.keras",
        "_x": " _x",
        "a\0b\x1bc": "a\ufffdb\ufffdc",
        "跳远": "跳远",
        "e" + 9 * "\u0301": "e" + 3 * "\u0301",
    }.items():
        assert label(name) == shown
    assert label("abcdefghij", 6) == "abc…ij"
    assert label("abcdef", 6) == "abcdef"
    long = label("a" * 150 + "b" * 50)
    assert (len(long), long[0], long[-1]) == (48, "a", "b")


class Failing:
    def __init__(self, error):
        self.error = error

    def plot(self):
        raise self.error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StopIteration(), "StopIteration"),
        (RuntimeError("first\nsecond"), "first"),
        (MemoryError(), "MemoryError"),
        (UserError("too large"), "too large"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
    ],
)
def test_what_fails_in_drawing_is_a_note(error, reason, tmp_path, capsys):
    """Hours of training would end with a traceback because of a picture."""
    path = tmp_path / "it.png"
    assert save_figure(Failing(error), path) is False
    assert capsys.readouterr().out == f"note: {path} was not drawn ({reason})\n"
    path.write_text("old")
    save_figure(Failing(error), path)
    assert capsys.readouterr().out.endswith(f"({reason}); the figure of an earlier run is still there\n")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("it.png", "old")]


def test_an_interruption_is_no_note(tmp_path):
    """Ctrl-C while a figure is drawn would be ignored."""
    with pytest.raises(KeyboardInterrupt):
        save_figure(Failing(KeyboardInterrupt()), tmp_path / "it.png")


def test_points_of_equal_cost_stay_at_their_cost():
    """A figure would show a network as cheaper than another one of the same size."""
    shown = rows(["a", "b", "c"], [0.2, 0.5, 0.7])
    for row, cost in zip(shown, (106e6, 106e6, 2e9)):
        row["multiply_accumulates"] = cost
    lines = AccuracyByCost(shown).plot().ax_.lines
    assert sorted({x for line in lines for x in np.asarray(line.get_xdata())}) == [0.106, 2.0]
    points = [line for line in lines if not line.get_label().startswith("_")]
    assert len({line.get_marker() for line in points}) == 3
