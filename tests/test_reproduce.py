"""reproduce.py on synthetic videos and on a user's arrays."""

import csv
import json
import re
import shutil

import numpy as np
import pytest

from tests.conftest import write_arrays
from tests.scripts import eager_functions
from tests.scripts import run_script as run
from utils.base.files import write_json
from utils.base.options import DataOptions, ViewOptions
from utils.evaluation import experiment_page, figures
from utils.evaluation.tables import percent_with_interval
from utils.runs.files import experiment_outputs
from utils.runs.loading import load
from utils.training.question import Question

pytestmark = pytest.mark.usefixtures("eager")  # `make demo` in test_documented_commands.py runs with graphs

COST = {"parameters": 12345, "multiply_accumulates": 6_789_000_000, "megabytes": 0.5}
TINY = ["--teacher_epochs", 1, "--student_epochs", 1, "--input_size", 32, "--frame_size", 32, "--views", 1]
TINY += ["--teacher_width", 0.05, "--student_width", 0.05, "--batch_size", 4]
SET = ["--classes", 2, "--subjects", 6, "--clips", 1, "--labels_per_class", 2, "--split", "fold:2"]


def without_times(results):
    """Return the parts of results.json that do not depend on time and command line."""
    return {name: value for name, value in results.items() if name not in ("times", "arguments")}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The output folder and stdout of a tiny run: 2 classes, 6 subjects, 2 folds, 2 temperatures."""
    folder = tmp_path_factory.mktemp("demo")
    with eager_functions():
        printed = run("reproduce.py", *TINY, *SET, "--temperatures", 1, 4, "--output_path", "out", cwd=folder)
    return folder / "out", printed


def test_the_table_agrees_with_the_predictions(demo):
    """The accuracies of the table would not be those of the tested networks."""
    folder, printed = demo
    results = json.loads((folder / "results.json").read_text())
    names = ["student alone", "teacher: C3D (scratch)", "student of C3D (scratch), T 1, alpha 0.1"]
    names += ["student of C3D (scratch), T 4, alpha 0.1", "student of C3D (scratch), T and alpha by validation"]
    assert [row["name"] for row in results["rows"]] == names
    with open(folder / "results.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 5 * 2
    for row in results["rows"]:
        found = [line for line in lines if line["recogniser"] == row["name"]]
        correct = []
        for line in found:
            tested = json.loads((folder / "cells" / line["cell"] / "tested.json").read_text())
            assert float(line["test_accuracy"]) == np.mean(tested["correct"])
            correct += tested["correct"]
        assert row["interval"]["estimate"] == pytest.approx(np.mean(correct))
        assert row["clips"] == 12  # each clip is tested once
        assert row["interval"]["method"] == "Wilson over groups"
    _, notes, *figures = (folder / "results.md").read_text().strip().split("\n\n")
    assert notes in printed
    *_, table, last = printed.strip().split("\n\n")
    assert last == "all results: out/report.html"
    assert max(map(len, table.splitlines())) <= 80
    for row in results["rows"]:
        assert f" {percent_with_interval(row['interval'])} " in table
    pictures = re.findall(r"\((\w+)\.png\)", "".join(figures))
    assert pictures == ["accuracy_by_cost", "results", "accuracy_by_temperature"]
    for picture in pictures:
        assert (folder / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
        assert (folder / f"{picture}.svg").is_file()


def test_the_page_leads_to_a_page_of_each_training(demo):
    """A number of the grid could not be looked into, or the page would show other numbers than the table."""
    folder, printed = demo
    html = (folder / "report.html").read_text()
    with open(folder / "results.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        link = f"cells/{line['cell']}/report.html"
        assert f'<a href="{link}"><bdi>{100 * float(line["test_accuracy"]):.1f} %</bdi></a>' in html
        page = (folder / link).read_text()
        assert '<a href="../../report.html">' in page
        assert f"<strong>{100 * float(line['test_accuracy']):.1f} %</strong>" in page
        assert "leaks: " in page
    assert html.count('<a href="cells/') == len(lines)
    checked = {output.path for output in experiment_outputs(folder, ("videos", "frames"))}
    assert set(folder.iterdir()) <= checked
    assert "was not written" not in printed


def test_each_cell_has_a_card_with_its_test(demo):
    """The cards of an experiment would say that its networks were not tested, or state other accuracies."""
    folder, _ = demo
    cells = list(folder.glob("cells/*"))
    assert len(cells) == 8
    for cell in cells:
        tested = json.loads((cell / "tested.json").read_text())
        (card,) = cell.glob("*.md")
        text, record = card.read_text(), json.loads(card.with_suffix(".json").read_text())
        assert f"**{100 * tested['top1']:.1f} %** of 6 test clips are recognised, 95 % interval" in text
        assert record["test"]["method"].endswith("over groups")
        assert record["test"]["leaking"] is not None
        assert str(folder) not in text


def test_a_fold_chooses_by_its_own_validation_clips(demo):
    """A temperature chosen on test clips or on another fold would bias the accuracy upwards."""
    folder, _ = demo
    results = json.loads((folder / "results.json").read_text())
    with open(folder / "results.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    for choice in results["chosen"]:
        merits = {}
        for line in lines:
            if line["role"] == "distilled" and line["fold"] == choice["fold"]:
                trained = json.loads((folder / "cells" / line["cell"] / "trained.json").read_text())
                merits.setdefault(float(line["temperature"]), []).append(
                    (trained["validation_accuracy"], -trained["validation_loss"])
                )
        best = max(merits, key=lambda temperature: tuple(np.mean(merits[temperature], axis=0)))
        assert choice["temperature"] == best
        chosen = [line for line in lines if line["role"] == "chosen" and line["fold"] == choice["fold"]]
        assert {float(line["temperature"]) for line in chosen} == {best}


def test_teachers_and_settings_are_shared_by_their_students(demo):
    """Networks would be compared on different test clips, or students with different numbers of labels."""
    folder, printed = demo
    records = [
        json.loads(path.read_text()) for path in folder.glob("cells/*/*.json") if "class_names" in path.read_text()
    ]
    assert len(records) == 2 * 4
    assert len({record["split"]["test"] for record in records}) == 2  # one per fold
    students = [record["arguments"] for record in records if record["kind"] != "C3D teacher"]
    assert {student["labels_per_class"] for student in students} == {2}
    assert sorted({source for student in students for source in student["source"] or [""]}) == sorted(
        ["", *(str(path.relative_to(folder.parent)) for path in folder.glob("cells/teacher*/teacher.keras"))]
    )
    assert printed.count("== training") == 8


@pytest.mark.slow
def test_an_extended_experiment_trains_what_is_new(demo, tmp_path):
    """One more seed would repeat every training, or networks of different epoch counts would be mixed."""
    folder, _ = demo
    shutil.copytree(folder, tmp_path / "out")
    before = without_times(json.loads((folder / "results.json").read_text()))
    again = run("reproduce.py", *TINY, *SET, "--temperatures", 1, 4, "--output_path", "out", cwd=tmp_path)
    assert "8 of 8 training runs are finished already" in again
    assert "== training" not in again
    assert without_times(json.loads((tmp_path / "out/results.json").read_text())) == before
    sharing = ["--split", "random", "--fail_on_leak", "--output_path", "leaking"]
    leaks = run("reproduce.py", *TINY, *SET[:6], *sharing, cwd=tmp_path, expect=2)
    assert leaks.startswith("error: --fail_on_leak: ")
    seeds = ["--temperatures", 4, "--seeds", 0, 1, "--folds", 1, "--output_path", "out"]
    more = run("reproduce.py", *TINY, *SET, *seeds, cwd=tmp_path)
    assert "3 of 6 training runs are finished already" in more
    assert re.findall(r"^== training .*; (.*)$", more, re.M) == ["fold:1/2, seed 1"] * 3
    other = [*TINY, *SET, "--temperatures", 4, "--student_epochs", 2, "--output_path", "out"]
    plan = run("reproduce.py", *other, "--dry_run", cwd=tmp_path)
    assert "6 training runs (4 to do, 2 tested)" in plan  # the teachers are kept
    assert "note: 4 finished runs are not reused: epochs is 1 there and 2 here\n" in plan


def test_results_are_written_before_figures_are_drawn(demo, tmp_path, monkeypatch):
    """Days of training would end with a traceback and without a table, because of a picture."""
    folder, _ = demo
    shutil.copytree(folder, tmp_path / "out")
    results = ["results.json", "results.md", "results.csv"]
    for path in (tmp_path / "out").glob("*.*"):
        path.unlink()

    def fail(_):
        assert all((tmp_path / "out" / name).is_file() for name in results)
        raise StopIteration

    for display in (figures.AccuracyBars, figures.AccuracyByCost, figures.AccuracyByTemperature):
        monkeypatch.setattr(display, "plot", fail)
    monkeypatch.setattr(experiment_page, "_grids", fail)
    printed = run("reproduce.py", *TINY, *SET, "--temperatures", 1, 4, "--output_path", "out", cwd=tmp_path)
    for name in ("results", "accuracy_by_cost", "accuracy_by_temperature"):
        assert f"note: out/{name}.png was not drawn (StopIteration)\n" in printed
    assert "note: out/report.html was not written (StopIteration)\n" in printed
    assert sorted(path.name for path in (tmp_path / "out").glob("*.*")) == sorted([*results, "settings.json"])


@pytest.mark.slow
def test_test_views(demo, tmp_path):
    """A test with several views would need new trainings, or mix with the results of one view."""
    folder, _ = demo
    shutil.copytree(folder, tmp_path / "out")
    before = json.loads((folder / "results.json").read_text())
    command = [*TINY, *SET, "--temperatures", 1, 4, "--output_path", "out"]
    plan = run("reproduce.py", *command, "--test_views", 3, "--no_flip", "--dry_run", cwd=tmp_path)
    assert "8 training runs (8 to do)" in plan  # without flips, the students' views differ
    printed = run("reproduce.py", *command, "--test_views", 3, cwd=tmp_path)
    assert "== training" not in printed
    assert "Test: mean probabilities over 3 views per clip, in all rows" in printed
    results = json.loads((tmp_path / "out/results.json").read_text())
    for row, once in zip(results["rows"], before["rows"]):
        assert row["multiply_accumulates"] == 3 * once["multiply_accumulates"]
        assert row["parameters"] == once["parameters"]
    files = sorted(path.name for path in (tmp_path / "out").glob("cells/alone*/tested*.json"))
    assert files == ["tested.json"] * 2 + ["tested_3_views_seed0.json"] * 2
    again = run("reproduce.py", *command, cwd=tmp_path)
    assert "== test of" not in again
    assert without_times(json.loads((tmp_path / "out/results.json").read_text())) == without_times(before)


def test_a_moved_cell_is_refused(demo, tmp_path):
    """A result of other settings would enter the table."""
    folder, _ = demo
    shutil.copytree(folder, tmp_path / "out")
    one, other = sorted((tmp_path / "out/cells").glob("alone*"))[:2]
    shutil.copy(one / "trained.json", other / "trained.json")
    printed = run("reproduce.py", *TINY, *SET, "--output_path", "out", cwd=tmp_path, expect=2)
    assert "was made with other settings than the experiment's" in printed


def test_merged_settings_are_saved(demo):
    """The settings behind a table would be lost: those of the recipe, overridden by the command line."""
    folder, _ = demo
    settings = json.loads((folder / "settings.json").read_text())
    assert json.loads((folder / "results.json").read_text())["arguments"]["config"].endswith("demo.yaml")
    assert settings["classes"] == 2
    assert settings["learning_rate"] == 0.0005  # from the recipe


def test_saved_settings_are_a_recipe(demo):
    """A table could be repeated only by a copy of the command that made it."""
    folder, _ = demo
    plan = run("reproduce.py", "--config", "out/settings.json", "--dry_run", cwd=folder.parent)
    assert "8 training runs (8 tested)" in plan
    fewer = ["--temperatures", 4, "--no_dry_run", "--flip", "--dry_run"]
    assert "6 training runs (6 tested)" in run(
        "reproduce.py", "--config", "out/settings.json", *fewer, cwd=folder.parent
    )


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A tiny run on a user's arrays with three teachers: C3D, scores of 75 % accuracy, and the average of both.

    Students also learn from 2 unlabelled clips. Returns the folder of the arrays and scores, whose subfolder `out`
    holds the results, and the arguments.
    """
    folder = write_arrays(tmp_path_factory.mktemp("own") / "arrays", groups=4, clips=2, height=32, width=32)
    write_arrays(folder / "more", classes=1, groups=2, clips=1, height=32, width=32, seed=1)
    labels = np.append(np.load(folder / "labels.npy"), [0, 0])
    np.save(
        folder / "scores.npy", np.eye(3, dtype=np.float32)[(labels + (np.arange(len(labels)) % 4 == 0)) % 3] * 5 - 1
    )
    data = DataOptions(folder / "frames.npy", folder / "labels.npy")
    question = Question(load(data, (16, 32, 32, 3), [folder / "more/frames.npy"]), ViewOptions(views=1))
    write_json(folder / "scores.json", {"key": question.key(), "cost": COST})
    arguments = [*TINY, "--data", "frames.npy", "--annotations", "labels.npy", "--temperatures", 3]
    arguments += ["--unlabelled", "more/frames.npy"]
    sources = ["--sources", "oracle=scores.npy", "both=scratch,scores.npy"]
    with eager_functions():
        run("reproduce.py", *arguments, *sources, "--output_path", "out", cwd=folder)
    return folder, arguments


def test_own_arrays_use_the_default_recipe(own):
    """A user's own arrays would be trained with the settings of the demonstration."""
    folder, _ = own
    results = json.loads((folder / "out/results.json").read_text())
    assert results["arguments"]["config"].endswith("default.yaml")
    assert results["chosen"] == []
    assert not (folder / "out/videos").exists()


def test_a_plan_needs_no_arrays(tmp_path):
    """--dry_run would render and extract videos first."""
    plan = run("reproduce.py", *TINY, *SET, "--dry_run", "--output_path", "plan", cwd=tmp_path)
    assert "no arrays yet: 12 videos to be read first" in plan
    assert "6 training runs (6 to do)" in plan
    assert not (tmp_path / "plan").exists()


def test_given_teachers_have_a_row_and_students(own):
    """A teacher given by its scores, alone or averaged with C3D, would be missing from the table."""
    folder, _ = own
    results = json.loads((folder / "out/results.json").read_text())
    assert [(row["name"], row["role"]) for row in results["rows"]] == [
        ("student alone", "alone"),
        *(("teacher: C3D (scratch)", "teacher"), ("student of C3D (scratch), T 3, alpha 0.1", "distilled")),
        *(("teacher: oracle", "teacher"), ("student of oracle, T 3, alpha 0.1", "distilled")),
        *(("teacher: both", "teacher"), ("student of both, T 3, alpha 0.1", "distilled")),
    ]
    (record,) = [json.loads(path.read_text()) for path in folder.glob("out/cells/teacher-scratch*/teacher.json")]
    test = record["split"]["rows"]["test"]
    expected = np.mean(np.load(folder / "scores.npy")[test].argmax(axis=1) == np.load(folder / "labels.npy")[test])
    _, trained, _, oracle, _, both, _ = results["rows"]
    assert oracle["interval"]["estimate"] == pytest.approx(expected)
    assert {name: oracle[name] for name in COST} == COST
    assert {name: both[name] for name in COST} == pytest.approx({name: trained[name] + COST[name] for name in COST})
    lines = (folder / "out/results.md").read_text().splitlines()
    (shown,) = [line for line in lines if line.startswith("| teacher: oracle ")]
    assert [cell.strip() for cell in shown.split("|")[-6:-1]] == ["6.789", "-", "12,345", "0.5", "-"]
    student = json.loads(next(folder.glob("out/cells/distilled-both*/student.json")).read_text())
    assert len(student["arguments"]["source"]) == 2
    assert student["unlabelled"]["files"][0]["path"] == "more/frames.npy"
    (leaks,) = results["leaks"].values()
    assert leaks["unlabelled_clips"] == 2
    caption = (folder / "out/results.md").read_text()
    assert "The last epoch is kept." in caption
    assert "in training, validation or unlabelled clips)" in caption


def test_unusable_sources_are_refused(own):
    """A teacher without scores for validation clips would be compared on fewer clips than the others."""
    folder, arguments = own
    scores = np.load(folder / "scores.npy")
    scores[::2] = np.nan
    np.save(folder / "blind_group.npy", scores)
    scores[:] = np.abs(scores)
    scores[::2] = [0.25, 0.25, 0.5]
    np.save(folder / "mixed.npy", scores)
    for source, message in [
        ("a=nothing.npy", "error: --sources must name existing files"),
        ("scores.npy", "error: --sources must be NAME=FILE"),
        ("a=blind_{fold}.npy", "error: --sources: "),
        (
            "a=mixed.npy",
            "error: --sources: mixed.npy must hold logits or probabilities; choose one of them with --source_scores, ",
        ),
    ]:
        refused = ["--teachers", "none", "--sources", source, "--output_path", "refused"]
        printed = run("reproduce.py", *arguments, *refused, cwd=folder, expect=2)
        assert printed.startswith(message)
        assert printed.count("\n") == 1


@pytest.mark.slow
def test_source_scores_of_the_grid(own):
    """A mixture that a user has checked could not be used, or the override would not reach the students."""
    folder, arguments = own
    np.save(folder / "checked.npy", np.abs(np.load(folder / "scores.npy")) + np.eye(3)[0] / 4)
    chosen = ["--sources", "a=checked.npy", "--source_scores", "probabilities", "--teachers", "none"]
    printed = run("reproduce.py", *arguments, *chosen, "--output_path", "chosen", cwd=folder)
    assert "checked.npy: probabilities, log taken" in printed
    (trained,) = folder.glob("chosen/cells/teacher-a*/trained.json")
    assert json.loads(trained.read_text())["settings"]["source_scores"] == "probabilities"
    (student,) = folder.glob("chosen/cells/distilled-a*/student.json")
    assert json.loads(student.read_text())["arguments"]["source_scores"] == "probabilities"
    (alone,) = folder.glob("chosen/cells/alone*/student.json")
    assert json.loads(alone.read_text())["arguments"]["source_scores"] == "auto"
    refused = ["--sources", "a=out/teacher.keras", "--source_scores", "logits"]
    printed = run("reproduce.py", *arguments, *refused, cwd=folder, expect=2)
    assert printed.startswith("error: --source_scores: must go with a source that ends in .npy")


@pytest.mark.slow
def test_a_given_teacher_says_which_test_clips_it_has_seen(make_arrays):
    """Accuracy on clips that a teacher was trained on would be the best row of the table, without a word."""
    folder = make_arrays(groups=5, height=32, width=32)
    arrays = ["--data", "frames.npy", "--annotations", "labels.npy", "--input_size", 32, "--batch_size", 4]
    size = ["--width", 0.05, "--epochs", 1, "--split_seed", 1]
    run("Teacher_training.py", *arrays, *size, "--output_path", "t.keras", "--log_path", "t", cwd=folder)
    np.save(folder / "scores.npy", np.eye(3, dtype=np.float32)[np.load(folder / "labels.npy")])
    settings = [*TINY, *arrays, "--teachers", "none", "--alphas", 1, "--temperatures", 1]
    sources = ["--sources", "t=t.keras", "both=t.keras,scores.npy", "--output_path", "out"]
    printed = run("reproduce.py", *settings, *sources, "--fail_on_leak", "--split", "group", cwd=folder, expect=2)
    assert printed.startswith("error: --fail_on_leak: --sources t=t.keras must be new to the test clips of group, but ")
    assert not (folder / "out/cells").exists()
    printed = run("reproduce.py", *settings, *sources, cwd=folder)

    results = json.loads((folder / "out/results.json").read_text())
    trained = json.loads((folder / "t.json").read_text())["split"]["rows"]
    test = json.loads(next(folder.glob("out/cells/alone*/student.json")).read_text())["split"]["rows"]["test"]
    seen = len(set(test) & set(trained["train"] + trained["validation"]))
    assert seen > 0
    counts = {row["name"]: row["seen"]["seen_test_clips"] for row in results["rows"] if row["role"] != "distilled"}
    assert counts == {"student alone": 0, "teacher: t": seen, "teacher: both": seen}
    assert {row["minus_alone"] for row in results["rows"] if row["role"] == "teacher"} == {None}
    text = (folder / "out/results.md").read_text()
    assert text.split("\n\n")[1] in printed
    table = {cells[1].strip(): cells[6].strip() for line in text.splitlines() if len(cells := line.split("|")) > 6}
    assert table["teacher: t"] == f"{seen} of {len(test)}"
    assert table["teacher: both"] == f"at least {seen} of {len(test)}"
    assert table["student of t, T 1, alpha 1"] == "none"
    assert f"warning: teacher: t has seen {seen} of its {len(test)} test clips in training or validation" in text
    assert "warning: it is unknown which test clips teacher: both has seen: scores.npy has no record" in text
    assert printed.index("group: warning: teacher: t has seen") < printed.index("== training 1")
    with open(folder / "out/results.csv", newline="") as file:
        found = {line["recogniser"]: line["seen_test_clips"] for line in csv.DictReader(file)}
    assert found["teacher: t"] == f"{seen} of {len(test)}"


def test_contradicting_arguments_are_refused(make_arrays, tmp_path):
    """A mistyped command would start hours of training with the wrong settings."""
    folder = make_arrays()
    weights = folder / "weights.h5"
    weights.touch()
    arrays = ["--data", folder / "frames.npy", "--annotations", folder / "labels.npy"]
    for arguments, message in [
        (["--videos", folder, "--data", folder / "frames.npy"], "error: --videos and --data"),
        (["--annotations", folder / "labels.npy"], "error: --annotations: must go with --data, got none"),
        (["--teacher_width", "0"], "error: --teacher_width: must be a number above 0, got 0"),
        (["--config", folder / "labels.npy"], "error: --config:"),
        (["--weights", weights, "--teachers", "scratch"], "error: --weights goes with --teachers sports1m"),
        ([*arrays, "--split", "fold:3", "--folds", 4], "error: --folds must be among 1 2 3 for --split fold:3, got 4"),
    ]:
        printed = run("reproduce.py", *arguments, cwd=tmp_path, expect=2)
        assert printed.startswith(message)
        assert printed.count("\n") == 1
