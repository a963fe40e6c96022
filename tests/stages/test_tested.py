"""The result of a test in the record and the card of a model."""

import json
import re

import numpy as np
import pytest
from huggingface_hub import ModelCard

from tests.scripts import eager_functions
from tests.scripts import run_script as run
from utils.base.options import (
    DataOptions,
    DistillationOptions,
    NetworkOptions,
    OutputOptions,
    TrainingOptions,
    ViewOptions,
)
from utils.evaluation import run as evaluation
from utils.evaluation.tables import percent_with_interval
from utils.networks.recognizer import load_recognizer
from utils.training.stages import train_student

ARRAYS = ["--data", "arrays/frames.npy", "--annotations", "arrays/labels.npy"]


@pytest.fixture
def folder(make_arrays, tmp_path):
    """A folder with a student of one epoch."""
    make_arrays(height=32, width=32)
    small = ["--input_size", 32, "--width", 0.05, "--batch_size", 4, "--epochs", 1, "--views", 0, "--alpha", 1]
    with eager_functions():
        run("KD_training.py", *ARRAYS, *small, "--output_path", "student.keras", cwd=tmp_path)
    return tmp_path


@pytest.mark.usefixtures("eager")
def test_the_card_has_the_results_of_eval(folder):
    """Page, table, JSON and card of one test would contradict each other, or a result would not survive a new card."""
    card = folder / "student.md"
    assert "Not tested yet." in card.read_text()
    assert re.search(r"\| parameters \| [\d,]+ \|", card.read_text())
    before = json.loads((folder / "student.json").read_text())
    printed = run("eval.py", *ARRAYS, "--recognizer", "student.keras", "--output_path", "out", cwd=folder)
    assert "updated student.md\n" in printed
    (result,) = json.loads((folder / "out/metrics.json").read_text())["recognizers"]
    accuracy = percent_with_interval(result["interval"])
    page, table = ((folder / "out" / name).read_text() for name in ("report.html", "results.md"))
    share, _, interval = accuracy.partition(" (")
    for text, shown in (
        (page, f"<bdi>{accuracy}</bdi>"),
        (page, f"<strong>{share}</strong> of {result['clips']} test clips (95 % interval {interval[:-1]})"),
        (page, f"<bdi>{result['macro_f1']:.3f}</bdi>"),
        (page, f"<bdi>{result['multiply_accumulates'] / 1e9:.3f}</bdi>"),
        (page, f"<bdi>{result['loss']:.3f}</bdi>"),
        (table, f" {accuracy} "),
        (table, f" {result['milliseconds_per_clip']:.1f} "),
        (
            card.read_text(),
            f"**{share}** of {result['clips']} test clips are recognised, 95 % interval {interval[:-1]} %",
        ),
    ):
        assert shown in text
    record = load_recognizer(folder / "student.keras", argument="").record
    test = record.test
    assert record.changed(test=None).model_dump() == before
    assert test.accuracy == result["top1"]
    assert test.interval == [result["interval"]["low"], result["interval"]["high"]]
    assert test.milliseconds_per_clip == pytest.approx(1000 / result["clips_per_second"])
    assert test.leaking == result["leaks"]["leaking_test_clips"]
    assert record.cost.multiply_accumulates == result["multiply_accumulates"]
    assert record.cost.parameters == result["parameters"]
    by_class = [line.split(",")[1:4] for line in (folder / "out/per_class.csv").read_text().splitlines()[1:]]
    rows = re.findall(r"^\| (Class\d) \| (\d+) \| (\d+) \| ([\d.]+) % \|$", card.read_text(), re.MULTILINE)
    for (name, clips, accuracy), (shown, *counts, percent) in zip(by_class, rows, strict=True):
        assert (name, int(clips)) == (shown, int(counts[0]))
        assert float(accuracy) == pytest.approx(int(counts[1]) / int(counts[0]), abs=1e-4)
        assert float(percent) == pytest.approx(100 * float(accuracy), abs=0.06)
    (found,) = ModelCard(card.read_text()).data.eval_results
    assert found.metric_value == round(result["top1"], 4)
    text = card.read_text()
    card.unlink()
    run("utils/cards.py", "--recognizer", "student.keras", cwd=folder)
    assert card.read_text() == text

    (folder / "student.json").write_text(json.dumps({name: before[name] for name in before if name != "cost"}))
    run("eval.py", *ARRAYS, "--recognizer", "student.keras", "--views", 2, cwd=folder)
    found = json.loads((folder / "student.json").read_text())
    assert found["cost"] == before["cost"]  # of one view
    assert found["test"]["views"] == 2
    assert "averaged over 2 views per clip" in card.read_text()


@pytest.mark.usefixtures("eager")
def test_other_tests_and_other_files_stay_out_of_the_record(folder, make_arrays, monkeypatch, capsys):
    """The card would state the accuracy on training clips or on other arrays, or replace a user's notes."""
    before = {path.name: path.read_bytes() for path in folder.glob("student.*")}
    data = DataOptions(folder / "arrays/frames.npy", folder / "arrays/labels.npy", split="random")
    evaluation.evaluate(data, [folder / "student.keras"], force=True)
    make_arrays("other", height=32, width=32, groups=6)
    other = DataOptions(folder / "other/frames.npy", folder / "other/labels.npy", split=None)
    evaluation.evaluate(other, [folder / "student.keras"])
    assert {path.name: path.read_bytes() for path in folder.glob("student.*")} == before

    (folder / "student.md").write_text("my notes")
    own = DataOptions(folder / "arrays/frames.npy", folder / "arrays/labels.npy", split=None)
    capsys.readouterr()
    evaluation.evaluate(own, [folder / "student.keras"])
    assert "note: the model card was not updated: " in capsys.readouterr().out
    assert (folder / "student.md").read_text() == "my notes"
    assert "test" in json.loads((folder / "student.json").read_text())

    def replaced_meanwhile(*arguments, **settings):
        found = load_recognizer(*arguments, **settings)
        record = json.loads((folder / "student.json").read_text()) | {"fingerprint": "1" * 64}
        (folder / "student.json").write_text(json.dumps(record))
        return found

    monkeypatch.setattr(evaluation, "load_recognizer", replaced_meanwhile)
    evaluation.evaluate(own, [folder / "student.keras"])
    assert "was replaced during the test" in capsys.readouterr().out
    assert json.loads((folder / "student.json").read_text())["fingerprint"] == "1" * 64


def test_training_refuses_to_replace_notes_of_the_user(make_arrays, tmp_path):
    """A file NAME.md of the user next to the model would be lost, or hours of training would end in an error."""
    make_arrays(height=32, width=32)
    (tmp_path / "student.md").write_text("# My notes\n")
    for more in ([], ["--overwrite"]):
        command = [*ARRAYS, "--alpha", 1, "--output_path", "student.keras", *more]
        printed = run("KD_training.py", *command, cwd=tmp_path, expect=2, clears_keras=False)
        assert printed.startswith("error: --output_path: student.md exists and is not a model card")
        assert printed.count("\n") == 1
    assert (tmp_path / "student.md").read_text() == "# My notes\n"
    assert not (tmp_path / "student.keras").exists()


@pytest.mark.usefixtures("eager")
def test_a_network_of_unknown_cost_is_saved(make_arrays, tmp_path, monkeypatch, capsys):
    """A training with a layer that TensorFlow cannot count would be lost at its end."""

    def fail(model):
        raise TypeError("planted")

    monkeypatch.setattr("utils.training.finishing.cost_of_model", fail)
    folder = make_arrays(height=32, width=32)
    trained = train_student(
        data=DataOptions(folder / "frames.npy", folder / "labels.npy"),
        training=TrainingOptions(batch_size=4, epochs=1),
        network=NetworkOptions(width=0.05, input_size=(32, 32)),
        distillation=DistillationOptions(alpha=1.0),
        output=OutputOptions(tmp_path / "s.keras"),
        views=ViewOptions(views=0),
    )
    assert "note: the record has no cost of the model (planted)" in capsys.readouterr().out
    assert trained.record.cost is None
    assert np.isfinite(trained.history["loss"]).all()
    assert "| parameters" not in (tmp_path / "s.md").read_text()
