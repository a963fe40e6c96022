"""Live and cached teachers give equal logits, losses and students."""

import gc
import weakref

import keras
import numpy as np
import pytest

from models.c3d import build_c3d
from models.distiller import Distiller
from models.student import build_student
from utils.base.options import (
    DataOptions,
    DistillationOptions,
    NetworkOptions,
    OutputOptions,
    TrainingOptions,
    ViewOptions,
)
from utils.data.batches import clip_reader, training_batches
from utils.data.clips import open_clips
from utils.data.protocols import make_split
from utils.networks.recognizer import save_model
from utils.runs.loading import SplitDataset
from utils.training import stages
from utils.training import teacher as teacher_module
from utils.training.question import Question
from utils.training.targets import live_teacher, teacher_logits
from utils.training.teacher import resolve_teachers

SHAPE = (16, 32, 32, 3)
VIEWS = ViewOptions(views=2, view_seed=3, flip=False)
TRAINING = TrainingOptions(batch_size=6, epochs=1, learning_rate=1e-3)
NETWORK = NetworkOptions(width=0.1, dropout=0.0, input_size=(32, 32))


@pytest.fixture
def data(make_arrays):
    folder = make_arrays(height=48, width=48)
    return DataOptions(folder / "frames.npy", folder / "labels.npy")


@pytest.fixture(params=[32, 40], ids=["same size", "another size"])
def source(request, tmp_path):
    """The file of a teacher whose input is as large as the student's, or larger."""
    keras.utils.set_random_seed(1)
    teacher = build_c3d(3, input_shape=(16, request.param, request.param, 3), width=0.1)
    save_model(teacher, tmp_path / "teacher.keras")
    return tmp_path / "teacher.keras"


def question_of(data):
    dataset = open_clips(data.data, data.annotations)
    split = make_split(dataset.labels, dataset.paths, class_names=dataset.class_names)
    return Question(SplitDataset(dataset, split), VIEWS)


def test_logits_and_losses_of_equal_views_are_equal(data, source):
    """Cached logits would belong to other views or to another input size."""
    question = question_of(data)
    student = build_student(3, input_shape=SHAPE, width=0.1)
    found = []
    for mode in ("cached", "live"):
        options = DistillationOptions(source=source, teacher_mode=mode)
        (teacher,) = resolve_teachers(options)
        if mode == "live":
            live, targets = live_teacher(teacher, question, SHAPE)
        else:
            live, targets = None, {"teacher_logits": teacher_logits([teacher], question, options)}
        distiller = Distiller(student, live and live.model, temperature=4.0, alpha=0.1)
        distiller.compile(jit_compile=False)
        clips = clip_reader(question.dataset, SHAPE, VIEWS)
        targets = {"labels": question.dataset.labels, **targets}
        batches = training_batches(clips, question.split.train, targets, batch_size=6, seed=0).take(9)  # 3 epochs
        logits = [distiller.with_teacher_logits(x, y)["teacher_logits"] for x, y in batches]
        found.append((np.concatenate(logits), distiller.evaluate(batches, steps=9, verbose=0, return_dict=True)))
    (stored, stored_log), (live, live_log) = found
    np.testing.assert_allclose(stored, live, rtol=1e-5, atol=1e-6)
    assert np.ptp(live) > 1e-3
    for name in ("loss", "soft_loss", "hard_loss", "agreement"):
        assert stored_log[name] == pytest.approx(live_log[name], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("source", [40], indirect=True, ids=["another size"])
def test_students_agree_after_an_epoch(data, source, tmp_path):
    """--teacher live and cached would train different students from the same views."""
    students = {}
    for mode in ("cached", "live"):
        output = OutputOptions(tmp_path / f"{mode}.keras", tmp_path / mode)
        distillation = DistillationOptions(source=source, teacher_mode=mode, temperature=4.0)
        settings = {"data": data, "training": TRAINING, "network": NETWORK, "views": ViewOptions(views=0)}
        stages.train_student(**settings, distillation=distillation, output=output)
        students[mode] = keras.models.load_model(output.output_path, compile=False)
    for stored, live in zip(students["cached"].get_weights(), students["live"].get_weights()):
        np.testing.assert_allclose(stored, live, rtol=1e-3, atol=1e-5)
    clips = question_of(data).dataset.view_zero(np.arange(30), SHAPE)
    answers = [model.predict(clips, verbose=0).argmax(axis=1) for model in students.values()]
    assert np.mean(answers[0] == answers[1]) == 1


@pytest.mark.parametrize("source", [32], indirect=True)
def test_a_cached_teacher_is_freed_before_the_student_trains(data, source, tmp_path, monkeypatch):
    """A C3D teacher would keep 320 MB of memory that the student's training does not need."""

    class Begun(Exception):
        """Ends a training that is about to begin."""

    loaded, alive = [], []
    load = teacher_module.open_network

    def remembered(*arguments, **settings):
        teacher = load(*arguments, **settings)
        loaded.append(weakref.ref(teacher.model))
        return teacher

    def watched(*arguments, **settings):
        alive.append(loaded[0]() is not None)
        raise Begun

    monkeypatch.setattr(teacher_module, "open_network", remembered)
    monkeypatch.setattr(stages, "fit", watched)
    for name, mode in (("cached", "cached"), ("again", "cached"), ("live", "live")):
        output = OutputOptions(tmp_path / f"{name}.keras", tmp_path / name)
        settings = {"data": data, "training": TRAINING, "network": NETWORK, "views": VIEWS}
        with pytest.raises(Begun):
            stages.train_student(
                **settings, distillation=DistillationOptions(source=source, teacher_mode=mode), output=output
            )
        if name == "again":
            assert len(loaded) == 1  # the logits were cached
            loaded.clear()
    gc.collect()
    assert alive == [False, False, True]
