"""Image teachers and students that start from their linear probe, with the weights that come with the installation."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score, log_loss

from models import efficientnet_lite
from models.efficientnet_lite import build_efficientnet_lite0
from models.frames import build_frames, split_at_features
from tests.scripts import run_script
from utils.base.errors import UserError
from utils.base.options import (
    TASK_PROBE,
    DataOptions,
    DistillationOptions,
    NetworkOptions,
    OutputOptions,
    TeacherOptions,
    TrainingOptions,
    ViewOptions,
)
from utils.data.batches import clip_reader
from utils.networks.recognizer import load_recognizer
from utils.runs.loading import load
from utils.training import stages
from utils.training.probe_start import ProbeStart, keep_better, start_from_probe

pytestmark = pytest.mark.usefixtures("eager")
INPUT = (2, 32, 32, 3)
LITE0 = "frames:efficientnet_lite0"


@pytest.fixture
def data(make_arrays, monkeypatch, tmp_path):
    """The arrays of a small data set, for networks with one stage of EfficientNet-Lite0 only, and weights for them."""
    monkeypatch.setattr(efficientnet_lite, "BLOCKS", efficientnet_lite.BLOCKS[1:2])
    folder = make_arrays(length=8, height=32, width=32)
    build_efficientnet_lite0((32, 32, 3)).save_weights(tmp_path / "lite0.weights.h5")
    return DataOptions(folder / "frames.npy", folder / "labels.npy")


def train(data, folder, name, *, training=None, **distillation):
    weights = folder / "lite0.weights.h5"
    return stages.train_student(
        data=data,
        training=TrainingOptions(**{"batch_size": 4, "epochs": 1, "keep_going": True} | (training or {})),
        network=NetworkOptions(input_size=INPUT[1:3], input_frames=INPUT[0]),
        distillation=DistillationOptions(student=LITE0, student_weights=weights, **distillation),
        output=OutputOptions(folder / name),
        views=ViewOptions(views=1),
    )


def validation_logits(trained, data):
    loaded = load(data, INPUT)
    rows = loaded.split.validation
    model = load_recognizer(trained.model, argument="").model
    clips = loaded.dataset.view_zero(rows, INPUT)
    return np.asarray(model.predict_on_batch(clips), np.float64), loaded.dataset.labels[rows]


def test_the_start_is_the_probe_that_scikit_learn_fits(data):
    """A transposed kernel or a forgotten mean would start the training from noise; few labels must be all it knows."""
    loaded = load(data, INPUT)
    model = build_frames("efficientnet_lite0", 3, input_shape=INPUT, pretrained=True)
    labels = np.where(np.arange(len(loaded.dataset)) % 2, loaded.dataset.labels, -1)
    start = start_from_probe(model, loaded, labels, ViewOptions(views=1))
    rows = loaded.split.train[labels[loaded.split.train] >= 0]
    features, _ = split_at_features(model)
    read = clip_reader(loaded.dataset, INPUT, ViewOptions(views=1)).read
    views = [features.predict_on_batch(read(rows, np.full(len(rows), view))) for view in (0, 1)]

    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    stacked, repeated = np.concatenate(views), np.concatenate([labels[rows]] * 2)
    scaler = StandardScaler().fit(stacked)
    probe = LogisticRegression(C=start.strength, max_iter=500).fit(scaler.transform(stacked), repeated)
    validation = loaded.dataset.view_zero(loaded.split.validation, INPUT)
    expected = probe.predict_proba(scaler.transform(features.predict_on_batch(validation)))
    found = softmax(np.asarray(model.predict_on_batch(validation), np.float64), axis=1)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    truth = loaded.dataset.labels[loaded.split.validation]
    assert start.metrics["val_loss"] == pytest.approx(log_loss(truth, expected), rel=1e-2)
    assert start.metrics["val_accuracy"] == accuracy_score(truth, expected.argmax(axis=1))


def test_a_training_that_is_worse_than_its_start_keeps_the_start(data, tmp_path, capsys):
    """At too high a rate, a student would be saved that is worse than what seconds of work give."""
    trained = train(data, tmp_path, "burnt.keras", alpha=1.0, training={"learning_rate": 100.0, "backbone_rate": 1.0})
    logits, labels = validation_logits(trained, data)
    assert "the linear probe is kept" in capsys.readouterr().out
    assert (logits.argmax(axis=1) == labels).mean() == trained.record.validation["val_accuracy"]
    assert trained.record.kept_epoch == 0
    model = build_frames("efficientnet_lite0", 3, input_shape=INPUT)
    start = ProbeStart([], {"val_accuracy": 0.8, "val_clips": 16.0}, 0.1)
    kept = {"epoch": 3, "val_accuracy": 0.71}
    assert keep_better(model, start, kept) == kept  # not below 0.8 by more than 0.1


@pytest.mark.parametrize("alpha", [1.0, 0.1])
def test_a_frozen_backbone_keeps_its_weights(alpha, data, tmp_path):
    """--freeze_backbone would fine-tune for an hour, or save a student without the classifier that it trained."""
    scores = 4 * np.eye(3, dtype=np.float32)[np.load(data.annotations)]
    np.save(tmp_path / "scores.npy", np.stack([scores, scores], axis=1) - 1)
    settings = {} if alpha == 1 else {"source": tmp_path / "scores.npy", "temperature": 2.0}
    trained = train(data, tmp_path, "frozen.keras", alpha=alpha, freeze_backbone=True, **settings)
    expected = build_efficientnet_lite0((32, 32, 3))
    expected.load_weights(tmp_path / "lite0.weights.h5")
    model = load_recognizer(trained.model, argument="").model
    for found, array in zip(model.get_layer("backbone").get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(found, array)
    logits, labels = validation_logits(trained, data)
    assert (logits.argmax(axis=1) == labels).mean() == trained.record.validation["val_accuracy"]
    assert len(trained.history) == 1


def test_an_image_teacher_teaches_a_student(make_arrays, tmp_path):
    """The commands of the documentation: stage 2 fits the teacher, stage 3 takes it, and stage 4 knows its clips."""
    folder = make_arrays(length=4, height=32, width=32)
    common = ("--data", folder, "--input_size", 32, "--input_frames", 2, "--views", 1)
    printed = run_script(
        "Teacher_training.py", *common, "--task", TASK_PROBE, "--output_path", "image.keras", cwd=tmp_path
    )
    assert "linear probe on frozen features: validation accuracy" in printed
    student = ("--student", LITE0, "--student_weights", "imagenet", "--freeze_backbone", "--epochs", 1)
    run_script(
        "KD_training.py", *common, *student, "--teacher", "image.keras", "--output_path", "s.keras", cwd=tmp_path
    )
    record = load_recognizer(tmp_path / "image.keras", argument="").record
    assert (record.kind, record.input.shape) == ("image teacher", list(INPUT))
    printed = run_script("KD_training.py", *common, "--freeze_backbone", "--alpha", 1, cwd=tmp_path, expect=2)
    assert printed == "error: --freeze_backbone: must go with --student_weights, got none\n"
    live = ("--teacher", "image.keras", "--teacher_outputs", "live")
    printed = run_script("KD_training.py", *common, *student, *live, cwd=tmp_path, expect=2)
    assert printed == "error: --freeze_backbone: must go with --teacher_outputs cached, got live\n"


def test_the_image_teacher_is_refused_before_any_work(data, tmp_path):
    """A clip shorter than the teacher's input would fail after minutes."""
    with pytest.raises(UserError, match=r"(16|8) frames"):
        stages.train_teacher(
            data=data,
            training=TrainingOptions(),
            network=NetworkOptions(input_size=(32, 32), input_frames=16),
            teacher=TeacherOptions(task=TASK_PROBE),
            output=OutputOptions(tmp_path / "image.keras"),
        )
