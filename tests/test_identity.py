"""One changed byte of one frame gives other keys wherever results are reused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.utils.experiments.test_grid import make_experiment
from utils.base.errors import UserError
from utils.base.options import DataOptions, DistillationOptions, TrainingOptions, ViewOptions
from utils.data.clip_hashes import hashes_of_all
from utils.data.clips import open_clips, with_unlabelled
from utils.data.loading import SplitDataset
from utils.data.protocols import make_split
from utils.data.sampled import sampled_fingerprint
from utils.evaluation.testing import with_seen_unlabelled
from utils.experiments.grid import make_grid
from utils.runs.records import make_record, same_clips
from utils.training import stages
from utils.training.exchange import read_scores
from utils.training.question import Question
from utils.training.state import settings_of


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
    about = {"input_shape": (16, 32, 32, 3), "options": [], "kept": {"epoch": 1}, "history_path": "h"}
    return make_record(data.dataset, data.split, **about)["arrays"]


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


def earlier_record(arrays):
    """Return the fingerprint of `arrays` as an earlier version wrote it."""
    return json.loads(json.dumps(sampled_fingerprint(arrays)))


def test_records_of_earlier_versions_stay_usable(files):
    """Trained models could not be evaluated any more on the test clips that they have not seen."""
    data = loaded(files).dataset
    record = {"arrays": earlier_record(data)}
    assert same_clips(record, data)
    without_paths = replace(data, paths=None)
    assert not same_clips(record, without_paths)
    record = {"arrays": earlier_record(without_paths)}
    assert same_clips(record, without_paths)
    (part,) = data.unlabelled
    record = {"unlabelled": {"files": [{"path": str(part.frames.path), "arrays": earlier_record(part)}]}}
    assert with_seen_unlabelled(data, record)[1] == ""
    np.save(files["--unlabelled"], 255 - np.load(files["--unlabelled"]))
    assert with_seen_unlabelled(loaded(files).dataset, record)[1].endswith("changed since the training.")


def test_scores_of_earlier_versions_stay_usable(files, tmp_path):
    """Scores of a large teacher, the work of days, would be refused."""
    question = Question(loaded(files), ViewOptions(views=1))
    names = ["shape", "labels", "paths", "frames", "rows", "view_version", "view_seed", "flip", "unlabelled"]
    assert list(question.sampled_key()) == names  # the order is part of the digest of unlabelled clips
    scores = np.eye(3, dtype=np.float32)[np.append(question.dataset.labels, [0] * 6)]
    np.save(tmp_path / "scores.npy", np.stack([scores, scores], axis=1))
    (tmp_path / "scores.json").write_text(json.dumps({"key": question.sampled_key()}))
    assert read_scores(tmp_path / "scores.npy", question).shape == (36, 2, 3)
    for name, problem in (("--unlabelled", "unlabelled differs"), ("--data", "frames differs; unlabelled differs")):
        np.save(files[name], 255 - np.load(files[name]))
        with pytest.raises(UserError, match=f"must hold scores for these clips and views, but {problem}$"):
            read_scores(tmp_path / "scores.npy", Question(loaded(files), ViewOptions(views=1)))
