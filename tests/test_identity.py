"""One changed byte of one frame gives other keys wherever results are reused."""

from dataclasses import replace

import numpy as np
import pytest

from tests.fake_recognizer import valid_record
from tests.utils.experiments.test_grid import make_experiment
from utils.base.options import DataOptions, DistillationOptions, TrainingOptions, ViewOptions
from utils.data.clip_hashes import hashes_of_all
from utils.data.clips import open_clips, with_unlabelled
from utils.data.protocols import make_split
from utils.evaluation.testing import with_seen_unlabelled
from utils.experiments.grid import make_grid
from utils.runs.identity import settings_of
from utils.runs.loading import SplitDataset
from utils.runs.record import make_record
from utils.training import stages
from utils.training.question import Question


@pytest.fixture
def files(make_arrays):
    """The paths of frames.npy of labelled and of unlabelled clips."""
    names = {"--data": {}, "--unlabelled": {"classes": 1, "groups": 3, "seed": 1}}
    return {name: make_arrays(name, height=32, width=32, **how) / "frames.npy" for name, how in names.items()}


def change_one_byte(path):
    """Change one byte in frame 9 of clip 3."""
    frames = np.load(path)
    frames[3, 9, 16, 16, 2] ^= 1
    np.save(path, frames)


def loaded(files):
    dataset = open_clips(files["--data"], files["--data"].with_name("labels.npy"))
    split = make_split(dataset.labels, dataset.paths, class_names=dataset.class_names)
    return SplitDataset(with_unlabelled(dataset, [files["--unlabelled"]]), split)


def settings_of_student(files):
    data = loaded(files)
    return settings_of([DistillationOptions()], data, stages.unlabelled_files(data))


def settings_of_teacher(files):
    return settings_of([TrainingOptions()], loaded(files), {})


def keys_of_cells(files):
    data = DataOptions(files["--data"], files["--data"].with_name("labels.npy"))
    experiment = make_experiment(data.data.parent)
    distillation = replace(experiment.distillation, unlabelled=(files["--unlabelled"],))
    cells = make_grid(replace(experiment, distillation=distillation), data).cells
    return {cell.row.role: cell.key for cell in cells}


def key_of_logits(files):
    return Question(loaded(files), ViewOptions()).key()


def record_of_model(files):
    data = loaded(files)
    about = {
        "input_shape": (16, 32, 32, 3),
        "options": [DataOptions(files["--data"], files["--data"])],
        "kept": {"epoch": 1},
        "history_path": "h",
    }
    about |= {"fingerprint": "0" * 64, "kind": "student"}
    return make_record(data.dataset, data.split, **about).arrays


def leaks_of_record(files):
    return [file["arrays"] for file in stages.leaks_of_unlabelled(loaded(files), None, fail_on_leak=False)["files"]]


def keys_of_hashes(files):
    hashes_of_all(loaded(files).dataset)
    paths = [path.with_name("frames_hashes.npz") for path in files.values()]
    return [str(np.load(path)["key"]) for path in paths]


# By use: the files whose clips its results depend on.
USES = {
    settings_of_teacher: {"--data"},
    settings_of_student: {"--data", "--unlabelled"},
    keys_of_cells: {"--data", "--unlabelled"},
    key_of_logits: {"--data", "--unlabelled"},
    record_of_model: {"--data"},
    leaks_of_record: {"--unlabelled"},
    keys_of_hashes: {"--data", "--unlabelled"},
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", ["--data", "--unlabelled"])
def test_every_use_depends_on_every_frame(files, name, use):
    """A training would be resumed, or a result be reused, for clips that have changed."""
    before = use(files)
    assert use(files) == before
    change_one_byte(files[name])
    assert (use(files) != before) == (name in USES[use])


def test_changed_unlabelled_clips_of_a_record_are_noted(files):
    """Leaks of the test clips would be searched in other clips than those of the training."""
    data = loaded(files).dataset
    unlabelled = {"files": [{"path": str(files["--unlabelled"]), "arrays": leaks_of_record(files)[0]}], "leaks": {}}
    record = valid_record(unlabelled=unlabelled)
    assert with_seen_unlabelled(data, record)[1] == ""
    change_one_byte(files["--unlabelled"])
    assert with_seen_unlabelled(data, record)[1].endswith("changed since the training.")
