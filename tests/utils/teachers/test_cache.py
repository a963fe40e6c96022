"""A teacher's stored answers: computed once, continued after a kill, and never used for anything else."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from tests.fake_recognizer import FakeModel, FakeRecognizer
from utils.data.clips import open_clips
from utils.data.loading import SplitDataset
from utils.runtime.errors import UserError
from utils.runtime.files import file_fingerprint
from utils.runtime.interruption import Interrupted
from utils.settings.options import ViewOptions
from utils.splits.protocols import make_split
from utils.teachers import cache as teacher_cache
from utils.teachers import question as answer_key
from utils.teachers.cache import cached_logits
from utils.teachers.question import Question
from utils.teachers.teacher import Teacher


class Killed(BaseException):
    """Stands for a kill: nothing in the code under test may catch it."""


@dataclass(frozen=True)
class Mortal(FakeRecognizer):
    """Answers as often as `left` is long, then is killed, or ends as `stop` says."""

    left: list = field(default_factory=list)
    stop: type[BaseException] = Killed

    def logits(self, *arguments, **settings):
        if not self.left:
            raise self.stop
        self.left.pop()
        return super().logits(*arguments, **settings)


@dataclass(frozen=True)
class WorldTeacher(Teacher):
    """A teacher whose network is that of a World."""

    world: "World | None" = None

    def load(self, dataset):
        return self.world.load(dataset)


class World:
    """Arrays, a teacher's file, what is asked, and a fake network whose scores are known."""

    def __init__(self, arrays, folder, views=2):
        self.arrays, self.source = arrays, folder / "teacher.h5"
        self.source.write_bytes(b"a teacher")
        self.views = ViewOptions(views=views)
        self.scores = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
        self.loads, self.split_seed, self.stop_after, self.stop = [], 0, None, Killed

    @property
    def question(self):
        dataset = open_clips(self.arrays / "frames.npy", self.arrays / "labels.npy")
        names = {"class_names": dataset.class_names, "split_seed": self.split_seed}
        split = make_split(dataset.labels, dataset.paths, **names)
        return Question(SplitDataset(dataset, split), self.views)

    def load(self, dataset):
        left = [None] * (1000 if self.stop_after is None else self.stop_after)
        teacher = Mortal(self.source, FakeModel(3), None, self.scores, left=left, stop=self.stop)
        self.loads.append(teacher)
        return teacher

    def ask(self, cache=None):
        teacher = WorldTeacher(self.source, file_fingerprint(self.source), world=self)
        return cached_logits(teacher, self.question, cache=cache)

    def check(self, answers):
        """The fake's answer for view v is its score plus v; what nobody trains or validates on is NaN."""
        split, views = self.question.split, self.views.views
        assert answers.shape == (30, views + 1, 3)
        assert answers.dtype == np.float32
        for view in range(views + 1):
            np.testing.assert_array_equal(answers[split.train, view], self.scores[split.train] + np.float32(view))
        np.testing.assert_array_equal(answers[split.validation, 0], self.scores[split.validation])
        assert np.isnan(answers[split.validation, 1:]).all()
        assert np.isnan(answers[split.test]).all()


@pytest.fixture
def world(make_arrays, tmp_path):
    return World(make_arrays(height=32, width=32), tmp_path)


def test_answers_lie_at_their_clips_and_views_and_are_computed_once(world, capsys):
    """Each further temperature, alpha and seed would cost the teacher's time again."""
    world.check(world.ask())
    assert not set(world.loads[0].asked) & set(world.question.split.test)
    world.check(world.ask())
    assert len(world.loads) == 1
    assert "teacher logits read from" in capsys.readouterr().out
    assert sorted(path.suffix for path in world.source.with_suffix(".scores").iterdir()) == [".json", ".npy"]


def other_teacher(world, monkeypatch):
    world.source.write_bytes(b"another teacher")
    return "teacher differs"


def other_frames(world, monkeypatch):
    frames = np.load(world.arrays / "frames.npy")
    frames[:, 5] = 0  # the first frames are the same
    np.save(world.arrays / "frames.npy", frames)
    return "frames differs"


def other_view_seed(world, monkeypatch):
    world.views = replace(world.views, view_seed=3)
    return "view_seed is 0 there and 3 here"


def other_flip(world, monkeypatch):
    world.views = replace(world.views, flip=False)
    return "flip is True there and False here"


def other_crop(world, monkeypatch):
    monkeypatch.setattr(answer_key, "VERSION", answer_key.VERSION + 1)
    return "view_version is 1 there and 2 here"


def other_split(world, monkeypatch):
    world.split_seed = 1
    return "rows differs"


CHANGES = [other_teacher, other_frames, other_view_seed, other_flip, other_crop, other_split]


@pytest.mark.parametrize("change", CHANGES)
def test_answers_to_something_else_are_computed_anew(world, monkeypatch, capsys, change):
    """A student taught with them would be wrong without a sign."""
    world.ask()
    problem = change(world, monkeypatch)
    world.scores = world.scores[::-1]  # what the other teacher, or the other views, would be answered
    world.check(world.ask())
    assert len(world.loads) == 2
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note:")]
    assert len(printed) == 1
    assert printed[0].endswith(problem)


@pytest.mark.parametrize("change", CHANGES)
def test_a_named_file_of_other_answers_is_refused_and_kept(world, monkeypatch, tmp_path, change):
    """Who names a file means it: neither to use it wrongly nor to overwrite it is what they want."""
    cache = tmp_path / "kept" / "answers.npy"
    world.check(world.ask(cache))
    world.check(world.ask(cache))  # the right one passes
    before = cache.read_bytes()
    problem = change(world, monkeypatch)
    with pytest.raises(UserError, match=f"--cache: .*answers.npy holds logits for something else: {problem}"):
        world.ask(cache)
    assert len(world.loads) == 1
    assert cache.read_bytes() == before


def test_scores_that_the_json_does_not_know_are_not_used(world, tmp_path):
    """A file copied over the cache, or half of a pair, has another content than its .json says."""
    world.ask()
    (path,) = world.source.with_suffix(".scores").glob("*.npy")
    np.save(path, np.load(path) + 1)
    world.check(world.ask())
    assert len(world.loads) == 2
    np.save(tmp_path / "answers.npy", np.zeros((30, 3, 3), np.float32))
    with pytest.raises(UserError, match=r"--cache: .*answers.json does not belong to it"):
        world.ask(tmp_path / "answers.npy")


def test_more_views_extend_what_is_there_and_fewer_read_a_part(world):
    """The first views keep their answers; only the new ones cost the teacher's time."""
    world.views = ViewOptions(views=1)
    world.ask()
    world.views = ViewOptions(views=3)
    world.check(world.ask())
    train = len(world.question.split.train)
    assert len(world.loads[1].asked) == 2 * train
    world.views = ViewOptions(views=0)
    world.check(world.ask())
    assert len(world.loads) == 2


@pytest.mark.parametrize("finished", [0, 1, 3])
def test_a_killed_computation_goes_on_where_it_was(world, monkeypatch, finished):
    """The teacher's answers for a large set take hours; what was finished must not be computed again."""
    monkeypatch.setattr(teacher_cache, "PART", 10)
    world.stop_after = finished
    with pytest.raises(Killed):
        world.ask()
    assert not list(world.source.with_suffix(".scores").glob("*.npy"))  # nothing under a final name
    world.stop_after = None
    world.check(world.ask())
    rows = [len(world.question.rows(view)) for view in range(3)]
    sizes = [min(10, count - start) for count in rows for start in range(0, count, 10)]
    assert len(world.loads[1].asked) == sum(sizes[finished:])
    assert sorted(path.suffix for path in world.source.with_suffix(".scores").iterdir()) == [".json", ".npy"]


def test_an_interruption_says_what_is_kept(world, monkeypatch, capsys):
    """A user would think that hours of answers are lost, and not go on."""
    monkeypatch.setattr(teacher_cache, "PART", 10)
    world.stop_after, world.stop = 2, Interrupted
    with pytest.raises(Interrupted):
        world.ask()
    assert "2 parts of the teacher logits are cached; rerun the same command to resume" in capsys.readouterr().err


def test_parts_of_another_teacher_are_not_continued(world, monkeypatch):
    """Half of the clips would be answered by one teacher, half by the other."""
    monkeypatch.setattr(teacher_cache, "PART", 10)
    world.stop_after = 2
    with pytest.raises(Killed):
        world.ask()
    world.source.write_bytes(b"another teacher")
    world.stop_after, world.scores = None, world.scores[::-1]
    world.check(world.ask())


def test_scores_that_are_not_finite_are_refused(world):
    """A NaN in one answer makes the student's loss NaN, epochs later and without a cause."""
    world.scores[world.question.split.train[4]] = np.inf
    row = world.question.split.train[4]
    with pytest.raises(UserError, match=f"teacher.h5 outputs scores that are not finite, first for clip {row}$"):
        world.ask()


def test_a_full_disk_is_told_before_the_work(world, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(UserError, match=r"the logits in .* needs"):
        world.ask()
    assert world.loads == []
