"""Teacher logits on a Dask cluster: the same bytes as on one machine, whatever dies."""

from dataclasses import replace

import keras
import pytest

from models.c3d import build_c3d
from tests.dask_cluster import dask_cluster
from tests.scripts import run_script
from utils.base.errors import UserError
from utils.base.files import file_fingerprint, write_at
from utils.base.options import ViewOptions
from utils.data.clips import open_clips, with_unlabelled
from utils.data.protocols import make_split
from utils.networks.precision import in_bfloat16
from utils.networks.recognizer import save_model
from utils.runs.loading import SplitDataset
from utils.training import cache as teacher_cache
from utils.training.cache import cached_logits
from utils.training.cluster import Setup
from utils.training.question import Question
from utils.training.teacher import Teacher

pytest.importorskip("distributed", reason="distributed is not installed (requirements-cluster.txt)")


@pytest.fixture
def teacher(tmp_path):
    keras.utils.set_random_seed(0)
    path = tmp_path / "teacher.keras"
    save_model(build_c3d(3, input_shape=(16, 32, 32, 3), width=0.05), path)
    return Teacher(path, file_fingerprint(path))


@pytest.fixture
def question(make_arrays):
    """A question for 24 clips with labels and 8 without, three views of each."""
    folder, further = make_arrays(height=32, width=32), make_arrays("further", classes=1, groups=4, height=40, seed=1)
    dataset = open_clips(folder / "frames.npy", folder / "labels.npy")
    split = make_split(dataset.labels, dataset.paths, class_names=dataset.class_names)
    dataset = with_unlabelled(dataset, [further / "frames.npy"])
    return Question(SplitDataset(dataset, split), ViewOptions(views=2))


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of four clips, and a function that sets what happens at the ninth row; it returns a list of the rows."""
    monkeypatch.setattr(teacher_cache, "PART", 4)

    def at_ninth_row(action):
        written = []

        def writing(*arguments):
            written.append(arguments)
            if len(written) == 9:
                action()
            write_at(*arguments)

        monkeypatch.setattr(teacher_cache, "write_at", writing)
        return written

    return at_ninth_row


@pytest.mark.slow
def test_a_lost_worker(teacher, question, small_parts, monkeypatch, tmp_path, capfd):
    """A student would learn from other numbers, or from float32 and bfloat16 mixed, because a machine failed."""

    def in_other_format(network, question):
        return replace(network, model=in_bfloat16(network.model))

    cached_logits(teacher, question, cache=tmp_path / "float32.npy")
    monkeypatch.setattr(teacher_cache, "faster", in_other_format)
    here, there = tmp_path / "here.npy", tmp_path / "there.npy"
    cached_logits(teacher, question, cache=here)
    capfd.readouterr()
    with dask_cluster(tmp_path / "dask", workers=2) as cluster:
        small_parts(lambda: cluster.stop(1))
        cached_logits(teacher, question, cache=there, scheduler=cluster.address)
    assert there.read_bytes() == here.read_bytes()
    assert here.read_bytes() != (tmp_path / "float32.npy").read_bytes()
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
def test_a_scheduler_that_goes_away(teacher, question, small_parts, tmp_path):
    """Hours of the teacher's time would be lost with the cluster."""
    here, there = tmp_path / "here.npy", tmp_path / "there.npy"
    cached_logits(teacher, question, cache=here)
    with dask_cluster(tmp_path / "dask", workers=2) as cluster:
        small_parts(lambda: cluster.stop(0))
        with pytest.raises(UserError, match=r"^--scheduler: \S+ has gone; rerun the same command, with or without"):
            cached_logits(teacher, question, cache=there, scheduler=cluster.address)
    written = small_parts(lambda: None)
    cached_logits(teacher, question, cache=there)
    assert len(written) <= sum(len(question.rows(view)) for view in range(3)) - 8
    assert there.read_bytes() == here.read_bytes()


def test_a_worker_that_finds_other_files(teacher, question):
    """Logits of another teacher, or for other clips, would be cached under the key of this one."""
    files = tuple((str(part.frames.path), "other") for part in (question.dataset, *question.dataset.unlabelled))
    setup = Setup(teacher, False, files, question.dataset.class_names, question.views)
    with pytest.raises(UserError, match=r"^--scheduler: \S+ finds other clips in \S+frames.npy$"):
        setup.open()
    teacher.path.write_bytes(b"other")
    with pytest.raises(UserError, match=r"^--scheduler: \S+ finds another file in \S+teacher.keras$"):
        setup.open()


@pytest.mark.parametrize("arguments", [["--teacher", "live"], ["--alpha", "1"], ["--source", "scores.npy"]])
def test_no_logits_to_compute(make_arrays, tmp_path, arguments):
    """The argument would be ignored."""
    folder = make_arrays()
    for name in ("scores.npy", "teacher.h5"):
        (tmp_path / name).touch()
    arrays = ("--data", folder / "frames.npy", "--annotations", folder / "labels.npy", "--source", "teacher.h5")
    error = run_script("KD_training.py", *arrays, "--scheduler", "local", *arguments, cwd=tmp_path, expect=2)
    assert error.startswith("error: --scheduler: must go with --teacher_outputs cached and a model, got local")
