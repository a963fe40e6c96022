"""What the teachers of an experiment have seen, by the files next to them."""

import pytest

from tests.fake_recognizer import record_of
from utils.base.errors import UserError
from utils.base.files import file_fingerprint, write_json
from utils.base.options import ViewOptions
from utils.data.protocols import make_split
from utils.experiments.cells import Cell, Row
from utils.experiments.provenance import check_given_teachers, record_of_source, seen_by
from utils.runs.clips import RecordedSplit
from utils.runs.loading import SplitDataset
from utils.training.question import Question


@pytest.fixture
def make_files(arrays, tmp_path):
    """Write a network and scores whose teachers were trained with the split `trained`; return both paths."""
    dataset, _ = arrays

    def make(name, trained):
        model, scores = tmp_path / f"{name}_net.keras", tmp_path / f"{name}.npy"
        for path in (model, scores):
            path.write_bytes(name.encode())
        record_of(dataset, trained, fingerprint=file_fingerprint(model)).save(model)
        key = Question(SplitDataset(dataset, trained), ViewOptions()).key()
        write_json(scores.with_suffix(".json"), {"key": key, "split": RecordedSplit.of(trained).model_dump()})
        return model, scores

    return make


@pytest.fixture
def make_cell(tmp_path):
    return lambda *parts, fold="group": Cell(Row("teacher", "x"), fold, 0, {}, tmp_path / "cells", {}, parts=parts)


def other_split(dataset):
    return make_split(dataset.labels, dataset.paths, class_names=dataset.class_names, split_seed=1)


@pytest.mark.parametrize("number", [0, 1], ids=["network", "scores"])
def test_networks_and_scores_follow_one_rule(arrays, make_files, make_cell, number):
    """Scores would look clean where the network that computed them is marked."""
    dataset, split = arrays
    same, other = make_files("same", split)[number], make_files("other", other_split(dataset))[number]
    found = seen_by(make_cell(same), dataset, split)
    assert (len(found.test.seen), len(found.validation.seen), found.test.unknown) == (0, 0, ())
    trained = other_split(dataset)
    found = seen_by(make_cell(other), dataset, split)
    expected = set(split.test) & {*trained.train, *trained.validation}
    assert set(found.test.seen) == expected != set()
    assert set(found.validation.seen) == set(split.validation) & set(trained.train)
    other.with_suffix(".json").unlink()
    found = seen_by(make_cell(same, other), dataset, split)
    assert found.test.unknown == (f"{other.name} has no record ({other.stem}.json)",)


def test_a_cell_that_is_not_trained_yet_will_have_seen_no_test_clip(arrays, make_cell, make_files):
    """An average with a teacher of the experiment would be refused before that teacher is trained."""
    dataset, split = arrays
    scratch = Cell(Row("teacher", "scratch"), "group", 0, {}, make_cell().root, {})
    _, scores = make_files("same", split)
    assert seen_by(make_cell(scratch, scores), dataset, split).test.unknown == ()


def test_only_a_copy_of_views_json_describes_scores(make_files, arrays):
    """A damaged description would be read as that of a teacher that has seen nothing."""
    _, scores = make_files("same", arrays[1])
    for content in ("[1]", '{"key": 3}'):
        scores.with_suffix(".json").write_text(content)
        with pytest.raises(UserError, match=r"--sources: .*same\.json: (key )?must be a JSON object"):
            record_of_source(scores)


def test_teachers_are_checked_in_each_fold(arrays, make_files, make_cell, capsys):
    """A teacher that is new to the test clips of one fold would pass for new to all of them."""
    dataset, split = arrays
    splits = {"one": split, "two": other_split(dataset)}
    model, scores = make_files("same", split)
    cells = tuple(make_cell(model, fold=fold) for fold in splits)
    seen = len(set(splits["two"].test) & {*split.train, *split.validation})
    check_given_teachers(cells, dataset, splits, fail_on_leak=False)
    printed = capsys.readouterr().out.splitlines()
    assert [line.partition(" in ")[0] for line in printed] == [
        f"two: warning: teacher: x has seen {seen} of its 6 test clips"
    ]
    check_given_teachers(cells[:1], dataset, splits, fail_on_leak=True)
    with pytest.raises(UserError, match=r"--fail_on_leak: --sources x=.*same_net\.keras must be new to .* of two, but"):
        check_given_teachers(cells, dataset, splits, fail_on_leak=True)
    scores.with_suffix(".json").unlink()
    with pytest.raises(UserError, match=r"same\.npy must be new to .* of one, but it is unknown which"):
        check_given_teachers((make_cell(scores, fold="one"),), dataset, splits, fail_on_leak=True)


def test_students_of_a_teacher_that_has_seen_test_clips_are_left_out(arrays, make_files, make_cell, capsys):
    """The grid would end with an error at its first distilled student, after all trainings before it."""
    dataset, split = arrays
    splits = {"one": split, "two": other_split(dataset)}
    model, _ = make_files("same", split)

    def student(teacher, fold, alpha):
        row = Row("distilled", teacher, 4.0, alpha)
        return Cell(row, fold, 0, {}, make_cell().root, {})

    given = [make_cell(model, fold=fold) for fold in splits]
    labels_only = [student("x", fold, 1.0) for fold in splits]
    others = [student("scratch", fold, 0.1) for fold in splits]
    misled = [student("x", fold, alpha) for fold in splits for alpha in (0.1, 0.5)]
    cells = (*given, *misled, *labels_only, *others)
    assert check_given_teachers(cells, dataset, splits, fail_on_leak=False) == (*given, *labels_only, *others)
    note = "note: 4 students of x are left out, because it has seen their test clips"
    assert capsys.readouterr().out.splitlines()[-1] == note
    one_fold = tuple(cell for cell in cells if cell.fold == "one")
    assert check_given_teachers(one_fold, dataset, splits, fail_on_leak=False) == one_fold
