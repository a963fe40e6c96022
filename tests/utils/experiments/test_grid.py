"""Keys of cells and settings of training states contain exactly what the trained weights depend on."""

import dataclasses
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from reproduce import make_parser
from utils.base.options import (
    DataOptions,
    DistillationOptions,
    NetworkOptions,
    TeacherOptions,
    TrainingOptions,
    ViewOptions,
)
from utils.data.clips import ClipDataset, FrameFile
from utils.data.protocols import Split
from utils.experiments import grid as grid_module
from utils.experiments.arrays import ArrayOrigin
from utils.experiments.grid import Experiment, cells_of, from_arguments
from utils.runs import identity
from utils.runs.identity import settings_of, weight_settings
from utils.runs.loading import SplitDataset

ALL, STUDENTS = {"alone", "teacher", "distilled"}, {"alone", "distilled"}
# By option: a value other than the default, and the roles whose weights it can change.
TRAINING = {
    "batch_size": (4, ALL),
    "epochs": (3, ALL),
    "learning_rate": (0.1, ALL),
    "schedule": ("constant", ALL),
    "clip_norm": (None, ALL),
    "initialisation": ("random", ALL),
    "seed": (7, ALL),
    "backbone_rate": (0.5, ALL),
    "weight_decay": (0.1, ALL),
    "class_weights": ("balanced", ALL),
    "keep": ("best", ALL),
    "patience": (3, ALL),
    "max_minutes": (5.0, set()),
    "precision": ("float32", ALL),
    "devices": (2, set()),
    "keep_going": (True, set()),
    "tensorboard": (Path("logs"), set()),
    "initial_weights": (Path("old.keras"), set()),  # not an argument of reproduce.py
}
NETWORK = {"width": (0.5, ALL), "dropout": (0.5, ALL), "input_size": ((56, 56), ALL), "input_frames": (20, ALL)}
VIEWS = {"views": (3, {"alone", "distilled"}), "view_seed": (1, ALL), "flip": (False, ALL)}
DISTILLATION = {
    "student": ("compact3d_gap", {"alone", "distilled"}),
    "mixing": ("shift", {"alone", "distilled"}),
    "freeze_backbone": (True, {"alone", "distilled"}),
    "labels_per_class": (5, {"alone", "distilled"}),
    "teacher_mode": ("live", {"alone", "distilled"}),
    "source_channels": ("bgr", {"alone", "distilled"}),
    "source_input_scale": ("0..1", {"alone", "distilled"}),
    "cache": (Path("c.npy"), set()),
    "scheduler": ("local", set()),
    "fail_on_leak": (True, set()),
}
VARIED = {"source", "temperature", "alpha"}  # set by the grid
FILES = {"unlabelled", "student_weights"}
OPTIONS = {
    TrainingOptions: TRAINING,
    NetworkOptions: NETWORK,
    ViewOptions: VIEWS,
    DistillationOptions: DISTILLATION | dict.fromkeys(VARIED | FILES | {"source_scores"}),
}


TEACHERS = ("scratch", "weights of a file", "downloaded weights", "network", "scores")


@pytest.fixture
def experiment(tmp_path):
    return make_experiment(tmp_path)


def make_experiment(folder, teacher="scratch"):
    """Return an experiment with one teacher, one seed and one temperature; the student starts from the file "a"."""
    for name in ("a", "b"):
        (folder / name).write_text(name)
    (folder / "t.keras").touch()
    np.save(folder / "t.npy", [[0.25, 0.75]])
    given = {"network": folder / "t.keras", "scores": folder / "t.npy"}.get(teacher)
    return Experiment(
        output_path=folder,
        origin=ArrayOrigin(None, None, None, None, {}, 16, (112, 112)),
        split="random",
        folds=None,
        split_seed=0,
        split_dir=None,
        group_pattern=None,
        seeds=[0],
        teachers=["none" if given else "sports1m" if "weights" in teacher else "scratch"],
        given_teachers={"mine": (str(given),)} if given else {},
        teacher=TeacherOptions(weights=folder / "a" if teacher == "weights of a file" else None),
        distillation=DistillationOptions(student="frames:efficientnet_lite0", student_weights=folder / "a"),
        temperatures=[4.0],
        alphas=[0.1],
        teacher_training=TrainingOptions(),
        student_training=TrainingOptions(),
        teacher_network=NetworkOptions(),
        student_network=NetworkOptions(),
        views=ViewOptions(),
        fail_on_leak=False,
        arguments={},
    )


def keys(experiment, seed=0, **common):
    """Return the key of the cell of each role."""
    unlabelled = [FrameFile(path).fingerprint() for path in experiment.distillation.unlabelled]
    cells = cells_of(experiment, "random", seed, {"arrays": {}} | common, unlabelled)
    return {cell.row.role: cell.key for cell in cells}


def changed(before, after):
    return {role for role in before if before[role] != after[role]}


def with_taught(roles):
    """Add the distilled student if its teacher changes."""
    return roles | ({"distilled"} if "teacher" in roles else set())


def test_every_option_is_in_these_tables():
    """Otherwise a cell with an old value of a new option could be reused."""
    for kind, table in OPTIONS.items():
        assert {part.name for part in fields(kind)} == set(table)


# By kind of options: the fields of Experiment that hold them.
PARTS = {
    TrainingOptions: ("teacher_training", "student_training"),
    NetworkOptions: ("teacher_network", "student_network"),
    ViewOptions: ("views",),
    DistillationOptions: ("distillation",),
}


@pytest.mark.parametrize("teacher", TEACHERS)
@pytest.mark.parametrize("kind", OPTIONS)
def test_each_option_changes_what_depends_on_it(tmp_path, teacher, kind):
    """Networks of other settings would be reused, for one kind of teacher only, or finished ones be trained again."""
    experiment = make_experiment(tmp_path, teacher)
    files = {"student_weights": (tmp_path / "b", STUDENTS), "unlabelled": ((tmp_path / "clips.npy",), STUDENTS)}
    np.save(tmp_path / "clips.npy", np.zeros((2, 3, 4, 5, 3), np.uint8))
    for name, change in OPTIONS[kind].items():
        value, roles = change or files.get(name, (None, None))
        if roles is None or name == "seed":
            continue
        other = {part: replace(getattr(experiment, part), **{name: value}) for part in PARTS[kind]}
        has_fixed_teacher = teacher in ("network", "scores") or (kind is ViewOptions and teacher != "scratch")
        expected = with_taught(roles - {"teacher"} if has_fixed_teacher else roles)
        assert changed(keys(experiment), keys(replace(experiment, **other))) == expected, name


@pytest.mark.parametrize("teacher", TEACHERS[1:])
def test_each_file_of_a_teacher_changes_its_students(tmp_path, teacher, monkeypatch):
    """Students of other weights or scores would be reused, or those of the same file in another place be retrained."""
    experiment = make_experiment(tmp_path, teacher)
    before = keys(experiment)
    (tmp_path / "other").mkdir()
    moved = make_experiment(tmp_path / "other", teacher)
    assert changed(before, keys(moved)) == set()
    monkeypatch.setattr(grid_module, "MD5", "other")
    np.save(tmp_path / "t.npy", [[0.5, 0.5]])
    (tmp_path / "t.keras").write_text("other")
    changes = {"weights of a file": {"teacher": TeacherOptions(weights=tmp_path / "b")}}
    assert changed(before, keys(replace(experiment, **changes.get(teacher, {})))) == {"teacher", "distilled"}


def test_view_options_have_no_effect_without_views(experiment):
    whole = replace(experiment, views=ViewOptions(views=0))
    assert changed(keys(experiment), keys(whole)) == ALL
    other = replace(experiment, views=ViewOptions(views=0, view_seed=3, flip=False))
    assert changed(keys(whole), keys(other)) == set()


def test_what_the_grid_varies(experiment):
    assert changed(keys(experiment), keys(experiment, seed=1)) == ALL
    assert changed(keys(experiment), keys(replace(experiment, temperatures=[1.0]))) == {"distilled"}
    assert changed(keys(experiment), keys(replace(experiment, alphas=[0.5]))) == {"distilled"}
    fine_tuned = replace(experiment, teachers=["sports1m"])
    assert changed(keys(experiment), keys(fine_tuned)) == {"teacher", "distilled"}
    unfrozen = replace(fine_tuned, teacher=TeacherOptions(unfreeze="fc7"))
    assert changed(keys(fine_tuned), keys(unfrozen)) == {"teacher", "distilled"}
    assert changed(keys(experiment), keys(replace(experiment, teacher=TeacherOptions(unfreeze="fc7")))) == set()
    flipped = replace(fine_tuned, views=ViewOptions(flip=False))  # frozen layers read view 0
    assert "teacher" not in changed(keys(fine_tuned), keys(flipped))


def test_unlabelled_clips_are_identified_by_content(experiment, tmp_path):
    """Students of other clips would be reused, or students of the same clips be retrained."""

    def keys_with(clips):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npy"  # a new path each time
        np.save(path, clips)
        return keys(replace(experiment, distillation=replace(experiment.distillation, unlabelled=(path,))))

    clips = np.arange(2 * 3 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 3, 4, 5, 3)
    assert changed(keys(experiment), keys_with(clips)) == STUDENTS  # epochs are longer
    assert changed(keys_with(clips), keys_with(clips)) == set()
    assert changed(keys_with(clips), keys_with(clips + 1)) == STUDENTS
    assert changed(keys_with(clips), keys_with(clips.reshape(2, 3, 5, 4, 3))) == STUDENTS  # the same bytes


def test_options_of_the_student_do_not_reach_the_teacher(tmp_path):
    """A teacher would be trained again for each student, or the student at the rate of new layers."""
    weights = tmp_path / "lite0.weights.h5"
    weights.touch()
    typed = ["--student", "frames:efficientnet_lite0", "--student_weights", str(weights), "--student_frames", "4"]
    found = from_arguments(make_parser().parse_args(typed))
    assert (found.student_training.backbone_rate, found.teacher_training.backbone_rate) == (0.1, 1.0)
    assert (found.student_network.input_frames, found.teacher_network.input_frames) == (4, 16)
    assert (found.distillation.mixing, found.distillation.student_weights) == ("none", weights)


def test_code_arrays_and_versions(experiment, monkeypatch):
    before = keys(experiment)
    assert changed(before, keys(experiment, arrays={"content": "other"})) == ALL
    assert changed(before, keys(experiment, versions={"version of the views": 2})) == ALL
    with monkeypatch.context() as patch:
        patch.setattr(grid_module, "student_files", lambda _: {"code": "other"})
        assert changed(before, keys(experiment)) == {"alone", "distilled"}
    with monkeypatch.context() as patch:
        patch.setattr(grid_module, "teacher_code", lambda: "other")
        assert changed(before, keys(experiment)) == {"teacher", "distilled"}


def with_scores(experiment, path, scores, **distillation):
    """The experiment with class scores, written to `path`, as its only teacher."""
    np.save(path, np.asarray(scores))
    given = {"teachers": ["none"], "given_teachers": {"mine": (str(path),)}}
    return replace(experiment, **given, distillation=replace(experiment.distillation, **distillation))


def test_source_scores_change_teachers_and_students_of_scores_only(experiment, tmp_path):
    """Results of another reading would be reused, or trainings that do not depend on it be repeated."""
    path, scores = tmp_path / "t.npy", [[0.25, 0.75], [0.5, 0.5]]
    auto = keys(with_scores(experiment, path, scores))
    for choice in ("logits", "probabilities"):
        other = keys(with_scores(experiment, path, scores, source_scores=choice))
        assert changed(auto, other) == {"teacher", "distilled"}
    trained = replace(experiment, distillation=replace(experiment.distillation, source_scores="logits"))
    assert changed(keys(experiment), keys(trained)) == set()
    assert weight_settings([DistillationOptions(source_scores="logits")])["source_scores"] == "logits"


@pytest.mark.parametrize("kind", [*OPTIONS, TeacherOptions])
def test_training_states_are_compared_by_the_same_settings(kind, monkeypatch):
    """Otherwise a training could be resumed with settings that give other weights."""
    dataset = ClipDataset(None, np.arange(4), None, ("a", "b"))
    monkeypatch.setattr(ClipDataset, "fingerprint", lambda self: {})
    data = SplitDataset(dataset, Split("random", 0, *(np.arange(1),) * 3, ()))
    before = settings_of([kind()], data, {})
    for part in dataclasses.fields(kind):
        if part.name in OPTIONS.get(kind, {}) and OPTIONS[kind][part.name]:
            value, roles = OPTIONS[kind][part.name]
            after = settings_of([replace(kind(), **{part.name: value})], data, {})
            assert (before != after) == bool(roles), part.name
    assert before != settings_of([kind()], data, {"--weights": "other"})
    monkeypatch.setattr(identity, "VERSIONS", {"version of the views": 99})
    assert before != settings_of([kind()], data, {})


def test_data_options_are_compared_by_content():
    """Otherwise moving the arrays would invalidate trainings, or another split seed would not."""
    here, there = DataOptions(Path("a"), Path("b")), DataOptions(Path("c"), Path("d"), paths=Path("e"))
    assert weight_settings([here]) == weight_settings([there])
    assert weight_settings([here]) != weight_settings([replace(here, split_seed=1)])
