"""stages.train_student, and what it passes to the fit loop."""

from dataclasses import replace

import numpy as np
import pytest

from utils.base.errors import UserError
from utils.base.options import (
    DataOptions,
    DistillationOptions,
    NetworkOptions,
    OutputOptions,
    TrainingOptions,
    ViewOptions,
)
from utils.evaluation import run as evaluation
from utils.networks.recognizer import load_recognizer
from utils.runs.history import TIMING_FIELDS
from utils.runs.state import Ending
from utils.training import stages

pytestmark = pytest.mark.usefixtures("eager")

NETWORK = NetworkOptions(width=0.1, input_size=(32, 32))


@pytest.fixture
def data(make_arrays):
    folder = make_arrays(height=32, width=32)
    return DataOptions(folder / "frames.npy", folder / "labels.npy")


@pytest.fixture
def inputs(data, make_arrays, tmp_path):
    """The options of distillation that name files: 6 unlabelled clips and the scores of a teacher."""
    more = make_arrays("more", classes=1, groups=3, height=36, width=36, seed=1) / "frames.npy"
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(36, 2, 3)) + 5 * np.eye(3)[[*np.load(data.annotations), *[0] * 6]][:, None]
    np.save(tmp_path / "scores.npy", scores.astype(np.float32))
    return {"unlabelled": (more,), "source": tmp_path / "scores.npy"}


@pytest.fixture
def fitted(monkeypatch):
    """What the stage passes to the fit loop, which trains nothing."""
    fitted = {}

    def remembered(model, reader, split, targets, options, *, epoch_clips=None, state):
        fitted.update(split=split, targets=targets, labels=targets["labels"], epoch_clips=epoch_clips)
        row = (1, 1.0, 0.5, 1.0, 1.0, 0.5)
        state.ending = Ending.LAST_EPOCH
        names = ["epoch", "loss", "accuracy", "val_loss", "val_hard_loss", "val_accuracy"]
        return np.array([row], dtype=[(name, int if name == "epoch" else float) for name in names])

    monkeypatch.setattr(stages, "fit", remembered)
    return fitted


def train(data, folder, name, distillation, views=0, **training):
    """Train a student; return the result."""
    return stages.train_student(
        data=data,
        training=TrainingOptions(**{"batch_size": 4, "learning_rate": 0.01} | training),
        network=NETWORK,
        distillation=distillation,
        output=OutputOptions(folder / f"{name}.keras", folder / name),
        views=ViewOptions(views=views),
    )


def test_fewer_labelled_clips_than_a_batch_are_repeated(data, tmp_path, fitted):
    """The baseline of --labels_per_class 1 would end with an error, and with it the whole grid of reproduce.py."""
    train(data, tmp_path, "few", DistillationOptions(alpha=1.0, labels_per_class=1))
    rows = fitted["split"].train
    assert len(rows) == 6 >= 4  # a batch
    assert np.bincount(fitted["labels"][rows]).tolist() == [2, 2, 2]
    assert len(np.unique(rows)) == 3


def test_few_labels_do_not_change_the_split(data, tmp_path, fitted):
    """A student with 2 labelled clips per class would be tested on other clips than its competitors."""
    trained = train(data, tmp_path, "few", DistillationOptions(alpha=1.0, labels_per_class=2), batch_size=2)
    assert np.bincount(fitted["labels"][fitted["split"].train]).tolist() == [2, 2, 2]
    assert len(trained.record.split.rows.train) == 18 == fitted["epoch_clips"]
    results = evaluation.evaluate(data, [trained.model])  # data.split is "auto", as in the record
    assert results["recognizers"][0]["clips"] == 6
    assert results["recognizers"][0]["split"] == "group, seed 0"


def test_unlabelled_clips_are_trained_on_without_labels(data, inputs, tmp_path, fitted):
    """They would be ignored, or count as clips of a class; the baseline would take fewer steps."""
    distillation = DistillationOptions(labels_per_class=2, **inputs)
    trained = train(data, tmp_path, "distilled", distillation, views=1)
    train_rows = trained.record.split.rows.train
    assert fitted["split"].train.tolist() == [*train_rows, *range(30, 36)]
    assert fitted["labels"][30:].tolist() == [-1] * 6
    np.testing.assert_array_equal(fitted["targets"]["teacher_logits"][30:], np.load(inputs["source"])[30:])
    trained = train(data, tmp_path, "alone", replace(distillation, alpha=1.0))
    assert (len(fitted["split"].train), fitted["epoch_clips"]) == (6, 18 + 6)
    assert trained.record.unlabelled is None


def test_a_student_of_percentages_learns_logarithms(data, inputs, tmp_path, fitted, capsys):
    """Percentages would be targets of almost one class, and an override would have no effect."""
    logits = np.load(inputs["source"])
    expected = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    np.save(inputs["source"], 100 * np.exp(expected))
    train(data, tmp_path, "percent", DistillationOptions(**inputs, source_scores="probabilities"), views=1)
    rows = fitted["split"].train
    np.testing.assert_allclose(fitted["targets"]["teacher_logits"][rows], expected[rows], atol=1e-4)
    assert "scores.npy: probabilities, log taken\n" in capsys.readouterr().out
    trained = train(data, tmp_path, "logits", DistillationOptions(**inputs, source_scores="logits"), views=1)
    np.testing.assert_allclose(fitted["targets"]["teacher_logits"][rows], 100 * np.exp(expected[rows]), rtol=1e-5)
    assert "scores.npy: logits\n" in capsys.readouterr().out
    assert trained.record.arguments.source_scores == "logits"


@pytest.mark.slow
def test_a_resumed_training_equals_an_uninterrupted_one(data, inputs, tmp_path):
    """A resumed student would differ, or be continued with other clips."""
    distillation = DistillationOptions(labels_per_class=2, **inputs)

    def run(name, **training):
        return train(data, tmp_path, name, distillation, views=1, epochs=2, **training)

    assert len(run("resumed", max_minutes=1e-9).history) == 1
    (path,) = inputs["unlabelled"]
    content = path.read_bytes()
    np.save(path, np.load(path)[..., ::-1])
    with pytest.raises(UserError, match="unfinished training with another --unlabelled"):
        run("resumed")
    path.write_bytes(content)
    resumed, whole = run("resumed"), run("whole")
    names = [name for name in whole.history.dtype.names if name not in TIMING_FIELDS]
    np.testing.assert_array_equal(resumed.history[names], whole.history[names])
    assert whole.record.kept_epoch == resumed.record.kept_epoch == 2
    one, other = (load_recognizer(trained.model, argument="").model for trained in (resumed, whole))
    for found, expected in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
