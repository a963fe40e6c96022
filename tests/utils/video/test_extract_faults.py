"""Extraction after crashes, kills, Ctrl-C and full disks: finished rows are kept and the result is the same."""

import ctypes
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.kills import DIRECT, digests, extraction_of, incomplete_array
from tests.scripts import PROJECT
from tests.utils.video.small_videos import ONE_WORKER, SMALL, kill_at_class_b, remembered_hash
from utils.base import isolation
from utils.base.errors import UserError
from utils.data.clips import FrameFile
from utils.video.extract import extract
from utils.video.video import read_clip_and_info


def read_misbehaving(path, shape):
    """Read a video, but crash, hang, raise, exhaust the memory or be killed once for certain file names."""
    name = Path(path).name
    if name == "1.avi":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump may take long
        ctypes.string_at(0)
    if name == "4.avi":
        threading.Event().wait()
    if name == "5.avi":
        raise ZeroDivisionError("no frame rate")
    if name == "7.avi":
        np.empty(3 * 1024**3, np.uint8)  # a damaged header can request this
    if name == "8.avi" and not Path(path).with_suffix(".tried").exists():
        Path(path).with_suffix(".tried").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return read_clip_and_info(path, shape)


def read_until_interrupted(path, shape):
    """Send SIGINT to the main process at the first video of class b."""
    if path.endswith("b/1.avi"):
        os.kill(multiprocessing.parent_process().pid, signal.SIGINT)
    if "/b/" in path:
        threading.Event().wait()
    return read_clip_and_info(path, shape)


def read_without_end(path, shape):
    """Read class a, but hang at class b."""
    if "/b/" in path:
        threading.Event().wait()
    return read_clip_and_info(path, shape)


def test_bytes_do_not_depend_on_the_number_of_workers(videos, whole, tmp_path):
    """The same command would give different arrays on another machine."""
    extract(videos, tmp_path, **SMALL | {"workers": 3})
    assert digests(tmp_path) == whole


def test_a_crash_or_hang_costs_its_own_video(videos, tmp_path, monkeypatch):
    """One damaged file would end the run or block it forever."""
    monkeypatch.setattr(isolation, "WALL_FACTOR", 1)
    shutil.copytree(videos, tmp_path / "videos")
    extract(tmp_path / "videos", tmp_path / "out", reader=read_misbehaving, **SMALL | {"video_timeout": 3})
    assert (tmp_path / "out" / "skipped_videos.csv").read_text() == (
        "path,reason\n"
        'a/2.avi,"has 3 frames, fewer than the 4 wanted"\n'
        "a/4.avi,did not end within 3 s\n"
        "b/1.avi,crashed its process\n"
        "b/5.avi,ZeroDivisionError: no frame rate\n"
        'b/7.avi,"MemoryError: Unable to allocate 3.00 GiB for an array with shape (3221225472,) and data type uint8"\n'
    )
    paths = np.load(tmp_path / "out" / "video_file_paths.npy")
    assert paths.tolist() == ["a/0.avi", "a/6.avi", "a/8.avi", "b/3.avi", "b/9.avi"]
    for row, path in zip(np.load(tmp_path / "out" / "frames.npy"), paths):
        np.testing.assert_array_equal(row, read_clip_and_info(videos / path, (4, 20, 24, 3))[0])


def read_late(path, shape):
    """Read a video, but hang at a/4.avi unless a file says otherwise."""
    if path.endswith("a/4.avi") and not Path(os.environ["READS_ALL"]).exists():
        threading.Event().wait()
    return read_clip_and_info(path, shape)


def test_videos_that_ran_out_of_time_are_tried_again_by_the_same_command(videos, whole, tmp_path, monkeypatch, capsys):
    """Good videos would be missing for ever because the machine was busy once."""
    monkeypatch.setattr(isolation, "WALL_FACTOR", 1)
    monkeypatch.setenv("READS_ALL", str(tmp_path / "now"))
    output, late = tmp_path / "out", {"reader": read_late}
    assert extract(videos, output, **SMALL | late | {"video_timeout": 1}).skipped == 2
    inode = (output / "frames.npy").stat().st_ino
    assert extract(videos, output, **SMALL | late | {"video_timeout": 0.1}).skipped == 2
    assert (output / "frames.npy").stat().st_ino == inode
    assert "is complete already" in capsys.readouterr().err
    (tmp_path / "now").touch()
    assert extract(videos, output, **SMALL | late).skipped == 1
    assert digests(output) == whole
    remembered_hash(output)
    assert capsys.readouterr().out == "trying again 1 video that ran out of time\n"
    assert not [path for path in output.iterdir() if path.is_dir()]
    extract(videos, output, **SMALL | late)
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_kills_reveal_a_non_atomic_save(videos, whole, tmp_path):
    """The kill tests below would pass whatever the extraction does."""
    extraction, faults = extraction_of(videos, **ONE_WORKER), []
    calls = extraction.run(tmp_path / "counted", unsafe=DIRECT)["save"]
    for call in range(3, calls, calls // 3):
        assert extraction.run(tmp_path / str(call), kill=("save", call), unsafe=DIRECT) is None
        faults.append(incomplete_array(tmp_path / str(call), whole))
    assert any(faults)


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["run", "save"])
def test_kill_at_random_moments(videos, whole, tmp_path, phase):
    """Hours of decoding would be lost, or incomplete arrays used for training."""
    extraction = extraction_of(videos, **ONE_WORKER)
    calls = extraction.run(tmp_path / "counted")[phase]
    for call in random.Random(7).sample(range(1, calls + 1), 2 if phase == "run" else 4):
        output = tmp_path / str(call)
        assert extraction.run(output, kill=(phase, call)) is None
        assert incomplete_array(output, whole) is None
        extract(videos, output, **SMALL)
        assert digests(output) == whole
        remembered_hash(output)
        assert not [path for path in output.glob(".extraction*") if path.is_dir()]


def test_a_killed_run_is_resumed(videos, whole, tmp_path):
    """Resuming would decode every video again."""
    kill_at_class_b(videos, tmp_path)
    assert not (tmp_path / "frames.npy").exists()
    log = tmp_path / ".extraction" / "extraction_log.jsonl"
    done = [json.loads(line)["path"] for line in log.read_text().splitlines()]
    assert done[:4] == ["a/0.avi", "a/2.avi", "a/4.avi", "a/6.avi"]
    summary = extract(videos, tmp_path, **SMALL)
    assert summary.continued == len(done)
    assert digests(tmp_path) == whole
    remembered_hash(tmp_path)


def test_the_hash_of_the_frames_is_remembered(videos, tmp_path, monkeypatch):
    """The first training would read the whole file, which may take minutes, or be refused with another hash."""
    extract(videos, tmp_path, **SMALL)
    found = remembered_hash(tmp_path)
    monkeypatch.setattr("utils.base.content_hash._hashed", None)  # reading the file again would fail
    assert FrameFile(tmp_path / "frames.npy").content == f"xxh3_128:{found}"
    monkeypatch.undo()
    extract(videos, tmp_path, **SMALL | {"overwrite": True, "frame_height": 30})
    assert remembered_hash(tmp_path) != found


def test_an_interrupted_run_is_resumed(videos, whole, tmp_path, capsys):
    """Ctrl-C would lose finished rows, leave processes behind or hang."""
    with pytest.raises(KeyboardInterrupt):
        extract(videos, tmp_path, reader=read_until_interrupted, **SMALL)
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
    kept = int(re.search(r"^(\d+) videos? kept", capsys.readouterr().err, re.MULTILINE)[1])
    summary = extract(videos, tmp_path, **SMALL)
    assert summary.continued == kept
    assert digests(tmp_path) == whole
    remembered_hash(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_in_a_terminal_leaves_no_process(videos, tmp_path, presses):
    """A process left behind would keep the files locked. A second Ctrl-C must end the run at once."""
    code = (
        "from tests.utils.video.test_extract_faults import *\n"
        "from utils.base import cli\n"
        "reading = dict(reader=read_without_end, **SMALL)\n"
        f"if __name__ == '__main__': cli.run(lambda: extract({str(videos)!r}, {str(tmp_path)!r}, **reading))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, stderr=subprocess.PIPE, text=True)
    frames = tmp_path / ".extraction" / "frames.npy"
    try:
        while not (frames.exists() and frames.stat().st_size > 128):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        workers = psutil.Process(process.pid).children(recursive=True)
        for _ in range(presses):
            process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=120)[1]
    finally:
        process.kill()  # its workers end with it
    assert process.returncode == 130, errors
    assert presses == 2 or "videos kept; rerun the same command to resume" in errors
    assert "Traceback" not in errors
    assert len(workers) >= 2
    assert not psutil.wait_procs(workers, timeout=120)[1]


def test_incomplete_rows_and_lines_are_dropped(videos, whole, tmp_path):
    """A half-written row or log line would shift every later row."""
    kill_at_class_b(videos, tmp_path)
    folder = tmp_path / ".extraction"
    lines = [json.loads(line) for line in (folder / "extraction_log.jsonl").read_text().splitlines()[:2]]
    lines += [lines[0] | {"path": "a/4.avi"}, lines[0] | {"path": "a/6.avi"}]
    rows = (folder / "frames.npy").read_bytes()[: 128 + 5760]
    (folder / "frames.npy").write_bytes(rows + b"half a row")  # the row of a/4.avi is incomplete
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "extraction_log.jsonl").write_text(text[:-7])
    assert extract(videos, tmp_path, **SMALL).continued == 2
    assert digests(tmp_path) == whole
    remembered_hash(tmp_path)


def test_a_full_disk_is_an_error_of_one_line_and_the_run_is_resumed(videos, whole, tmp_path):
    """A full disk would be reported as a traceback or as a damaged video."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (128 + 3 * 5760 + 100, hard))
    try:
        with pytest.raises(UserError, match=r"--output_path: .* cannot be written: File too large; .* rerun"):
            extract(videos, tmp_path, **SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "frames.npy").exists()
    assert extract(videos, tmp_path, **SMALL).clips == 9
    assert digests(tmp_path) == whole


def test_free_space_is_checked_first(videos, tmp_path):
    """The run would fill the disk after hours of work."""
    with pytest.raises(UserError, match=r"--output_path: .* for 10 clips needs 120000.00 GB but .* GB free"):
        extract(videos, tmp_path, sequence_length=4, frame_height=10**6, frame_width=10**6)
    assert not [path for path in tmp_path.iterdir() if path.name != ".extraction.lock"]
