"""The leak report: shared clips, groups and films, and the exit code of --fail_on_leak."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.planted_clips import clip_of, copied, video, write_arrays
from utils.base.errors import UserError
from utils.data import leak_finder as leaks
from utils.data.clips import open_clips, with_unlabelled
from utils.data.leak_finder import LeakFinder, pairs_with_equal_keys
from utils.data.leak_report import FILM, FILM_ELSEWHERE, GROUP, NEAR, SAME, short_form
from utils.data.protocols import make_split

PROJECT = Path(__file__).parents[3]


def find(tmp_path, paths, sets, *, planted=None, group_pattern=None, with_paths=True):
    """Return the report on synthetic clips with sorted `paths`; sets: "train", "validation", "test" or "" for each."""
    clips = [clip_of(video(seed)) for seed in range(len(paths))]
    for row, clip in (planted or {}).items():
        clips[row] = clip
    folder = write_arrays(tmp_path / "arrays", clips, paths)
    if not with_paths:
        (folder / "video_file_paths.npy").unlink()
    dataset = open_clips(folder / "frames.npy", folder / "labels.npy")
    test, train, validation = (np.flatnonzero(np.array(sets) == name) for name in ("test", "train", "validation"))
    return LeakFinder(dataset).find(test, train, validation, group_pattern=group_pattern)


UCF = [
    f"{action}/v_{action}_g{group:02}_c{clip:02}.avi" for action in "AB" for group in (1, 2, 3) for clip in (1, 2, 3)
]
SETS = ["test", "train", "validation", *["test"] * 3, *["train"] * 3, *["train"] * 9]


def test_groups_on_both_sides(tmp_path):
    """Group 1 of class A is in all three sets; group 1 of class B is another video."""
    report = find(tmp_path, UCF, SETS)
    assert report.pairs[GROUP].tolist() == [[0, 1], [0, 2]]
    assert [(row["test"], row["seen"], row["set"]) for row in report.rows(GROUP)] == [
        (UCF[0], UCF[1], "train"),
        (UCF[0], UCF[2], "validation"),
    ]
    found = report.as_dict()["kinds"][GROUP]
    assert (found["test_clips"], found["pairs"]) == (1, 2)
    assert (found["with_training_clips"], found["with_validation_clips"]) == (1, 1)
    assert FILM not in report.pairs


def test_pairs_of_equal_keys_equal_a_brute_force_search():
    """All counts of groups depend on these pairs."""
    rng = np.random.default_rng(0)
    keys = rng.choice(list("abcdefg"), 60)
    test, seen = np.sort(rng.permutation(60)[:25]), np.sort(rng.permutation(60)[:40])
    expected = [[one, other] for one in test for other in seen if keys[one] == keys[other] and one != other]
    assert pairs_with_equal_keys(keys, test, seen).tolist() == expected


def film(name, action, number):
    return f"{action}/{name}_{action}_f_cm_np1_fr_bad_{number}.avi"


def test_hmdb51_films_in_the_same_and_in_other_classes(tmp_path):
    """A network can learn the appearance of a film from any class; the official lists split films."""
    paths = [
        film("Goal_Part_2", "kick", 1),
        film("matrix", "kick", 2),
        film("Solaris", "kick", 3),
        film("Alone", "run", 4),
        film("goal_part_1", "run", 5),
        film("Matrix_1", "run", 6),
        film("Solaris", "run", 7),
    ]
    report = find(tmp_path, paths, ["train", "train", "train", "test", "test", "test", "train"])
    assert report.pairs[FILM].tolist() == []
    assert report.pairs[FILM_ELSEWHERE].tolist() == [[4, 0], [5, 1]]
    assert GROUP not in report.pairs
    again = find(tmp_path, paths, ["", "", "train", "", "", "test", "test"], group_pattern=r"_(\d)\.avi")
    assert again.pairs[FILM_ELSEWHERE].tolist() == [[6, 2]]
    assert again.pairs[GROUP].tolist() == []
    paths = [film("Up", "kick", 1), film("up", "kick", 2), film("Alone", "run", 3), film("Up", "run", 4)]
    same = find(tmp_path, paths, ["test", "train", "train", "validation"])
    assert (same.pairs[FILM].tolist(), same.pairs[FILM_ELSEWHERE].tolist()) == ([[0, 1]], [[0, 3]])


def test_near_duplicates_show_whether_they_are_of_the_same_group(tmp_path):
    """A split by groups cannot prevent copies with the name of another group."""
    copy = clip_of(copied(video(3), "flipped"))
    report = find(tmp_path, UCF, SETS, planted={10: copy, 1: clip_of(copied(video(0), "encoded"))})
    assert sorted(report.pairs[NEAR].tolist()) == [[0, 1], [3, 10]]
    rows = {row["seen"]: row["same_group"] for row in report.rows(NEAR)}
    assert rows == {UCF[1]: True, UCF[10]: False}
    found = report.as_dict()["kinds"][NEAR]
    assert (found["test_clips"], found["test_clips_of_another_group"]) == (2, 1)
    assert report.leaking.tolist() == [0, 3]


def add_unlabelled(dataset, folder, clips, paths=None):
    """Return the dataset with the unlabelled `clips`."""
    write_arrays(folder, clips, paths or [f"any/{row}" for row in range(len(clips))])
    if paths is None:
        (folder / "video_file_paths.npy").unlink()
    return with_unlabelled(dataset, [folder / "frames.npy"])


NONE = np.zeros(0, np.int64)


@pytest.mark.parametrize("kind", ["equal", "encoded", "brightened", "flipped"])
def test_copies_of_test_clips_among_unlabelled_clips(tmp_path, kind):
    """A student that has seen test clips would be reported with too high an accuracy."""
    dataset = find(tmp_path, UCF, SETS).dataset
    clips = [clip_of(video(seed)) for seed in range(50, 58)]
    clips[6] = clip_of(copied(video(4), kind))
    more = tmp_path / "more"
    report = LeakFinder(add_unlabelled(dataset, more, clips)).find(np.arange(3, 6), np.arange(6, 18), NONE)
    assert report.pairs[NEAR].tolist() == [[4, 24]]
    (row,) = report.rows(NEAR)
    assert (row["seen"], row["set"]) == (f"{more}/frames.npy: row 6", "unlabelled")
    found = report.as_dict()
    assert found["unlabelled_clips"] == 8
    counts = [found["kinds"][NEAR][f"with_{name}_clips"] for name in ("training", "validation", "unlabelled")]
    assert counts == [0, 0, 1]
    lines = short_form(found).splitlines()
    assert lines[0] == "leaks: 1 of 3 test clips share something with 12 training and 8 unlabelled clips"
    assert "near-duplicate: 1 (0 with training, 1 with unlabelled; 1 with clips of another group)" in lines[1]
    with pytest.raises(UserError, match=rf"^--fail_on_leak: 1 of 3 .* {UCF[4]} and .*more/frames.npy: row 6 \(near"):
        report.refuse()
    assert report.pairs[GROUP].tolist() == []
    alone = LeakFinder(report.dataset).find(np.arange(3, 6), np.arange(2, 18), NONE).of_unlabelled()
    assert (alone.pairs[NEAR].tolist(), alone.pairs[SAME].tolist()) == ([[4, 24]], [])
    assert alone.distances.tolist() == report.distances.tolist()
    assert short_form(alone.as_dict()).startswith("leaks: 1 of 3 test clips share something with 8 unlabelled clips\n")


@pytest.mark.parametrize(
    ("paths", "group_pattern", "pairs"),
    [
        (["A/v_A_g02_c09.avi", "C/v_C_g02_c01.avi"], None, [[3, 18], [4, 18], [5, 18]]),
        (["clip.avi", "A/clip.avi"], None, []),
        (["x_g02_c.avi", "nothing"], r"_(g\d+)_", [[3, 18], [4, 18], [5, 18]]),
        (None, r"([1-3])", []),  # no name, so no group, whatever the pattern
    ],
)
def test_groups_of_unlabelled_clips(tmp_path, paths, group_pattern, pairs):
    """Clips cut from the video of a test clip would pass as unrelated."""
    dataset = find(tmp_path, UCF, SETS).dataset
    dataset = add_unlabelled(dataset, tmp_path / "more", [clip_of(video(seed)) for seed in (50, 51)], paths)
    report = LeakFinder(dataset).find(np.arange(6), NONE, NONE, group_pattern=group_pattern)
    assert report.pairs[GROUP].tolist() == pairs


def test_films_of_unlabelled_clips(tmp_path):
    paths = [film("Up", "kick", 1), film("Jaws", "kick", 2), film("Alone", "run", 3), film("alone", "run", 4)]
    dataset = find(tmp_path, paths, ["test", "train", "train", "train"]).dataset
    more = add_unlabelled(dataset, tmp_path / "more", [clip_of(video(50))], [film("up", "hop", 9)])
    report = LeakFinder(more).find(np.array([0]), np.arange(1, 4), NONE)
    assert (report.pairs[FILM].tolist(), report.pairs[FILM_ELSEWHERE].tolist()) == ([], [[0, 4]])


def test_a_clip_on_both_sides(tmp_path):
    """As allowed by --force."""
    dataset = find(tmp_path, UCF, SETS).dataset
    rows = np.arange(4)
    report = LeakFinder(dataset).find(rows, np.array([2, 9]), np.array([3]))
    assert report.pairs[SAME].tolist() == [[2, 2], [3, 3]]
    with pytest.raises(UserError, match=r"--fail_on_leak: 4 of 4 test clips must share nothing .*\(same clip\)"):
        report.refuse()


def test_unknown_groups_are_reported_and_clips_are_named_by_row(tmp_path):
    """Without paths, groups are unknown, which must not be reported as no shared groups."""
    report = find(tmp_path, UCF, SETS, with_paths=False, planted={9: clip_of(video(0))})
    assert set(report.pairs) == {SAME, NEAR}
    assert [(row["test"], row["seen"], row["same_group"]) for row in report.rows(NEAR)] == [("row 0", "row 9", None)]
    assert "No groups are known: the paths of the clips are not given" in short_form(report.as_dict())


def test_the_short_form_and_json(tmp_path):
    """eval.py prints the short form and writes the JSON to results.json."""
    report = find(tmp_path, UCF, SETS)
    lines = short_form(report.as_dict()).splitlines()
    assert lines[0] == "leaks: 1 of 4 test clips share something with 13 training and 1 validation clips"
    assert lines[1] == f"  group: 1 (1 with training, 1 with validation), for example {UCF[0]} and {UCF[1]}"
    assert lines[2] == "  no leaks by: same clip, near-duplicate"
    assert json.loads(json.dumps(report.as_dict())) == report.as_dict()


def test_equal_reports_are_computed_once(tmp_path, monkeypatch):
    """Comparing several recognisers on one split must not repeat the search."""
    dataset = find(tmp_path, UCF, SETS).dataset
    finder = LeakFinder(dataset)
    split = make_split(dataset.labels, dataset.paths, class_names=dataset.class_names, protocol="random")
    first = finder.find(split.test, split.train, split.validation)
    monkeypatch.setattr(leaks, "find_leaks", None)
    assert finder.find(split.test.copy(), split.train, split.validation) is first


def run(folder, *arguments):
    arrays = ["--data", str(folder / "frames.npy"), "--annotations", str(folder / "labels.npy")]
    command = [sys.executable, "-m", "utils.leaks", *arrays, *map(str, arguments)]
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, env=environment, timeout=120)


def test_the_command(tmp_path):
    """In a shell script, --fail_on_leak stops the following commands; a clean split must pass."""
    folder = find(tmp_path, UCF, SETS).dataset.frames.path.parent
    clean = run(folder, "--fail_on_leak", "--output_path", tmp_path / "report")
    assert clean.returncode == 0, clean.stderr
    assert "split group, seed 0" in clean.stdout
    assert json.loads((tmp_path / "report/leaks.json").read_text())["leaking_test_clips"] == 0
    clips = [clip_of(video(seed)) for seed in (*range(50, 55), *range(18))]
    add_unlabelled(open_clips(folder / "frames.npy", folder / "labels.npy"), tmp_path / "more", clips)
    with_copies = run(folder, "--fail_on_leak", "--unlabelled", tmp_path / "more/frames.npy")
    assert (with_copies.returncode, with_copies.stderr.count("\n")) == (2, 1)
    assert "more/frames.npy: row " in with_copies.stderr
    leaky = run(folder, "--split", "random", "--fail_on_leak", "--output_path", tmp_path / "all.csv")
    assert leaky.returncode == 2
    assert leaky.stderr.startswith("error: --fail_on_leak: ")
    assert leaky.stderr.count("\n") == 1
    with open(tmp_path / "all.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["kind"] for row in rows} == {"group"}
    assert all(row["test"].split("_c")[0] == row["seen"].split("_c")[0] for row in rows)


def test_weizmann_has_no_false_alarms(shared_data, tmp_path):
    """All clips show the same wall; after false alarms, users would ignore the report."""
    from utils.video.extract import extract

    size = {"sequence_length": 16, "frame_height": 112, "frame_width": 112}
    extract(shared_data / "weizmann", tmp_path, **size, workers=1)
    dataset = open_clips(tmp_path / "frames.npy", tmp_path / "labels.npy")
    flagged = tested = 0
    finder = LeakFinder(dataset)
    for split_seed in (0, 1, 2):
        split = make_split(
            dataset.labels, dataset.paths, class_names=dataset.class_names, protocol="group", split_seed=split_seed
        )
        report = finder.find(split.test, split.train, split.validation)
        assert report.pairs[GROUP].tolist() == []
        flagged += len(report.leaking)
        tested += len(split.test)
    assert tested >= 50
    assert flagged / tested <= 0.02
