"""The split of an earlier training, continued with new clips."""

import json

import numpy as np
import pytest

from utils.base.errors import UserError
from utils.base.files import digest
from utils.data.protocols import make_split


@pytest.fixture
def model(tmp_path):
    """A record of a training on 20 clips: class A with groups 1 to 5, class B with groups 1 to 5, two clips each."""
    paths = np.array([f"{name}/v_{name}_g{g:02}_c{c:02}.avi" for name in "AB" for g in range(1, 6) for c in (1, 2)])
    np.save(tmp_path / "video_file_paths.npy", paths)
    rows = {"train": [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15], "validation": [6, 7, 16, 17], "test": [8, 9, 18, 19]}
    record = {
        "arguments": {"data": str(tmp_path / "frames.npy"), "paths": None},
        "arrays": {"paths": digest("\n".join(paths).encode())},
        "split": {"rows": rows},
    }
    (tmp_path / "old.json").write_text(json.dumps(record))
    return tmp_path / "old.keras"


def split(paths, model):
    names = sorted({path[0] for path in paths})
    labels = np.array([names.index(path[0]) for path in paths])
    found = make_split(labels, np.array(paths), class_names=tuple(names), protocol=f"like:{model}")
    return {paths[row]: name for name in ("train", "validation", "test") for row in getattr(found, name)}


def test_old_clips_keep_their_sets_and_new_clips_of_a_group_follow_it(model):
    """A clip of a tested person would be trained on."""
    old = np.load(model.with_name("video_file_paths.npy")).tolist()
    new = ["A/v_A_g05_c03.avi", "A/v_A_g01_c03.avi", "B/v_B_g04_c09.avi"]
    more = [f"C/v_C_g{g:02}_c{c:02}.avi" for g in range(1, 6) for c in (1, 2)]
    sets = split(old + new + more, model)
    rows = json.loads(model.with_suffix(".json").read_text())["split"]["rows"]
    assert {old[row]: name for name in rows for row in rows[name]} == {path: sets[path] for path in old}
    assert [sets[path] for path in new] == ["test", "train", "validation"]
    assert {sets[path] for path in more} == {"train", "validation", "test"}
    groups = {name: {path.rpartition("_c")[0] for path in more if sets[path] == name} for name in set(sets.values())}
    assert sum(map(len, groups.values())) == 5  # whole groups


def test_moved_or_changed_paths_are_an_error(model):
    """Rows of other clips would be taken for those of the record."""
    old = np.load(model.with_name("video_file_paths.npy")).tolist()
    np.save(model.with_name("video_file_paths.npy"), np.array(old[::-1]))
    with pytest.raises(UserError, match=r"was trained on clips whose paths must still be in .*video_file_paths\.npy"):
        split(old, model)


def test_a_model_of_other_clips_is_an_error(model):
    """The split would be a new one under the name of the old one."""
    with pytest.raises(UserError, match=r"must know clips of --paths, but knows none; the first is X/v_X_g01_c01\.avi"):
        split([f"{name}/v_{name}_g{g:02}_c01.avi" for name in "XY" for g in range(1, 6)], model)
