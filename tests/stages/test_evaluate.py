"""evaluation.evaluate with fake recognisers; tests/test_stages.py runs eval.py."""

import json

import numpy as np
import pytest

from tests.fake_recognizer import fake_recognizer, record_of
from utils.base.errors import UserError
from utils.base.options import DataOptions
from utils.base.schemas import read_checked
from utils.data.clips import open_clips
from utils.data.protocols import make_split
from utils.evaluation import run as evaluation
from utils.evaluation.metrics import calibration_error
from utils.runs.record import Record

PATTERN = r"_g(\d+)_"  # the same groups in all classes


@pytest.fixture
def arrays(make_arrays):
    folder = make_arrays(height=32, width=32)
    return DataOptions(folder / "frames.npy", folder / "labels.npy", split=None), folder


@pytest.fixture
def recognizer(arrays, tmp_path, monkeypatch):
    """A recogniser trained on the arrays with a group pattern; the stage loads it whatever the path."""
    data, _ = arrays
    dataset = open_clips(data.data, data.annotations)
    split = make_split(dataset.labels, dataset.paths, class_names=dataset.class_names, group_pattern=PATTERN)
    record = record_of(dataset, split)
    record.arguments.group_pattern = PATTERN
    (tmp_path / "s.h5").write_bytes(b"")
    scores = 5 * np.eye(3, dtype=np.float32)[dataset.labels]
    scores[split.test[0]] = [-9, 9, 9]  # one clip is misclassified
    found = fake_recognizer(tmp_path / "s.h5", record=record, scores=scores)
    monkeypatch.setattr(evaluation, "load_recognizer", lambda *_, **__: found)
    return found


def test_the_interval_uses_the_groups_of_the_training(arrays, recognizer):
    """A user would have to repeat the group pattern, or get an interval that is too narrow."""
    data, _ = arrays
    result = evaluation.evaluate(data, [recognizer.path])["recognizers"][0]
    assert (result["clips"], result["interval"]["groups"]) == (6, 1)  # with groups per class there would be 3
    assert result["top1"] == pytest.approx(5 / 6)


def test_a_pattern_of_other_arrays_is_not_applied(arrays, recognizer, capsys):
    """File names that do not match would raise an error about an argument that the user did not give."""
    data, folder = arrays
    paths = np.array(
        [f"{path.split('/')[0]}/clip{row}.avi" for row, path in enumerate(np.load(folder / "video_file_paths.npy"))]
    )
    np.save(folder / "video_file_paths.npy", paths)
    result = evaluation.evaluate(data, [recognizer.path])["recognizers"][0]
    assert (result["clips"], result["interval"]["method"]) == (30, "Wilson")
    assert "These are not the arrays that s.h5 was trained on" in capsys.readouterr().out


def test_views_are_averaged(arrays, recognizer, monkeypatch, capsys):
    """Accuracy, loss and cost of a test with several views would be those of the whole clip."""
    data, _ = arrays
    labels = np.load(data.annotations)
    by_view = np.random.default_rng(0).normal(0, 2, (4, len(labels), 3)).astype(np.float32)
    monkeypatch.setattr(type(recognizer), "logits", lambda self, _, rows, *, view=0, **__: by_view[view][rows])
    monkeypatch.setattr(evaluation, "milliseconds_per_clip", lambda _: 2.5)
    one = evaluation.evaluate(data, [recognizer.path])["recognizers"][0]
    assert "views:" not in capsys.readouterr().out
    several = evaluation.evaluate(data, [recognizer.path, recognizer.path], views=4)["recognizers"]
    assert "views: mean probabilities over 4 views per clip" in capsys.readouterr().out
    test = recognizer_rows(recognizer, "test")
    exponentials = np.exp(by_view.astype(np.float64))
    probabilities = (exponentials / exponentials.sum(axis=-1, keepdims=True))[:, test]
    for result, found in ((one, probabilities[0]), *((each, probabilities.mean(axis=0)) for each in several)):
        assert result["top1"] == np.mean(found.argmax(axis=1) == labels[test])
        assert result["interval"]["estimate"] == result["top1"]
        assert result["loss"] == pytest.approx(-np.log(found[np.arange(6), labels[test]]).mean(), rel=1e-5)
    assert [one["views"], *(result["views"] for result in several)] == [1, 4, 4]
    assert [each["milliseconds_per_clip"] for each in (one, *several)] == [2.5, 10, 10]


def test_calibrate(arrays, recognizer, tmp_path, capsys):
    """Temperature and threshold would come from test clips, or not reach the record and the results."""
    data, _ = arrays
    labels, rows = np.load(data.annotations), recognizer.record.split.rows.model_dump()
    generator = np.random.default_rng(0)
    recognizer.scores[:] = generator.normal(0, 4, recognizer.scores.shape) + 3 * np.eye(3)[labels]
    before = recognizer.record
    evaluation.evaluate(data, [recognizer.path], calibrate=True)
    assert recognizer.asked[: len(rows["validation"])] == rows["validation"]
    assert "note: s.h5: temperature and rejection threshold are rough" in capsys.readouterr().out
    record = read_checked(recognizer.path.with_suffix(".json"), Record)
    calibration = record.calibration.model_dump()
    assert record.changed(calibration=None, test=None, cost=None).model_dump() == before.model_dump()
    validation, test = (softmax_of(recognizer.scores[rows[name]], calibration) for name in ("validation", "test"))
    correct = validation.argmax(axis=1) == labels[rows["validation"]]
    assert calibration["threshold"] == pytest.approx(validation.max(axis=1)[correct].min(), abs=2e-6)
    assert (calibration["clips"], calibration["rows"]) == (len(rows["validation"]), "validation")

    object.__setattr__(recognizer, "record", record)
    result = evaluation.evaluate(data, [recognizer.path], output_path=tmp_path / "out")["recognizers"][0]
    correct, kept = test.argmax(axis=1) == labels[rows["test"]], test.max(axis=1) >= calibration["threshold"]
    found = result["calibrated"]
    assert found["loss"] == pytest.approx(-np.log(test[np.arange(6), labels[rows["test"]]]).mean())
    assert found["calibration_error"] == pytest.approx(calibration_error(labels[rows["test"]], np.log(test)))
    assert 0 < correct.sum() < 6
    assert found["kept_correct"] == pytest.approx(kept[correct].mean())
    assert found["rejected_wrong"] == pytest.approx(1 - kept[~correct].mean())
    text = (tmp_path / "out/results.md").read_text()
    assert f" {100 * result['calibration_error']:.1f} ({100 * found['calibration_error']:.1f}) % |" in text
    assert "calibration of s.h5: temperature" in text


def softmax_of(logits, calibration):
    exponentials = np.exp(logits.astype(np.float64) / calibration["temperature"])
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def test_calibrate_needs_known_validation_clips(arrays, recognizer, monkeypatch):
    """A temperature would be fitted to test clips, or one of two records be changed by a failed run."""
    data, folder = arrays
    unknown = fake_recognizer(recognizer.path.with_name("u.h5"), scores=recognizer.scores)
    unknown.path.write_bytes(b"")
    known = {recognizer.path: recognizer, unknown.path: unknown}
    monkeypatch.setattr(evaluation, "load_recognizer", lambda path, **_: known[path])
    with pytest.raises(UserError, match=r"^--calibrate: .*u.h5 must have a record"):
        evaluation.evaluate(data, [recognizer.path, unknown.path], calibrate=True)
    assert not recognizer.path.with_suffix(".json").exists()
    recognizer.asked.clear()
    paths = np.load(folder / "video_file_paths.npy")
    np.save(folder / "video_file_paths.npy", np.char.replace(paths, ".avi", ".mp4"))
    with pytest.raises(UserError, match=r"^--calibrate: --data must hold the arrays that .*s\.h5 was trained on"):
        evaluation.evaluate(data, [recognizer.path], calibrate=True)
    assert recognizer.asked == []


def test_leaks_are_printed_and_written(arrays, recognizer, tmp_path, capsys):
    """Test clips that leak from the training clips of a recogniser would go unnoticed."""
    data, _ = arrays
    first = np.load(data.data)
    first[recognizer_rows(recognizer, "train")[4]] = first[recognizer_rows(recognizer, "test")[1]]
    np.save(data.data, first)
    evaluation.evaluate(data, [recognizer.path], output_path=tmp_path / "out")
    assert "test clips share something with 18 training and 6 validation clips" in capsys.readouterr().out
    written = json.loads((tmp_path / "out/metrics.json").read_text())["recognizers"][0]["leaks"]
    assert written["kinds"]["group"]["test_clips"] == 0
    assert written["kinds"]["near-duplicate"]["examples"][0]["distance"] == pytest.approx(0, abs=1e-4)
    assert (tmp_path / "out/leaks_s.csv").read_text().startswith("test,seen,set,kind,distance,same_group\n")


def recognizer_rows(recognizer, name):
    return getattr(recognizer.record.split.rows, name)


def test_fail_on_leak(arrays, recognizer):
    """A leaking test split would be evaluated despite --fail_on_leak."""
    data, _ = arrays
    recognizer.record.arguments.group_pattern = r"Class(\d)/"  # puts the group of each test clip into training
    with pytest.raises(UserError, match=r"^--fail_on_leak: 6 of 6 test clips must share nothing .*\(group\)$"):
        evaluation.evaluate(data, [recognizer.path], fail_on_leak=True)
    assert recognizer.asked == []


def test_leaks_of_a_model_without_a_record_are_unknown(arrays, recognizer):
    """A model with unknown training clips would be reported as free of leaks."""
    data, _ = arrays
    object.__setattr__(recognizer, "record", None)
    assert evaluation.evaluate(data, [recognizer.path])["recognizers"][0]["leaks"] is None
    with pytest.raises(UserError, match=r"--fail_on_leak: .* must have a record of these arrays, or --split must say"):
        evaluation.evaluate(data, [recognizer.path], fail_on_leak=True)
