"""Results in tables and files: numbers equal to those of scikit-learn, and valid JSON."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, log_loss, top_k_accuracy_score

from tests.fake_recognizer import fake_recognizer
from utils.data.clips import open_clips
from utils.data.groups import read_groups
from utils.evaluation import results as report
from utils.evaluation.tables import markdown_table, ratio_text, screen_table
from utils.evaluation.testing import ChosenClips, Predictions
from utils.runs.files import result_names
from utils.runs.seen import Seen

CLASSES = 7


@pytest.fixture
def dataset(make_arrays):
    folder = make_arrays(classes=CLASSES, groups=5, height=32, width=32)
    return open_clips(folder / "frames.npy", folder / "labels.npy")


@pytest.fixture
def make_predictions(dataset, tmp_path):
    """Make the predictions of a recogniser `name` for `rows`: mostly correct random logits, or the given `logits`."""

    def make(name, *, rows=None, seed=0, logits=None, class_names=None, notes=(), seen=(), unknown=()):
        rows = np.arange(3, 63) if rows is None else rows
        labels = dataset.labels[rows]
        if logits is None:
            logits = np.random.default_rng(seed).normal(0, 2, (len(rows), CLASSES)) + 3 * np.eye(CLASSES)[labels]
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 1500)
        recognizer = fake_recognizer(path, num_classes=CLASSES)
        known = Seen(rows, np.array(seen, np.int64), tuple(unknown))
        clips = ChosenClips(rows, labels, class_names or dataset.class_names, "group, seed 0", tuple(notes), known)
        return Predictions(recognizer, clips, logits.astype(np.float32), 12.5)

    return make


def test_numbers_are_those_of_scikit_learn(dataset, make_predictions):
    """Otherwise a user would publish wrong numbers."""
    predictions = make_predictions("s.h5", notes=["a note."])
    labels, logits = predictions.clips.labels, predictions.logits.astype(np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    result = report.result_of(predictions, dataset, read_groups(dataset.paths))
    predicted = logits.argmax(axis=1)
    assert result["top1"] == pytest.approx(accuracy_score(labels, predicted))
    assert result["top5"] == pytest.approx(top_k_accuracy_score(labels, logits, k=5))
    assert result["top1"] < result["top5"] < 1
    assert result["mean_class_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert result["loss"] == pytest.approx(log_loss(labels, probabilities), rel=1e-6)
    interval = result["interval"]
    assert interval["low"] < result["top1"] < interval["high"]
    assert (interval["method"], interval["n"], interval["groups"]) == ("Wilson over groups", 60, 31)
    assert (result["clips"], result["split"], result["notes"]) == (60, "group, seed 0", ["a note."])
    assert (result["parameters"], result["megabytes"], result["clips_per_second"]) == (123, 0.0015, 12.5)
    assert report.result_of(predictions, dataset, None)["interval"]["method"] == "Wilson"


def test_no_top5_with_five_classes(make_arrays, tmp_path):
    """Otherwise top-5 accuracy would be 100 % for any recogniser."""
    folder = make_arrays("five", classes=5, height=32, width=32)
    dataset = open_clips(folder / "frames.npy", folder / "labels.npy")
    (tmp_path / "s.h5").write_bytes(b"")
    none_seen = Seen(np.arange(50), np.zeros(0, np.int64))
    clips = ChosenClips(np.arange(50), dataset.labels, dataset.class_names, "all clips", (), none_seen)
    recognizer = fake_recognizer(tmp_path / "s.h5", num_classes=5)
    predictions = Predictions(recognizer, clips, np.eye(5)[dataset.labels] * 2.0, 1.0)
    assert report.result_of(predictions, dataset, None)["top5"] is None


def test_only_predictions_for_the_same_clips_are_compared(dataset, make_predictions):
    """Otherwise a difference between test clips or class numbers would pass for one between recognisers."""
    first = make_predictions("a.h5")
    same = make_predictions("b.h5", seed=1)
    fewer = make_predictions("c.h5", rows=np.arange(3, 62))
    other_classes = make_predictions("d.h5", class_names=tuple(reversed(dataset.class_names)))
    found = report.comparisons([first, same, fewer, other_classes], None)
    assert [(item["first"], item["second"]) for item in found] == [
        (str(first.recognizer.path), str(same.recognizer.path))
    ]
    right = [(each.logits.argmax(axis=1) == each.clips.labels) for each in (first, same)]
    assert found[0]["difference"]["estimate"] == pytest.approx(right[0].mean() - right[1].mean())
    assert found[0]["same_answer"] == np.mean(first.logits.argmax(axis=1) == same.logits.argmax(axis=1))
    assert found[0]["test"] == "McNemar, exact"


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_files_match_the_result(dataset, make_predictions, tmp_path):
    """Otherwise the tables of clips and classes would contradict the reported accuracy."""
    made = [make_predictions("s.h5"), make_predictions("t.h5", seed=1)]
    results = [report.result_of(each, dataset, None) for each in made]
    compared = report.comparisons(made, None)
    report.write_results(tmp_path / "out", made, results, compared, dataset, None)
    written = ["class_gains.csv", "metrics.json", "per_class.csv", "predictions.csv", "results.md"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == written
    all_rows = read_csv(tmp_path / "out/predictions.csv")
    assert [row["recogniser"] for row in all_rows] == ["s"] * 60 + ["t"] * 60
    predictions, predicted = all_rows[:60], made[0].logits.argmax(axis=1)
    assert [row["path"] for row in predictions] == dataset.paths[3:63].tolist()
    assert [int(row["row"]) for row in predictions] == list(range(3, 63))
    assert [row["truth"] for row in predictions] == [row["path"].split("/")[0] for row in predictions]
    assert [row["class_1"] for row in predictions] == [f"Class{number}" for number in predicted]
    assert np.mean([row["correct"] == "1" for row in predictions]) == results[0]["top1"]
    in_top5 = [row["truth"] in [row[f"class_{place}"] for place in range(1, 6)] for row in predictions]
    assert np.mean(in_top5) == results[0]["top5"]
    exponentials = np.exp(made[0].logits.astype(np.float64))
    likeliest = -np.sort(-exponentials / exponentials.sum(axis=1, keepdims=True), axis=1)[:, :5]
    found = [[float(row[f"probability_{place}"]) for place in range(1, 6)] for row in predictions]
    np.testing.assert_allclose(found, likeliest, atol=1e-4)
    classes = read_csv(tmp_path / "out/per_class.csv")[:CLASSES]
    counts = confusion_matrix(made[0].clips.labels, predicted)
    for label, row in enumerate(classes):
        right = counts[label, label]
        recall, precision = right / counts[label].sum(), right / counts[:, label].sum()
        assert (row["class"], int(row["clips"])) == (f"Class{label}", counts[label].sum())
        assert float(row["accuracy"]) == pytest.approx(recall, abs=1e-4)
        assert float(row["precision"]) == pytest.approx(precision, abs=1e-4)
        assert float(row["f1"]) == pytest.approx(2 * recall * precision / (recall + precision), abs=1e-4)
    assert np.mean([float(row["f1"]) for row in classes]) == pytest.approx(results[0]["macro_f1"], abs=1e-4)
    mean_area = np.mean([float(row["roc_auc"]) for row in classes])
    assert mean_area == pytest.approx(results[0]["roc_auc"]["macro"], abs=1e-4)
    gains = read_csv(tmp_path / "out/class_gains.csv")
    weighted = [int(row["only_first"]) - int(row["only_second"]) for row in gains]
    assert sum(weighted) / 60 == pytest.approx(compared[0]["difference"]["estimate"])
    stored = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert stored == {"recognizers": results, "comparisons": compared}


def test_few_classes_leave_columns_empty(make_arrays, tmp_path):
    """A table of two classes would have other columns than one of five."""
    folder = make_arrays("two", classes=2, height=32, width=32)
    dataset = open_clips(folder / "frames.npy", folder / "labels.npy")
    clips = ChosenClips(np.arange(1), dataset.labels[:1], dataset.class_names, "all clips", (), Seen(np.arange(1), ()))
    made = Predictions(fake_recognizer(tmp_path / "s.h5", num_classes=2), clips, np.log([[0.75, 0.25]]), 1.0)
    header, (row,) = report.prediction_rows(["s"], [made], dataset)
    shown = dict(zip(header, row))
    assert [shown[f"class_{place}"] for place in (1, 2, 3)] == ["Class0", "Class1", ""]
    assert [shown[f"probability_{place}"] for place in (1, 2, 5)] == ["0.7500", "0.2500", ""]
    assert shown["split"] == "all clips"


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def test_an_infinite_loss_is_valid_json(dataset, make_predictions, tmp_path):
    """Otherwise a probability of 0 would write Infinity, which JSON readers of other languages reject."""
    labels = dataset.labels[3:63]
    logits = np.where(np.eye(CLASSES, dtype=bool)[labels], -np.inf, 0.0)
    made = [make_predictions("s.h5", logits=logits), make_predictions("t.h5", logits=logits)]
    results = [report.result_of(each, dataset, None) for each in made]
    report.write_results(tmp_path / "out", made, results, report.comparisons(made, None), dataset, None)
    written = json.loads((tmp_path / "out" / "metrics.json").read_text(), parse_constant=refuse)
    assert written["recognizers"][0]["loss"] is None
    assert written["recognizers"][0]["roc_auc"]["micro"] < 0.5  # probabilities of 0 are finite
    assert " not finite " in (tmp_path / "out" / "results.md").read_text()


def test_what_a_recogniser_has_seen_is_beside_each_of_its_numbers(dataset, make_predictions):
    """Accuracy on training clips would pass for a test accuracy, or for a gain over another recogniser."""
    made = [
        make_predictions("a.h5"),
        make_predictions("b.h5", seed=1, seen=[3, 4, 9]),
        make_predictions("c.h5", seed=2, unknown=["c.h5 has no record (c.json)"]),
    ]
    results = [report.result_of(each, dataset, None) for each in made]
    assert [result["seen"]["seen_test_clips"] for result in results] == [0, 3, 0]
    text = report.summary(results, report.comparisons(made, None))
    cells = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    assert [cells[row][3] for row in (0, 2, 3, 4)] == ["seen", "none", "3 of 60", "unknown"]
    assert "warning: b.h5 has seen 3 of its 60 test clips in training or validation, so its accuracy" in text
    assert "warning: it is unknown which test clips c.h5 has seen: c.h5 has no record (c.json)." in text
    assert "a.h5 minus b.h5 (test clips seen: 3 of 60): " in text
    assert "a.h5 minus c.h5 (test clips seen: unknown): " in text


def test_recognisers_with_equal_predictions_have_a_summary(dataset, make_predictions):
    """Otherwise a difference without an interval would cause a traceback."""
    made = [make_predictions("s.h5"), make_predictions("t.h5")]
    results = [report.result_of(each, dataset, None) for each in made]
    text = report.summary(results, report.comparisons(made, None))
    assert "s.h5 minus t.h5: +0.0 (-3.2 to +3.2) points, not significant, p = 1 by McNemar, exact; same predi" in text


def test_recognisers_with_equal_file_names(dataset, make_predictions, tmp_path):
    """Otherwise the files of the second student.h5 would replace those of the first."""
    made = [make_predictions("a/s.h5"), make_predictions("b/s.h5", seed=1), make_predictions("a/s_1.h5", seed=2)]
    paths = [each.recognizer.path for each in made]
    assert result_names(paths) == ["s_1", "s_2", "s_1_3"]
    assert result_names(paths[1:]) == ["s", "s_1"]
    results = [report.result_of(each, dataset, None) for each in made]
    text = report.summary(results, report.comparisons(made, None))
    assert "| a/s.h5 " in text
    assert "| b/s.h5 " in text
    assert "| s_1.h5 " in text


def test_a_name_does_not_break_a_table():
    """A file called a|b.h5 would shift the numbers of its row into the wrong columns."""
    *_, row = markdown_table(["name", "it"], [["a|b\nc", "5"]]).splitlines()
    assert row == "| a\\|b c |  5 |"


@pytest.mark.parametrize("width", [50, 80, 200])
def test_a_table_fits_the_screen(width):
    """Accuracy would be scrolled out of sight, or rows be broken by the terminal."""
    header = ["model", "accuracy (95 % interval)", "seen", "parameters", "a long name of a column that wraps"]
    name, share = "student of C3D (scratch), T 4, alpha 0.1", "64.2 % (52.6 to 75.7)"
    text = screen_table(header, [[name, share, "none", "7,298,405", "1"], ["b", "-", "-", "-", "-"]], width)
    assert max(map(len, text.splitlines())) <= width
    assert (share in text, name in text, "7,298,405" in text) == (True, False, width > 50)
    assert text.splitlines()[-1].startswith("b  ")


@pytest.mark.parametrize(
    ("mine", "other", "text"),
    [(99.6, 100, "100 % of"), (1, 300, "0.3 % of"), (25, 100, "25 % of"), (350, 1, "350 times"), (15, 10, "1.5 times")],
)
def test_ratios_have_no_exponents(mine, other, text):
    """A sentence would say "1e+02 % of" or "3.5e+02 times"."""
    assert ratio_text(mine, other) == text


def test_each_note_is_below_the_table_once(dataset, make_predictions):
    made = [make_predictions("s.h5", notes=["Random."]), make_predictions("t.h5", notes=["Random.", "Old."])]
    results = [report.result_of(each, dataset, None) for each in made]
    lines = report.summary(results, []).splitlines()
    assert lines[-2:] == ["note: Random.", "note: Old."]
    widths = {len(line) for line in lines[:4]}
    assert len(widths) == 1  # columns are aligned
