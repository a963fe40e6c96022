"""If a split leaks or is not reproducible, every result of the project is wrong."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.base.errors import UserError
from utils.base.options import PROTOCOLS
from utils.data.groups import read_groups
from utils.data.protocols import RANDOM_WARNING, make_split, parse_protocol
from utils.data.stratify import group_folds

SETS = ("train", "validation", "test")
quick = settings(max_examples=60, deadline=None, derandomize=True)


def arrays_of(paths):
    """Labels, paths and class names as stage 1 writes them."""
    paths = np.array(sorted(paths))
    class_names, labels = np.unique([path.partition("/")[0] for path in paths.tolist()], return_inverse=True)
    return labels, paths, tuple(class_names.tolist())


def split_of(paths, protocol="auto", **arguments):
    labels, paths, class_names = arrays_of(paths)
    return make_split(labels, paths, class_names=class_names, protocol=protocol, **arguments)


def clips_of(folder):
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*.avi")]


@st.composite
def ucf_names(draw):
    """Classes with separate groups of very unequal sizes."""
    names = []
    for action in range(draw(st.integers(1, 4))):
        numbers = draw(st.lists(st.integers(1, 25), min_size=3, max_size=7, unique=True))
        for number in numbers:
            clips = draw(st.sampled_from([1, 2, 4, 30]))
            names += [f"c{action}/v_c{action}_g{number:02d}_c{clip:02d}.avi" for clip in range(clips)]
    # as many groups as clips would not count as groups
    return [*names, names[0].replace("_c00", "_c99")]


@st.composite
def shared_names(draw):
    """People who act in several classes, at least three people per class and possibly only three in total."""
    people = draw(st.integers(3, 9))
    names = []
    for action in range(draw(st.integers(1, 7))):
        for person in draw(st.lists(st.integers(1, people), min_size=3, max_size=people, unique=True)):
            clips = draw(st.sampled_from([1, 2, 9]))
            names += [f"c{action}/person{person:02d}_c{action}_d{clip}.avi" for clip in range(clips)]
    return [*names, names[0].replace("_d0", "_d99")]


def check_sets(split, clip_count):
    rows = [getattr(split, name) for name in SETS]
    assert all(part.dtype == np.int64 and len(part) and np.all(np.diff(part) > 0) for part in rows)
    assert sorted(np.concatenate(rows).tolist()) == list(range(clip_count))


@quick
@given(counts=st.lists(st.integers(3, 40), min_size=1, max_size=5), seed=st.integers(0, 2**32 - 1))
def test_random_sets(counts, seed):
    """Otherwise a rare class could be missing from a set, or a clip could be in two sets."""
    labels = np.repeat(np.arange(len(counts)), counts)
    split = make_split(labels, None, class_names=tuple("abcde"), protocol="random", split_seed=seed)
    check_sets(split, len(labels))
    for label, count in enumerate(counts):
        test = max(1, round(0.2 * count))
        validation = max(1, round(0.2 * (count - test)))
        sizes = [np.count_nonzero(labels[getattr(split, name)] == label) for name in SETS]
        assert sizes == [count - test - validation, validation, test]


@quick
@given(
    names=st.one_of(ucf_names(), shared_names()), seed=st.integers(0, 5), protocol=st.sampled_from(["auto", "group"])
)
def test_group_sets(names, seed, protocol):
    """Otherwise a group could be in two sets, or a class could be tested that was never trained."""
    labels, paths, class_names = arrays_of(names)
    split = make_split(labels, paths, class_names=class_names, protocol=protocol, split_seed=seed)
    assert split.protocol == "group"
    check_sets(split, len(names))
    keys = read_groups(paths).keys
    sets_of_group = {(key, name) for name in SETS for key in keys[getattr(split, name)].tolist()}
    assert len(sets_of_group) == len(set(keys.tolist()))
    assert set(labels[split.train].tolist()) == set(labels.tolist())


@quick
@given(names=ucf_names(), seed=st.integers(0, 3))
def test_each_class_is_in_each_set_if_groups_belong_to_one_class(names, seed):
    """Otherwise the accuracy of a class would stay unknown although it has enough groups."""
    labels, paths, class_names = arrays_of(names)
    split = make_split(labels, paths, class_names=class_names, split_seed=seed)
    for name in SETS:
        assert set(labels[getattr(split, name)].tolist()) == set(labels.tolist())


@quick
@given(names=st.one_of(ucf_names(), shared_names()), data=st.data())
def test_left_out_group(names, data):
    """Otherwise clips of the left-out group would be trained on, or other clips would be tested."""
    labels, paths, class_names = arrays_of(names)
    groups = read_groups(paths)
    number = data.draw(st.sampled_from(sorted(set(groups.numbers.tolist()))))
    split = make_split(labels, paths, class_names=class_names, protocol=f"logo:{number}")
    check_sets(split, len(names))
    assert split.protocol == f"logo:{number}"
    assert split.test.tolist() == np.flatnonzero(groups.numbers == number).tolist()
    assert not set(groups.keys[split.train].tolist()) & set(groups.keys[split.validation].tolist())
    assert set(labels[split.train].tolist()) == set(labels.tolist())
    without = [class_names[label] for label in np.setdiff1d(labels, labels[split.test])]
    noted = [note for note in split.notes if note.startswith("Classes without test clips: ")]
    assert noted == ([f"Classes without test clips: {', '.join(without)}."] if without else [])


def test_groups_of_the_fano_plane():
    """Otherwise a class could stay untrained if no choice of groups puts every class into every set."""
    lines = [(1, 2, 3), (1, 4, 5), (1, 6, 7), (2, 4, 6), (2, 5, 7), (3, 4, 7), (3, 5, 6)]
    names = [f"c{c}/person{p}_c{c}_d{d}.avi" for c, people in enumerate(lines) for p in people for d in (1, 2)]
    for seed in range(10):
        split = split_of(names, split_seed=seed)
        check_sets(split, len(names))
        assert set(arrays_of(names)[0][split.train].tolist()) == set(range(7))


def test_shares_are_near_a_fifth_if_groups_allow_it():
    """Otherwise a very small or very large test set would pass for an 80/20 split."""
    names = [
        f"c{c}/v_c{c}_g{g:02d}_c{k:02d}.avi" for c in range(6) for g in range(1, 26) for k in range(3 + (g * c) % 4)
    ]
    split = split_of(names)
    labels, _, _ = arrays_of(names)
    assert len(split.test) / len(names) == pytest.approx(0.2, abs=0.01)
    assert len(split.validation) / (len(split.validation) + len(split.train)) == pytest.approx(0.2, abs=0.01)
    shares = np.bincount(labels[split.test]) / np.bincount(labels)
    assert shares == pytest.approx(np.full(6, 0.2), abs=0.05)
    assert f"{len(names)} clips: train {len(split.train)} (" in split.notes[-1]


def test_seeds_give_other_sets():
    """Otherwise --split_seed would have no effect."""
    names = [f"c{c}/v_c{c}_g{g:02d}_c{k:02d}.avi" for c in range(3) for g in range(1, 9) for k in range(4)]
    for protocol in ("random", "group"):
        assert len({tuple(split_of(names, protocol, split_seed=seed).test.tolist()) for seed in range(8)}) > 4


PRINT_SETS = """
import hashlib, numpy as np
from utils.data.protocols import make_split
names = [f"c{c}/person{p:02d}_c{c}_d{d}.avi" for c in range(5) for p in range(1 + c, 12) for d in range(1 + p % 3)]
labels = np.array([int(name[1]) for name in names])
digest = hashlib.sha256()
for protocol in ("random", "group", "logo:7", "fold:2/3"):
    split = make_split(labels, np.array(names), class_names=tuple("abcde"), protocol=protocol, split_seed=3)
    for rows in (split.train, split.validation, split.test):
        digest.update(rows.tobytes())
print(digest.hexdigest())
"""


def test_equal_sets_in_every_process(capsys):
    """Otherwise a student would be tested on clips that its teacher was trained on in an earlier process."""
    exec(PRINT_SETS, {})  # in this process, then in one with another hash seed
    here = capsys.readouterr().out
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", PRINT_SETS]
    there = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=True, timeout=120)
    assert here == there.stdout
    assert len(here.strip()) == hashlib.sha256().digest_size * 2


def test_random_split_warns_of_shared_sources():
    """Otherwise 71 % on known source videos would be read as 71 % on new ones."""
    names = [f"c{c}/v_c{c}_g{g:02d}_c{k:02d}.avi" for c in range(2) for g in range(1, 5) for k in range(5)]
    notes = split_of(names, "random").notes
    assert notes[0] == RANDOM_WARNING
    assert any("8 of 8 test clips share a group with training or validation clips" in note for note in notes)
    assert RANDOM_WARNING not in split_of(names).notes
    assert "No test clip shares a group with a training or validation clip." in split_of(names).notes


def test_auto_without_groups_is_random_and_says_why():
    """Otherwise a user would take a random split for a split by groups."""
    names = [f"{action}/{number}.avi" for action in ("run", "walk") for number in range(10)]
    split = split_of(names)
    assert split.protocol == "random"
    assert split.notes[0] == RANDOM_WARNING
    assert "no known pattern matches" in split.notes[1]
    labels, _, class_names = arrays_of(names)
    unknown = make_split(labels, None, class_names=class_names)
    assert unknown.protocol == "random"
    assert unknown.test.tolist() == split.test.tolist()
    assert "(--paths)" in unknown.notes[1]


def test_group_pattern_makes_subjects_global():
    """Otherwise a subject of the synthetic videos would be in the training and the test set."""
    names = [f"c{c}/v_c{c}_g{g:02d}_c01.avi" for c in range(4) for g in range(1, 11)]
    split = split_of(names, group_pattern=r"_g(\d+)_")
    _, paths, _ = arrays_of(names)
    subjects = {name: {path[-9:-8] for path in paths[getattr(split, name)].tolist()} for name in SETS}
    assert len(split.test) == 8
    assert not subjects["test"] & (subjects["train"] | subjects["validation"])


UCF = [
    f"{a}/v_{a}_g{g:02d}_c{k:02d}.avi"
    for a, count in (("run", 5), ("walk", 2))
    for g in range(1, count + 1)
    for k in (1, 2)
]


@pytest.mark.parametrize(
    ("names", "arguments", "message"),
    [
        (UCF[:2], {"protocol": "random"}, "needs at least 3 clips in each class, but class run has 2"),
        (UCF, {}, "needs at least 3 groups in each class, but class walk has 2; --split random splits"),
        (UCF, {"protocol": "logo:1"}, "must leave at least 2 groups of each class for training and validation"),
        (UCF, {"protocol": "logo:9"}, "must be one of the groups 1 to 5 (UCF v_<class>_gNN_cNN), got 9"),
        (["run/a.avi"] * 3, {"protocol": "group"}, "--split group needs groups, but the names in --paths define"),
        (UCF, {"protocol": "fold:1/99"}, "needs at least 99 groups, but the names define"),
        (UCF, {"protocol": "fold:4/3"}, "must have N of at least 2 and K from 1 to N, got fold:4/3"),
        (UCF, {"protocol": "fold:1/1"}, "must have N of at least 2 and K from 1 to N, got fold:1/1"),
        (UCF, {"protocol": "folds"}, f"must be {PROTOCOLS}, got folds"),
        (UCF, {"protocol": "official:1"}, "--split_dir DIR go together, got --split official:1 and no --split_dir"),
        (UCF, {"split_dir": "lists"}, "--split_dir DIR go together, got --split auto and --split_dir lists"),
        (UCF, {"group_pattern": "_g(0[12])_"}, "--group_pattern must match every path"),
    ],
)  # fmt: skip
def test_errors(names, arguments, message):
    """Otherwise a data set that is too small for the protocol would cause an empty set or a traceback."""
    with pytest.raises(UserError) as error:
        split_of(names, **arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "arguments", [{"protocol": "group"}, {"protocol": "logo:1"}, {"protocol": "fold:1/3"}, {"group_pattern": "x"}]
)
def test_names_are_needed(arguments):
    """Otherwise a group split without clip names would silently become another split."""
    with pytest.raises(UserError, match=r"needs the clip names in --paths, which is not given"):
        make_split(np.zeros(9, int), None, class_names=("run",), **arguments)


@pytest.mark.parametrize(
    ("labels", "paths", "message"),
    [
        ([0, 0, 2], None, "labels must be 0 to 1 for 2 classes, got 0 to 2"),
        ([0.0, 1.0], None, "labels must be integers (N,), got float64 (2,)"),
        ([0, 1, 1], ["a/a.avi"], "--paths must hold 3 strings, one per clip, got <U7 (1,)"),
    ],
)
def test_arrays_must_fit(labels, paths, message):
    """Otherwise the paths of another data set would determine the test clips of this one."""
    with pytest.raises(UserError) as error:
        make_split(np.array(labels), paths and np.array(paths), class_names=("run", "walk"))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("fold:01/3", ("fold", "1/3")),
        ("auto", ("auto", "")), ("random", ("random", "")), ("group", ("group", "")), ("logo:03", ("logo", "3")),
        ("official:2", ("official", "2")), ("list:my/a:b.csv", ("list", "my/a:b.csv")),
    ],
)  # fmt: skip
def test_parsed_protocols(text, parsed):
    """Otherwise the protocol in a record could not be compared with the command line."""
    assert parse_protocol(text) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Group",
        "logo",
        "logo:",
        "logo:x",
        "logo:-1",
        "logo:²",
        "official:1.5",
        "list:",
        "group:3",
        "fold:1",
        "fold:x/3",
    ],
)
def test_invalid_protocols(text):
    """Otherwise a typing error would select a protocol."""
    with pytest.raises(UserError, match=r"^--split must be auto, "):
        parse_protocol(text)


def test_groups_are_the_default_on_public_data_sets(shared_data):
    """Otherwise training and test sets would share sources by default."""
    split = split_of(clips_of(shared_data / "ucf11"))
    assert split.protocol == "group"
    assert split.notes[0] == "Found 45 groups in 274 clip names (pattern: UCF11 v_<class>_NN_NN)."
    check_sets(split, 274)
    left_out = split_of(clips_of(shared_data / "ucf11"), "logo:5")
    assert "Classes without test clips: basketball." in left_out.notes
    weizmann = split_of(clips_of(shared_data / "weizmann"), "logo:6")
    assert any("Test groups: number 6, lena." in note for note in weizmann.notes)
    assert [len(getattr(weizmann, name)) for name in SETS] == [60, 20, 10]


@pytest.mark.parametrize("people", [9, 10])
def test_folds_test_each_clip_once_and_keep_people_apart(people):
    """Otherwise the mean over folds would not be the accuracy on new people."""
    names = [f"c{c}/person{p:02d}_c{c}_d{d}.avi" for c in range(4) for p in range(people) for d in range(2)]
    splits = [split_of(names, f"fold:{number}/3", split_seed=5) for number in (1, 2, 3)]
    assert np.array_equal(np.sort(np.concatenate([split.test for split in splits])), np.arange(len(names)))
    keys = read_groups(arrays_of(names)[1]).keys
    for split in splits:
        assert len(split.test) in range(4 * 2 * 3, 4 * 2 * 4 + 1)  # 3 or 4 people
        assert not set(keys[split.test]) & set(keys[np.concatenate([split.train, split.validation])])
    labels = np.unique([name.partition("/")[0] for name in names], return_inverse=True)[1]
    folds = group_folds(labels, keys, count=3, seed=5)
    for number, split in enumerate(splits):
        np.testing.assert_array_equal(split.test, np.flatnonzero(folds == number))
    other = split_of(names, "fold:1/3", split_seed=6)
    assert not np.array_equal(other.test, splits[0].test)
