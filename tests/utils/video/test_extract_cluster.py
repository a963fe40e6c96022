"""Extraction on a Dask cluster: the same arrays as on one machine, whatever dies."""

import csv
import os
import re
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path

import psutil
import pytest

from benchmarks.kills import digests
from tests.dask_cluster import dask_cluster
from tests.scripts import PROJECT, run_script
from tests.utils.video.small_videos import write_classes
from utils.base import dask_connection
from utils.base.dask_connection import LOCAL
from utils.base.errors import UserError
from utils.video.extract import extract
from utils.video.video import read_clip_and_info

pytest.importorskip("distributed", reason="distributed is not installed (requirements-cluster.txt)")

SMALL = {"sequence_length": 4, "frame_height": 20, "frame_width": 24, "video_timeout": 600}
CRASHES = "crashed its process"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder of two classes with twenty videos each; one video is too short."""
    return write_classes(tmp_path_factory.mktemp("source"), 40)


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """The digests of the files that one machine writes, with 11.avi as the video that crashes its process."""
    folder = tmp_path_factory.mktemp("whole")
    extract(source, folder / "out", workers=1, reader=read_with_crash, **SMALL)
    return digests(folder / "out")


@pytest.fixture
def videos(source, tmp_path):
    """A copy of `source` to which the readers of a test may write; with the dates of the original."""
    return shutil.copytree(source, tmp_path / "videos")


def read_with_crash(path, shape):
    """Read a video, but kill the own process at 11.avi."""
    if path.endswith("11.avi"):
        os.kill(os.getpid(), signal.SIGKILL)
    return read_clip_and_info(path, shape)


def once(path, name) -> bool:
    """Return whether this is the video `name`, for the first time."""
    if not path.endswith(name):
        return False
    try:
        Path(f"{path}.once").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def read_with_lost_worker(path, shape):
    """Read as `read_with_crash`, but kill the Dask worker at 06.avi, once."""
    if once(path, "06.avi"):
        os.kill(os.getppid(), signal.SIGKILL)
        threading.Event().wait()
    return read_with_crash(path, shape)


def read_with_lost_scheduler(path, shape):
    """Read as `read_with_crash`, but kill the scheduler at 31.avi."""
    if path.endswith("31.avi"):
        os.kill(int(Path(path).parents[1].joinpath("scheduler.pid").read_text()), signal.SIGKILL)
        threading.Event().wait()
    return read_with_crash(path, shape)


def read_poison(path, shape):
    """Kill the Dask worker at 06.avi, every time; hang at 08.avi."""
    if path.endswith("06.avi"):
        Path(f"{path}.{os.getppid()}.tries").touch()
        os.kill(os.getppid(), signal.SIGKILL)
    if path.endswith(("06.avi", "08.avi")):
        threading.Event().wait()
    return read_clip_and_info(path, shape)


def read_until_interrupted(path, shape):
    """Read as `read_with_crash`, but send SIGINT to the main process at 21.avi."""
    if once(path, "21.avi") and ignores_ctrl_c(os.getpid()):
        os.kill(os.getppid(), signal.SIGINT)
        threading.Event().wait()
    return read_with_crash(path, shape)


def ignores_ctrl_c(process) -> bool:
    """Return whether a process blocks SIGINT, which a terminal sends to all processes of a command."""
    blocked = re.search(r"^SigBlk:\s*(\w+)$", Path(f"/proc/{process}/status").read_text(), re.M)[1]
    return bool(int(blocked, 16) & 1 << (signal.SIGINT - 1))


def skipped(output):
    with open(output / "skipped_videos.csv", newline="") as file:
        return {Path(path).name: reason for path, reason in list(csv.reader(file))[1:]}


def child_processes():
    return [process for process in psutil.Process().children() if "spawn" in " ".join(process.cmdline())]


def test_a_local_cluster(videos, whole, tmp_path):
    """The arrays would be others, or processes stay behind."""
    extract(videos, tmp_path / "out", scheduler=LOCAL, workers=2, reader=read_with_crash, **SMALL)
    assert digests(tmp_path / "out") == whole
    assert not child_processes()


def test_a_lost_worker_and_a_poison_video(videos, whole, tmp_path, capfd):
    """A machine that fails would cost its videos, or a video that crashes the decoder the neighbours of that video."""
    with dask_cluster(tmp_path / "dask", workers=2) as cluster:
        summary = extract(videos, tmp_path / "out", scheduler=cluster.address, reader=read_with_lost_worker, **SMALL)
    assert (videos / "a" / "06.avi.once").exists()
    assert digests(tmp_path / "out") == whole
    assert skipped(tmp_path / "out")["11.avi"] == CRASHES
    assert (summary.clips, summary.skipped) == (38, 2)
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_a_scheduler_that_goes_away(videos, whole, tmp_path):
    """Hours of reading would be lost with the cluster."""
    with dask_cluster(tmp_path / "dask", workers=2) as cluster:
        (videos / "scheduler.pid").write_text(str(cluster.scheduler.pid))
        with pytest.raises(UserError, match=r"^--scheduler: \S+ has gone; rerun the same command, with or without"):
            extract(videos, tmp_path / "out", scheduler=cluster.address, reader=read_with_lost_scheduler, **SMALL)
    (videos / "scheduler.pid").unlink()
    summary = extract(videos, tmp_path / "out", workers=1, reader=read_with_crash, **SMALL)
    assert summary.continued > 0
    assert digests(tmp_path / "out") == whole


@pytest.mark.slow
def test_ctrl_c_on_a_local_cluster(videos, whole, tmp_path, capfd):
    """Processes would stay behind, or the rows of finished videos be lost."""
    with pytest.raises(KeyboardInterrupt):
        extract(videos, tmp_path / "out", scheduler=LOCAL, workers=1, reader=read_until_interrupted, **SMALL)
    assert not child_processes()
    assert capfd.readouterr().err.endswith(" videos kept; rerun the same command to resume\n")
    summary = extract(videos, tmp_path / "out", scheduler=LOCAL, workers=2, reader=read_with_crash, **SMALL)
    assert summary.continued > 0
    assert digests(tmp_path / "out") == whole
    assert capfd.readouterr().err == ""
    assert not child_processes()


@pytest.mark.slow
@pytest.mark.parametrize("allowed_failures", [0, 3])
def test_a_video_that_kills_workers_is_listed_and_no_other(videos, tmp_path, allowed_failures):
    """Dask blames every task on a worker that dies; videos that were only near a bad one would be missing."""
    environment = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(allowed_failures)}
    settings = SMALL | {"video_timeout": 1}
    with dask_cluster(tmp_path / "dask", workers=2, options=("--nanny",), **environment) as cluster:
        extract(videos, tmp_path / "out", scheduler=cluster.address, reader=read_poison, **settings)
    found = skipped(tmp_path / "out")
    assert found.pop("06.avi") == "crashed its worker"
    assert found.pop("08.avi") == "did not end within 10 s"
    assert list(found) == ["02.avi"]  # too short
    assert len(list(videos.glob("a/06.avi.*.tries"))) >= 3  # with other videos, then twice alone


def test_a_worker_that_finds_other_files(videos, tmp_path):
    """Videos that a worker does not see would be missing in the arrays, listed as unreadable."""
    with dask_cluster(tmp_path / "dask", workers=1) as cluster:
        (videos / "a" / "06.avi").write_bytes((videos / "a" / "06.avi").read_bytes() + b"more")
        with pytest.raises(UserError, match=r"must find the same file in \S+06.avi as .* \d+ bytes, found \d+ bytes"):
            extract(videos, tmp_path / "out", scheduler=cluster.address, reader=read_other_sizes, **SMALL)


def read_other_sizes(path, shape):
    """Let 06.avi have another size than at the start."""
    (Path(path).parents[1] / "a" / "06.avi").write_bytes(b"other")
    return read_clip_and_info(path, shape)


def test_workers_without_the_project(videos, tmp_path, monkeypatch):
    """Workers on which the project is elsewhere could not be used, or the error would not say what to do."""
    monkeypatch.setattr(dask_connection, "PROJECT", "/nowhere")
    settings = SMALL | {"reader": read_clip_and_info}
    with dask_cluster(tmp_path / "dask", workers=1) as cluster:
        message = r"^--scheduler: worker tcp://\S+ failed: No module named .utils.; it needs this project in /nowhere"
        with pytest.raises(UserError, match=message):
            extract(videos, tmp_path / "out", scheduler=cluster.address, **settings)
        cluster.stop(1)
        cluster.start_workers(1, "--no-nanny", PYTHONPATH=str(PROJECT))
        assert extract(videos, tmp_path / "out", scheduler=cluster.address, **settings).clips == 39


def test_nobody_listens(videos, tmp_path):
    """A misspelt address would block the command, or fill the terminal."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
        error = run_script(
            "video_to_frames.py", "--input_path", videos, "--output_path", "out", "--scheduler", address,
            cwd=tmp_path, expect=2, clears_keras=False,
        )  # fmt: skip
    assert error.startswith(f"error: --scheduler: a Dask scheduler must listen at {address}, but: ")
    assert error.count("\n") == 1


def test_the_package_is_missing(videos, tmp_path, monkeypatch):
    """Whoever has installed requirements.txt only would get a traceback, or need Dask without --scheduler."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    arguments = ("video_to_frames.py", "--input_path", videos, "--frame_height", 20, "--frame_width", 24)
    error = run_script(
        *arguments, "--output_path", "a", "--scheduler", "local", cwd=tmp_path, expect=2, clears_keras=False
    )
    assert error.startswith("error: --scheduler: needs the package distributed")
    assert error.endswith("pip install -r requirements-cluster.txt\n")
    assert error.count("\n") == 1
    run_script(*arguments, "--sequence_length", 4, "--output_path", "b", cwd=tmp_path, clears_keras=False)


@pytest.mark.parametrize("address", ["host", "host:8786", "tcp://host", "http://host:80", "tcp://:8786", "tcp://h:x"])
def test_an_address_of_another_form(videos, tmp_path, address):
    """Dask would look for a scheduler on a port that the user did not mean."""
    error = run_script(
        "video_to_frames.py", "--input_path", videos, "--output_path", "out", "--scheduler", address,
        cwd=tmp_path, expect=2, clears_keras=False,
    )  # fmt: skip
    assert error == f"error: --scheduler: must be local or an address like tcp://host:8786, got {address}\n"
