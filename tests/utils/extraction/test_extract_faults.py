"""Extraction after crashes, kills, Ctrl-C and full disks: finished rows are kept and the result is the same."""

import ctypes
import fcntl
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

import cv2
import numpy as np
import psutil
import pytest
import xxhash

from benchmarks.kill_extraction import digests, fault_of, run_victim
from utils.data.clips import FrameFile
from utils.extraction.dataset_report import DatasetReport
from utils.extraction.discovery import LEAVES
from utils.extraction.extract import extract
from utils.extraction.state import ADDED_SETTINGS
from utils.extraction.video import read_clip_and_info
from utils.runtime.errors import UserError
from utils.runtime.files import exclusive_lock

ROOT = Path(__file__).parents[3]
SMALL = {"sequence_length": 4, "frame_height": 20, "frame_width": 24, "workers": 2, "video_timeout": 600}
ONE_WORKER = SMALL | {"workers": 1}


def write_video(path, frame_count, level):
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (48, 36))
    for k in range(frame_count):
        writer.write(np.full((36, 48, 3), level + 4 * k, np.uint8))
    writer.release()


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder of two classes with five videos each; one video is too short."""
    folder = tmp_path_factory.mktemp("videos")
    for k in range(10):
        write_video(folder / "ab"[k % 2] / f"{k}.avi", 3 if k == 2 else 8, level=20 * k)
    return folder


@pytest.fixture(scope="module")
def whole(videos, tmp_path_factory):
    """The digests of the files of an uninterrupted run with one worker."""
    output = tmp_path_factory.mktemp("whole")
    extract(videos, output, **ONE_WORKER)
    return digests(output)


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


def read_first_half(path, shape):
    """Kill the main process at the first video of class b, once four videos of class a are logged."""
    if "/b/" in path:
        log = Path(os.environ["EXTRACTION_LOG"])
        while log.read_text().count("\n") < 4:  # results are logged while later videos are read
            time.sleep(0.01)
        os.kill(multiprocessing.parent_process().pid, signal.SIGKILL)
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


def remembered_hash(output):
    """Return the hash that the extraction has left, after checking that it belongs to frames.npy and is correct."""
    found, status = json.loads((output / "frames.npy.hash.json").read_text()), (output / "frames.npy").stat()
    assert [found[name] for name in ("size", "mtime_ns", "inode")] == [
        status.st_size,
        status.st_mtime_ns,
        status.st_ino,
    ]
    assert found["digest"] == xxhash.xxh3_128_hexdigest(np.load(output / "frames.npy").tobytes())
    return found["digest"]


def kill_at_class_b(videos, output):
    """Run an extraction in a process that is killed at the first video of class b."""
    code = (
        "from tests.utils.extraction.test_extract_faults import *\n"
        f"if __name__ == '__main__': extract({str(videos)!r}, {str(output)!r}, reader=read_first_half, **ONE_WORKER)"
    )
    environment = os.environ | {"EXTRACTION_LOG": str(output / ".extraction" / "extraction_log.jsonl")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, timeout=120
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    with open(output / ".extraction" / "frames.npy", "rb") as frames:
        fcntl.flock(frames, fcntl.LOCK_EX)  # waits until its workers have ended


def test_bytes_do_not_depend_on_the_number_of_workers(videos, whole, tmp_path):
    """The same command would give different arrays on another machine."""
    extract(videos, tmp_path, **SMALL | {"workers": 3})
    assert digests(tmp_path) == whole


def test_a_crash_or_hang_costs_its_own_video(videos, tmp_path):
    """One damaged file would end the run or block it forever."""
    shutil.copytree(videos, tmp_path / "videos")
    extract(tmp_path / "videos", tmp_path / "out", reader=read_misbehaving, **SMALL | {"video_timeout": 5})
    assert (tmp_path / "out" / "skipped_videos.csv").read_text() == (
        "path,reason\n"
        'a/2.avi,"has 3 frames, fewer than the 4 wanted"\n'
        "a/4.avi,took longer than 5 s\n"
        "b/1.avi,crashed its process 2 times\n"
        "b/5.avi,ZeroDivisionError: no frame rate\n"
        'b/7.avi,"MemoryError: Unable to allocate 3.00 GiB for an array with shape (3221225472,) and data type uint8"\n'
    )
    paths = np.load(tmp_path / "out" / "video_file_paths.npy")
    assert paths.tolist() == ["a/0.avi", "a/6.avi", "a/8.avi", "b/3.avi", "b/9.avi"]
    for row, path in zip(np.load(tmp_path / "out" / "frames.npy"), paths):
        np.testing.assert_array_equal(row, read_clip_and_info(videos / path, (4, 20, 24, 3))[0])


@pytest.mark.slow
def test_kills_reveal_a_non_atomic_save(videos, whole, tmp_path):
    """The kill tests below would pass whatever the extraction does."""
    arguments = {"input_path": str(videos), **ONE_WORKER}
    calls = run_victim(arguments | {"output_path": str(tmp_path / "counted")}, careless=True)["save"]
    faults = []
    for call in range(3, calls, calls // 3):
        output = tmp_path / str(call)
        assert run_victim(arguments | {"output_path": str(output)}, kill=("save", call), careless=True) is None
        faults.append(fault_of(output, whole))
    assert any(faults)


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["run", "save"])
def test_kill_at_random_moments(videos, whole, tmp_path, phase):
    """Hours of decoding would be lost, or incomplete arrays used for training."""
    arguments = {"input_path": str(videos), **ONE_WORKER}
    calls = run_victim(arguments | {"output_path": str(tmp_path / "counted")})[phase]
    for call in random.Random(7).sample(range(1, calls + 1), 2 if phase == "run" else 4):
        output = tmp_path / str(call)
        assert run_victim(arguments | {"output_path": str(output)}, kill=(phase, call)) is None
        assert fault_of(output, whole) is None
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
    monkeypatch.setattr("utils.runtime.content_hash.update_from_file", None)  # reading the file again would fail
    assert FrameFile(tmp_path / "frames.npy").content == f"xxh3_128:{found}"
    monkeypatch.undo()
    extract(videos, tmp_path, **SMALL | {"overwrite": True, "frame_height": 30})
    assert remembered_hash(tmp_path) != found


def test_an_interrupted_run_is_resumed(videos, whole, tmp_path, capsys):
    """Ctrl-C would lose finished rows, leave processes behind or hang."""
    with pytest.raises(KeyboardInterrupt):
        extract(videos, tmp_path, reader=read_until_interrupted, **SMALL)
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
    kept = int(re.search(r"^(\d+) videos are kept", capsys.readouterr().err, re.MULTILINE)[1])
    summary = extract(videos, tmp_path, **SMALL)
    assert summary.continued == kept
    assert digests(tmp_path) == whole
    remembered_hash(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_in_a_terminal_leaves_no_process(videos, tmp_path, presses):
    """A process left behind would keep the files locked. A second Ctrl-C must end the run at once."""
    code = (
        "from tests.utils.extraction.test_extract_faults import *\n"
        "from utils.settings import cli\n"
        "reading = dict(reader=read_without_end, **SMALL)\n"
        f"if __name__ == '__main__': cli.run(lambda: extract({str(videos)!r}, {str(tmp_path)!r}, **reading))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True)
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
    assert presses == 2 or "videos are kept; rerun the same command to resume" in errors
    assert "Traceback" not in errors
    assert len(workers) >= 2
    assert not psutil.wait_procs(workers, timeout=120)[1]


def test_incomplete_rows_and_lines_are_dropped(videos, whole, tmp_path):
    """A half-written row or log line would shift every later row."""
    kill_at_class_b(videos, tmp_path)
    folder = tmp_path / ".extraction"
    lines = [{"path": path, "reason": None, "seconds": 1.0, "memory": 1.0} for path in ("a/0.avi", "a/2.avi")]
    lines[1]["reason"] = "has 3 frames, fewer than the 4 wanted"
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


def test_complete_arrays_are_kept(videos, tmp_path, capsys):
    """Rerunning the command would decode every video again."""
    first = extract(videos, tmp_path, **SMALL)
    inode = (tmp_path / "frames.npy").stat().st_ino
    second = extract(videos, tmp_path, **SMALL)
    assert (second.clips, second.classes, second.skipped) == (first.clips, first.classes, first.skipped)
    assert (tmp_path / "frames.npy").stat().st_ino == inode
    assert "is complete already" in capsys.readouterr().err
    extract(videos, tmp_path, overwrite=True, **SMALL)
    assert (tmp_path / "frames.npy").stat().st_ino != inode


def test_other_settings_are_refused(videos, whole, tmp_path):
    """Rows of two sizes or data sets would be mixed, or finished arrays replaced by mistake."""
    extract(videos, tmp_path / "complete", **SMALL)
    kill_at_class_b(videos, tmp_path / "unfinished")
    other = SMALL | {"frame_height": 30}
    for output in (tmp_path / "complete", tmp_path / "unfinished"):
        with pytest.raises(
            UserError, match=r"holds an extraction with --frame_height 20, asked for 30; .*--overwrite$"
        ):
            extract(videos, output, **other)
    shutil.copytree(videos, tmp_path / "more")
    (tmp_path / "more/a/0.avi").write_text("another video")
    with pytest.raises(UserError, match="holds an extraction with videos whose names, sizes or dates are not those"):
        extract(tmp_path / "more", tmp_path / "complete", **SMALL)
    shutil.copy(videos / "a/0.avi", tmp_path / "more/a/new.avi")
    with pytest.raises(UserError, match="holds an extraction with 10 videos, --input_path holds 11"):
        extract(tmp_path / "more", tmp_path / "complete", **SMALL)
    assert digests(tmp_path / "complete") == whole
    extract(videos, tmp_path / "complete", overwrite=True, **other)
    assert np.load(tmp_path / "complete" / "frames.npy").shape == (9, 4, 30, 24, 3)


def test_links_out_of_the_input_folder(videos, tmp_path):
    """Videos of other folders would enter a data set unseen, or a resumed run would mix both rules."""
    outside, inside, out = tmp_path / "outside", tmp_path / "inside", tmp_path / "out"
    (inside / "a").mkdir(parents=True)
    outside.mkdir()
    shutil.copy(videos / "a/0.avi", inside / "a" / "own.avi")
    shutil.copy(videos / "a/0.avi", outside / "other.avi")
    (inside / "a" / "link.avi").symlink_to(outside / "other.avi")
    (inside / "b").symlink_to(outside)
    extract(inside, out, **ONE_WORKER)
    assert np.load(out / "video_file_paths.npy").tolist() == ["a/own.avi"]
    assert (out / "skipped_videos.csv").read_text().splitlines() == [
        "path,reason",
        f"a/link.avi,{LEAVES}",
        f"b,{LEAVES}",
    ]
    with pytest.raises(UserError, match="holds an extraction with --follow_links False, asked for True"):
        extract(inside, out, follow_links=True, **ONE_WORKER)
    extract(inside, out, follow_links=True, overwrite=True, **ONE_WORKER)
    assert np.load(out / "video_file_paths.npy").tolist() == ["a/link.avi", "a/own.avi", "b/other.avi"]


def test_a_run_of_an_earlier_version_is_continued(videos, tmp_path, capsys):
    """Data sets written before a setting existed would have to be extracted again."""
    extract(videos, tmp_path / "out", **SMALL)
    path = tmp_path / "out" / "extraction.json"
    record = json.loads(path.read_text())
    for name in ADDED_SETTINGS:
        del record["settings"][name]
    path.write_text(json.dumps(record))
    extract(videos, tmp_path / "out", **SMALL)
    assert "is complete already" in capsys.readouterr().err


def test_arrays_from_elsewhere_are_not_replaced(videos, tmp_path):
    """A user's own frames.npy would be lost."""
    np.save(tmp_path / "frames.npy", np.zeros(3))
    with pytest.raises(UserError, match=r"found frames.npy of unknown origin; --overwrite replaces them"):
        extract(videos, tmp_path, **SMALL)
    assert np.load(tmp_path / "frames.npy").shape == (3,)


def test_a_second_run_at_the_same_time_is_refused(videos, tmp_path):
    """Two runs would write to the same file."""
    with (
        exclusive_lock(tmp_path / ".extraction.lock", what="it"),
        pytest.raises(UserError, match=r"--output_path: .* is in use by another run"),
    ):
        extract(videos, tmp_path, **SMALL)


DAMAGES = {
    "": "is not a JSON file",
    "[1]": "must be a JSON object, found [1]",
    "[" * 100_000: "must be nested at most 32 levels deep",
    "{}": "settings is missing",
    '{"settings": []}': "settings must be a JSON object, found []",
    '{"settings": {"videos": 1e999}}': "numbers must fit into 64-bit floats",
    '{"settings": {}, "summary": {"clips": -1}}': "summary.output_path is missing",
    '{"settings": {}, "sumary": {}}': "sumary is unknown, with the value {}",
}


@pytest.mark.parametrize("content", DAMAGES, ids=lambda content: content[:20])
def test_a_damaged_record_of_an_extraction_is_named_with_a_remedy(videos, tmp_path, content):
    """The command would end with a traceback, and --overwrite as well."""
    for folder, delete in (
        (tmp_path / "complete", tmp_path / "complete"),
        (tmp_path / "b", tmp_path / "b/.extraction"),
    ):
        delete.mkdir(parents=True)
        for name in ("frames.npy", "labels.npy", "video_file_paths.npy"):
            (delete / name).touch()
        (delete / "extraction.json").write_text(content)
        with pytest.raises(UserError) as error:
            extract(videos, folder, **SMALL)
        assert str(error.value).startswith(f"--output_path: {delete / 'extraction.json'}")
        assert DAMAGES[content] in str(error.value)
        assert str(error.value).endswith(f"; use --overwrite to start over, or delete {delete}")
        assert "\n" not in str(error.value)


def test_a_complete_record_without_summary_is_named(videos, tmp_path):
    """A record of an unfinished run that was copied to the arrays would cause a traceback."""
    for name in ("frames.npy", "labels.npy", "video_file_paths.npy"):
        (tmp_path / name).touch()
    (tmp_path / "extraction.json").write_text('{"settings": {}}')
    with pytest.raises(UserError, match=r"extraction\.json: summary is missing; use --overwrite to start over, or"):
        extract(videos, tmp_path, **SMALL)


def test_a_log_of_other_videos_is_refused(videos, tmp_path):
    """Clips would get the labels of other videos."""
    kill_at_class_b(videos, tmp_path)
    log = tmp_path / ".extraction" / "extraction_log.jsonl"
    log.write_text(log.read_text().replace("a/0.avi", "b/0.avi"))
    with pytest.raises(UserError, match=r"extraction_log\.jsonl must list the videos in their order, but lists others"):
        extract(videos, tmp_path, **SMALL)


@pytest.mark.parametrize(
    "line", ["[" * 100_000, '{"path": "a"}', '{"path": 1, "reason": null, "seconds": 1, "memory": 1}', "NaN", "[]"]
)
def test_a_damaged_line_of_the_log_is_dropped_or_named(videos, whole, tmp_path, line):
    """A resumed run would end with a traceback, and so would the report of a complete one."""
    kill_at_class_b(videos, tmp_path)
    log = tmp_path / ".extraction" / "extraction_log.jsonl"
    first, *_ = log.read_text().splitlines()
    log.write_text(f"{first}\n{line}\n")
    assert extract(videos, tmp_path, **SMALL).continued == 1
    assert digests(tmp_path) == whole
    (tmp_path / "extraction_log.jsonl").write_text(f"{first}\n{line}\n")
    with pytest.raises(UserError, match=r"^--output_path: .*extraction_log\.jsonl line 2") as error:
        DatasetReport.of_folder(tmp_path)
    assert "\n" not in str(error.value)
