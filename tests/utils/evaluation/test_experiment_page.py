"""The page of reproduce.py from made-up results."""

import pytest

from utils.base import drawing
from utils.evaluation.experiment_page import ExperimentReport, content, figure_names, write_experiment_page
from utils.evaluation.protocol import Conditions

pytestmark = pytest.mark.draws

FOLDS, SEEDS = ("fold:1/2", "fold:2/2"), (0, 1)


def interval(estimate):
    return {"estimate": estimate, "low": estimate - 0.1, "high": estimate + 0.1, "method": "t over 2 folds", "n": 4}


def row(role, accuracy, *, name, teacher=None, temperature=None, alpha=None, gain=None, gap=None):
    return {
        "name": name,
        "role": role,
        "teacher": teacher,
        "temperature": temperature,
        "alpha": alpha,
        "validation_accuracy": accuracy,
        "interval": interval(accuracy),
        "seen": {"test_clips": 6, "seen_test_clips": 0, "unknown": []},
        "clips": 12,
        "multiply_accumulates": 1e9 if role != "teacher" else 2e10,
        "minus_alone": None if gain is None else interval(gain),
        "gap_closed": gap,
    }


def experiment_report(folder, alphas=(0.1, 0.5)) -> ExperimentReport:
    """Return the report of a teacher and its students at two temperatures and the given alphas."""
    rows = [row("alone", 0.4, name="student alone"), row("teacher", 0.8, name="teacher: C3D", teacher="C3D", gain=0.4)]
    rows += [
        row(
            "distilled",
            0.5 + temperature / 100 + alpha / 10,
            name=f"student of C3D, T {temperature}, alpha {alpha}",
            teacher="C3D",
            temperature=temperature,
            alpha=alpha,
            gain=0.1,
            gap=0.25,
        )
        for temperature in (1, 10)
        for alpha in alphas
    ]
    results = {"rows": rows, "chosen": [], "leaks": {}, "versions": {"keras": "3"}, "arguments": {"split": "fold:2"}}
    runs = [
        {
            "recogniser": each["name"],
            "fold": fold,
            "seed": seed,
            "test_accuracy": each["interval"]["estimate"] + 0.01 * seed,
            "cell": f"{number}-{fold[5]}-{seed}",
        }
        for number, each in enumerate(rows)
        for fold in FOLDS
        for seed in SEEDS
    ]
    links = {run["cell"]: f"cells/{run['cell']}/report.html" for run in runs} | {"0-1-0": None}
    cells = [[each["name"], f"{100 * each['interval']['estimate']:.1f} % (1.0 to 9.0)"] for each in rows]
    conditions = Conditions("python reproduce.py", "a machine")
    header = ["recogniser", "test accuracy"]
    return ExperimentReport(results, header, cells, ["warning: seen.", "a note"], runs, links, conditions, folder)


@pytest.fixture
def report(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "DPI", 40)
    return experiment_report(tmp_path)


def texts(found):
    return [[cell.text for cell in row] for row in found.rows]


def test_the_grid_by_temperature_and_alpha(report):
    """The accuracy of one setting would stand in the place of another one."""
    page = content(report)
    (grid,) = page["grids"]
    assert grid.caption == "Accuracy of the student of C3D (95 % interval)"
    assert grid.header == ["temperature", "alpha 0.1", "alpha 0.5"]
    assert texts(grid) == [
        ["T 1", "52.0 % (42.0 to 62.0)", "56.0 % (46.0 to 66.0)"],
        ["T 10", "61.0 % (51.0 to 71.0)", "65.0 % (55.0 to 75.0)"],
    ]


def test_each_run_leads_to_its_page(report):
    """A number would lead to the page of another training, or to a page that does not exist."""
    page = content(report)
    found = page["runs"]
    assert found.header == [
        "model",
        "fold:1/2, seed 0",
        "fold:1/2, seed 1",
        "fold:2/2, seed 0",
        "fold:2/2, seed 1",
    ]
    assert texts(found)[0] == ["student alone", "40.0 %", "41.0 %", "40.0 %", "41.0 %"]
    links = [cell.link for cell in found.rows[0][1:]]
    assert links == [None, *(f"cells/0-{place}/report.html" for place in ("1-1", "2-0", "2-1"))]
    assert page["lacks_pages"] is True


def test_the_verdict(report, tmp_path):
    """The best of many students on test clips would be presented as the result."""
    verdict = content(report)["verdict"]
    assert [item["name"] for item in verdict[:2]] == ["student alone", "teacher: C3D"]
    assert len(verdict) == 6
    assert (verdict[2]["gain"], verdict[2]["gap"]) == ("+10.0 (+0.0 to +20.0)", "25 %")
    assert verdict[0]["gain"] is None
    many = experiment_report(tmp_path, alphas=(0.1, 0.3, 0.5))
    assert [item["name"] for item in content(many)["verdict"][2:]] == ["student of C3D, T 10, alpha 0.5"]
    chosen = row("chosen", 0.6, name="T and alpha by validation", teacher="C3D")
    many.results["rows"].append(chosen)
    assert [item["name"] for item in content(many)["verdict"][2:]] == ["T and alpha by validation"]


def test_the_files(report, tmp_path, capsys):
    """Figures would be missing, or the page would not contain them."""
    assert write_experiment_page(tmp_path / "report.html", report) is True
    assert capsys.readouterr().out == ""
    names = figure_names(report.results["rows"])
    assert names == ["accuracy_by_cost", "results", "accuracy_by_temperature"]
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == sorted(["report.html", *(f"{name}.{kind}" for name in names for kind in ("png", "svg", "pdf"))])
    html = (tmp_path / "report.html").read_text()
    assert html.count("data:image/svg+xml;base64,") == 3
    assert '<a href="cells/1-2-1/report.html">' in html
