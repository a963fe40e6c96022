"""Cached teacher logits: computed once, resumed after a kill, and never used for other inputs."""

import os
import resource
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from tests.fake_recognizer import FakeModel, FakeRecognizer
from utils.base.errors import UserError
from utils.base.files import file_fingerprint
from utils.base.interruption import Interrupted
from utils.base.options import ViewOptions
from utils.data.clips import open_clips, with_unlabelled
from utils.data.protocols import make_split
from utils.runs.loading import SplitDataset
from utils.training import cache as teacher_cache
from utils.training import question as answer_key
from utils.training.cache import cached_logits
from utils.training.question import Question
from utils.training.teacher import Teacher


class Killed(BaseException):
    """Simulates a kill: an exception that the tested code does not catch."""


@dataclass(frozen=True)
class KillableRecognizer(FakeRecognizer):
    """Returns logits as often as `left` is long, then raises `stop`."""

    left: list = field(default_factory=list)
    stop: type[BaseException] = Killed

    def logits(self, *arguments, **settings):
        if not self.left:
            raise self.stop
        self.left.pop()
        return super().logits(*arguments, **settings)


@dataclass(frozen=True)
class WorldTeacher(Teacher):
    """A teacher with the network of a World."""

    world: "World | None" = None

    def load(self, dataset):
        return self.world.load(dataset)


class World:
    """Arrays, a teacher's file, a question, and a fake network with known scores."""

    def __init__(self, arrays, folder, views=2):
        self.arrays, self.source = arrays, folder / "teacher.h5"
        self.source.write_bytes(b"a teacher")
        self.views = ViewOptions(views=views)
        self.scores = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
        self.loads, self.split_seed, self.stop_after, self.stop = [], 0, None, Killed
        self.unlabelled = []

    @property
    def question(self):
        dataset = open_clips(self.arrays / "frames.npy", self.arrays / "labels.npy")
        names = {"class_names": dataset.class_names, "split_seed": self.split_seed}
        split = make_split(dataset.labels, dataset.paths, **names)
        return Question(SplitDataset(with_unlabelled(dataset, self.unlabelled), split), self.views)

    def load(self, dataset):
        left = [None] * (1000 if self.stop_after is None else self.stop_after)
        teacher = KillableRecognizer(self.source, FakeModel(3), None, self.scores, left=left, stop=self.stop)
        self.loads.append(teacher)
        return teacher

    def ask(self, cache=None):
        teacher = WorldTeacher(self.source, file_fingerprint(self.source), world=self)
        return cached_logits(teacher, self.question, cache=cache)

    def check(self, logits):
        """Check that logits for view v are scores plus v, and NaN for clips without training or validation."""
        split, views = self.question.split, self.views.views
        assert logits.shape == (len(self.scores), views + 1, 3)
        assert logits.dtype == np.float32
        trained = np.r_[split.train, 30 : len(self.scores)]
        for view in range(views + 1):
            np.testing.assert_array_equal(logits[trained, view], self.scores[trained] + np.float32(view))
        np.testing.assert_array_equal(logits[split.validation, 0], self.scores[split.validation])
        assert np.isnan(logits[split.validation, 1:]).all()
        assert np.isnan(logits[split.test]).all()


@pytest.fixture
def world(make_arrays, tmp_path):
    return World(make_arrays(height=32, width=32), tmp_path)


def test_logits_belong_to_their_clips_and_views_and_are_computed_once(world, capsys):
    """Otherwise each temperature, alpha and seed would need the teacher's time again."""
    world.check(world.ask())
    assert not set(world.loads[0].asked) & set(world.question.split.test)
    world.check(world.ask())
    assert len(world.loads) == 1
    assert "teacher logits read from" in capsys.readouterr().out
    assert sorted(path.suffix for path in world.source.with_suffix(".scores").iterdir()) == [".json", ".npy"]


def test_logits_cover_unlabelled_clips(world, make_arrays):
    """A student would learn from unlabelled clips with logits of other clips, or without any."""
    world.ask()
    world.unlabelled = [
        make_arrays(name, classes=1, groups=2, seed=seed) / "frames.npy" for seed, name in enumerate("ab")
    ]
    world.scores = np.concatenate([world.scores, 5 + np.arange(24, dtype=np.float32).reshape(8, 3)])
    world.check(world.ask())
    assert len(world.loads) == 2
    world.check(world.ask())
    assert len(world.loads) == 2


def other_teacher(world, monkeypatch):
    world.source.write_bytes(b"another teacher")
    return "teacher differs"


def other_frames(world, monkeypatch):
    frames = np.load(world.arrays / "frames.npy")
    frames[3, 9, 20, 20, 1] ^= 1
    np.save(world.arrays / "frames.npy", frames)
    return "content differs"


def other_view_seed(world, monkeypatch):
    world.views = replace(world.views, view_seed=3)
    return "view_seed is 0 there and 3 here"


def other_flip(world, monkeypatch):
    world.views = replace(world.views, flip=False)
    return "flip is True there and False here"


def other_crop(world, monkeypatch):
    monkeypatch.setattr(answer_key, "VERSION", answer_key.VERSION + 1)
    return f"view_version is {answer_key.VERSION - 1} there and {answer_key.VERSION} here"


def other_split(world, monkeypatch):
    world.split_seed = 1
    return "rows differs"


CHANGES = [other_teacher, other_frames, other_view_seed, other_flip, other_crop, other_split]


@pytest.mark.parametrize("change", CHANGES)
def test_logits_for_other_inputs_are_recomputed(world, monkeypatch, capsys, change):
    """A student trained with the old logits would be wrong unnoticed."""
    world.ask()
    problem = change(world, monkeypatch)
    world.scores = world.scores[::-1]  # the logits of the other teacher or views
    world.check(world.ask())
    assert len(world.loads) == 2
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note:")]
    assert len(printed) == 1
    assert printed[0].endswith(problem)


@pytest.mark.parametrize("change", CHANGES)
def test_a_named_file_with_other_logits_is_rejected_and_kept(world, monkeypatch, tmp_path, change):
    """A file that the user named must be neither used for other inputs nor overwritten."""
    cache = tmp_path / "kept" / "logits.npy"
    world.check(world.ask(cache))
    world.check(world.ask(cache))  # the matching file is accepted
    before = cache.read_bytes()
    problem = change(world, monkeypatch)
    with pytest.raises(UserError, match=f"--cache: .*logits.npy must hold this teacher's logits for .*, but {problem}"):
        world.ask(cache)
    assert len(world.loads) == 1
    assert cache.read_bytes() == before


def test_logits_that_do_not_match_their_json_are_not_used(world, tmp_path):
    """A file that was copied over the cache, or without its .json, may hold anything."""
    world.ask()
    (path,) = world.source.with_suffix(".scores").glob("*.npy")
    np.save(path, np.load(path) + 1)
    world.check(world.ask())
    assert len(world.loads) == 2
    np.save(tmp_path / "logits.npy", np.zeros((30, 3, 3), np.float32))
    with pytest.raises(UserError, match=r"--cache: .*logits.json is damaged or of another file"):
        world.ask(tmp_path / "logits.npy")


def test_more_views_extend_the_cache_and_fewer_views_read_a_part_of_it(world):
    """Only new views may need the teacher's time."""
    world.views = ViewOptions(views=1)
    world.ask()
    world.views = ViewOptions(views=3)
    world.check(world.ask())
    train = len(world.question.split.train)
    assert len(world.loads[1].asked) == 2 * train
    world.views = ViewOptions(views=0)
    world.check(world.ask())
    assert len(world.loads) == 2


@pytest.mark.parametrize(("finished", "views"), [(0, 2), (1, 2), (3, 2), (3, 1), (3, 4)])
def test_a_killed_computation_is_resumed(world, monkeypatch, finished, views):
    """The logits of a large data set take hours; finished parts must not be recomputed, nor for another --views."""
    monkeypatch.setattr(teacher_cache, "PART", 10)
    world.stop_after = finished
    with pytest.raises(Killed):
        world.ask()
    assert not list(world.source.with_suffix(".scores").glob("*.npy"))  # no incomplete file under its final name
    world.stop_after, world.views = None, ViewOptions(views=views)
    world.check(world.ask())
    rows = [len(world.question.rows(view)) for view in range(views + 1)]
    sizes = [min(10, count - start) for count in rows for start in range(0, count, 10)]
    assert len(world.loads[1].asked) == sum(sizes[finished:])
    assert sorted(path.suffix for path in world.source.with_suffix(".scores").iterdir()) == [".json", ".npy"]


def test_an_interruption_reports_what_is_cached(world, monkeypatch, capsys):
    """Otherwise a user would assume that hours of work are lost."""
    monkeypatch.setattr(teacher_cache, "PART", 10)
    world.stop_after, world.stop = 2, Interrupted
    with pytest.raises(Interrupted):
        world.ask()
    assert "2 parts of the logits are cached; rerun the same command to resume" in capsys.readouterr().err


def test_parts_of_another_teacher_are_discarded(world, monkeypatch):
    """Otherwise some logits would be of one teacher and some of the other."""
    monkeypatch.setattr(teacher_cache, "PART", 10)
    world.stop_after = 2
    with pytest.raises(Killed):
        world.ask()
    world.source.write_bytes(b"another teacher")
    world.stop_after, world.scores = None, world.scores[::-1]
    world.check(world.ask())


def test_logits_that_are_not_finite_are_rejected(world):
    """A single NaN would make the student's loss NaN later, without a visible cause."""
    world.scores[world.question.split.train[4]] = np.inf
    row = world.question.split.train[4]
    with pytest.raises(UserError, match=f"teacher.h5 must output finite logits, but those for clip {row} are not$"):
        world.ask()


def test_a_full_disk_is_reported_in_advance(world, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(UserError, match=r"the logits in .* needs"):
        world.ask()
    assert world.loads == []


def test_a_disk_that_is_full_after_all_is_named_before_anything_is_computed(world):
    """A write to a memory map would end the run by SIGBUS, without a message, after hours of computation."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"File too large: '.*\.unfinished'"):
            world.ask()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert world.loads == []
    world.check(world.ask())


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("killed_at", ["write_json", "replace", "discard_unfinished"])
def test_a_kill_around_the_last_write_is_repaired(world, monkeypatch, tmp_path, named, killed_at):
    """The same command would be refused for ever, or compute everything again."""
    cache = tmp_path / "logits.npy" if named else None

    def killed_if(module, name, condition):
        function = getattr(module, name)

        def killed(*arguments):
            if condition(*arguments):
                raise Killed
            return function(*arguments)

        patch.setattr(module, name, killed)

    with monkeypatch.context() as patch:
        if killed_at == "write_json":
            killed_if(teacher_cache, "write_json", lambda path, value: "views" in value)
        elif killed_at == "replace":
            killed_if(os, "replace", lambda source, path: path.suffix == ".npy")
        else:
            killed_if(teacher_cache, "discard_unfinished", lambda path: path.exists())
        with pytest.raises(Killed):
            world.ask(cache)
    world.check(world.ask(cache))
    assert len(world.loads) == 1
    folder = tmp_path if named else world.source.with_suffix(".scores")
    assert sorted(path.suffix for path in folder.glob("*logits.*" if named else "*")) == [".json", ".npy"]


@pytest.mark.parametrize("content", ["", "[1]", "[" * 100_000, "{}", '{"fingerprint": 1e999}', "x" * 200_000])
def test_a_damaged_description_of_logits_is_never_used(world, tmp_path, capsys, content):
    """A traceback would end every training with this teacher, although the logits can be computed again."""
    world.check(world.ask())
    (about,) = world.source.with_suffix(".scores").glob("*.json")
    about.write_text(content)
    world.check(world.ask())
    assert f"are recomputed: {about} is damaged or of another file" in capsys.readouterr().out
    assert len(world.loads) == 2

    named = tmp_path / "named.npy"
    world.ask(cache=named)
    named.with_suffix(".json").write_text(content)
    with pytest.raises(UserError, match=r"--cache: .*named\.json is damaged or of another file; name .* or delete it"):
        world.ask(cache=named)


@pytest.mark.parametrize("damage", ["key", "short", "shape", "text"])
def test_damaged_unfinished_logits_are_computed_again(world, damage):
    """Damaged logits would end every later run, or be those of other clips."""
    world.stop_after = 2
    with pytest.raises(Killed):
        world.ask()
    (logits,) = world.source.with_suffix(".scores").glob("*.unfinished")
    if damage == "key":
        logits.with_suffix(".unfinished.json").write_text("[" * 100_000)
    elif damage == "short":
        logits.write_bytes(logits.read_bytes()[:-5])
    elif damage == "shape":
        with open(logits, "wb") as file:
            np.save(file, np.zeros((29, 3, 3), np.float32))
    else:
        logits.write_text("hello")
    world.stop_after = None
    world.check(world.ask())
    assert len(world.loads) == 2
