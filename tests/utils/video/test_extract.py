"""The arrays hold every readable video in sorted order; the tables list skipped videos and timings."""

import csv

import numpy as np
import pytest

from tests.utils.video.small_videos import write_video
from utils.base.errors import UserError
from utils.base.machine import memory_of_tree
from utils.video.extract import extract
from utils.video.video import read_clip

SMALL = {"sequence_length": 4, "frame_height": 20, "frame_width": 24}


def read_table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.fixture
def videos(tmp_path):
    """Two classes with clips, a class whose only video is too short, a broken video and a video without class."""
    folder = tmp_path / "videos"
    write_video(folder / "walk" / "g1" / "b.avi", 8, level=40)
    write_video(folder / "walk" / "a.avi", 9, level=80)
    write_video(folder / "bend" / "z.avi", 12, level=120)
    write_video(folder / "jump" / "short.avi", 3)
    (folder / "bend" / "broken.avi").write_text("no video")
    write_video(folder / "stray.avi", 8)
    return folder


def test_arrays_hold_the_readable_videos_in_sorted_order(videos, tmp_path):
    """Clips would silently have the labels of other clips."""
    summary = extract(videos, tmp_path / "new" / "out", **SMALL)
    frames = np.load(tmp_path / "new/out/frames.npy", allow_pickle=False, mmap_mode="r")
    labels = np.load(tmp_path / "new/out/labels.npy", allow_pickle=False)
    paths = np.load(tmp_path / "new/out/video_file_paths.npy", allow_pickle=False)
    assert paths.tolist() == ["bend/z.avi", "walk/a.avi", "walk/g1/b.avi"]
    assert paths.dtype.kind == "U"
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 1, 1]  # jump has no clip, so it gets no label
    assert frames.shape == (3, 4, 20, 24, 3)
    assert frames.dtype == np.uint8
    for row, path in zip(frames, paths):
        np.testing.assert_array_equal(row, read_clip(videos / path, **SMALL))
    assert summary.classes == ("bend", "walk")
    assert (summary.clips, summary.skipped) == (3, 3)


def test_skipped_videos_have_their_reasons(videos, tmp_path):
    """A user could not find out which videos are missing and why."""
    extract(videos, tmp_path / "out", **SMALL)
    assert read_table(tmp_path / "out" / "skipped_videos.csv") == [
        ["path", "reason"],
        ["bend/broken.avi", "is a text file, such as a playlist, not a video"],
        ["jump/short.avi", "has 3 frames, fewer than the 4 wanted"],
        ["stray.avi", "lies directly in the input folder, so it has no class"],
    ]


def test_skipped_videos_table_is_written_even_if_empty(videos, tmp_path):
    """A script that reads the table would fail for data sets without skipped videos."""
    for bad in ("bend/broken.avi", "jump/short.avi", "stray.avi"):
        (videos / bad).unlink()
    (videos / "jump").rmdir()
    extract(videos, tmp_path / "out", **SMALL)
    assert read_table(tmp_path / "out" / "skipped_videos.csv") == [["path", "reason"]]


@pytest.mark.parametrize("short_videos", ["repeat", "hold"])
def test_short_videos_are_filled_up_on_request(videos, tmp_path, short_videos):
    """A user could not tell filled-up clips from others, or a resumed run would mix both kinds."""
    summary = extract(videos, tmp_path / "out", **SMALL, short_videos=short_videos)
    paths = np.load(tmp_path / "out" / "video_file_paths.npy").tolist()
    assert paths == ["bend/z.avi", "jump/short.avi", "walk/a.avi", "walk/g1/b.avi"]
    frames = np.load(tmp_path / "out" / "frames.npy")
    last = {"repeat": 0, "hold": 2}[short_videos]
    np.testing.assert_array_equal(frames[1][3], frames[1][last])
    assert len(np.unique(frames[1].reshape(4, -1), axis=0)) == 3
    assert read_table(tmp_path / "out" / "short_videos.csv") == [
        ["path", "frames", "filled_by"],
        ["jump/short.avi", "3", short_videos],
    ]
    assert summary.short == 1
    assert f"(1 with repeated frames, see {tmp_path / 'out' / 'short_videos.csv'})" in str(summary)
    with pytest.raises(UserError, match=f"with --short_videos {short_videos}, asked for skip"):
        extract(videos, tmp_path / "out", **SMALL)
    extract(videos, tmp_path / "out", **SMALL, overwrite=True)
    assert not (tmp_path / "out" / "short_videos.csv").exists()
    assert np.load(tmp_path / "out" / "labels.npy").tolist() == [0, 1, 1]


def test_timing_table_and_summary(videos, tmp_path):
    """Time and memory could not be compared with the table of the original work."""
    (videos / "stray.avi").unlink()  # its time would be in no class
    own_memory = memory_of_tree()  # large if other tests have imported TensorFlow
    summary = extract(videos, tmp_path / "out", **SMALL)
    header, *rows = read_table(tmp_path / "out" / "Format_Time.csv")
    assert header == ["Step", "Time", "Memory"]
    assert [row[0] for row in rows] == ["bend", "jump", "walk", "Save", "Runtime"]
    seconds = [float(row[1]) for row in rows]
    assert sum(seconds[:-1]) == pytest.approx(seconds[-1], abs=0.01)
    assert all(10 < float(row[2]) < own_memory + 500 for row in rows)
    text = (tmp_path / "out" / "Format_Time_Summary.txt").read_text()
    assert text == f"{summary}\n"
    assert "Videos read: 3 in 2 classes" in text
    assert "Videos skipped: 2" in text


def test_without_a_readable_video_extraction_fails(videos, tmp_path):
    """An empty frames.npy would fail two stages later with an error about shapes."""
    with pytest.raises(UserError, match=r"none of the 6 videos below .* could be read, e\.g\. bend/broken.avi: is a"):
        extract(videos, tmp_path / "out", sequence_length=100, frame_height=20, frame_width=24)
    assert not (tmp_path / "out" / "frames.npy").exists()
    assert len(read_table(tmp_path / "out" / "skipped_videos.csv")) == 7
    (tmp_path / "hollow").mkdir()
    with pytest.raises(UserError, match=r"--input_path: .*hollow must hold class folders of videos, found no video"):
        extract(tmp_path / "hollow", tmp_path / "out", **SMALL)


def test_a_run_killed_while_saving_leaves_no_temporary_file(videos, tmp_path, monkeypatch):
    """Incomplete hidden files would be published with the arrays."""

    def killed(folder, *arguments):
        (folder / ".Format_Time.7.partial.csv").touch()
        raise OSError("killed")

    monkeypatch.setattr("utils.video.extract.write_times", killed)
    with pytest.raises(UserError, match="cannot be written: killed"):
        extract(videos, tmp_path / "out", **SMALL)
    monkeypatch.undo()
    extract(videos, tmp_path / "out", **SMALL)
    assert not list((tmp_path / "out").rglob("*.partial.*"))


# Unusual real videos, and the reason for skipping them at 16 frames; None: the video has a row.
ODD_VIDEOS = {
    "decord/corrupted.mp4": None,  # one of its 50 packets cannot be decoded
    "decord/unordered.mov": "has 4 frames, fewer than the 16 wanted",
    "decord/video_0.mov": "has 3 frames, fewer than the 16 wanted",
    "decord/video_180.mov": "has 3 frames, fewer than the 16 wanted",
    "decord/video_270.mov": "has 3 frames, fewer than the 16 wanted",
    "decord/video_90.mov": "has 3 frames, fewer than the 16 wanted",
    "imageio/cockatoo.mp4": None,  # 280 frames of 1280x720, in order
    "imageio/imageio_issue245.gif": "has 1 frame, fewer than the 16 wanted",
    "imageio/newtonscradle.gif": None,  # an animated GIF of 36 frames
    "imageio/realshort.mp4": None,  # 36 frames, in order
}


def test_unusual_real_videos(shared_data, tmp_path):
    """One unusual file would end the run after hours."""
    extract(shared_data / "odd", tmp_path, sequence_length=16, frame_height=32, frame_width=32)
    rows = np.load(tmp_path / "video_file_paths.npy").tolist()
    assert rows == [path for path, reason in ODD_VIDEOS.items() if reason is None]
    skipped = read_table(tmp_path / "skipped_videos.csv")[1:]
    assert skipped == [[path, reason] for path, reason in ODD_VIDEOS.items() if reason is not None]


def test_real_clips_of_published_data_sets_are_read(shared_data, tmp_path):
    """Clips of HMDB51 and UCF101 would be skipped because of their names or wrong frame counts."""
    summary = extract(shared_data / "clips", tmp_path, sequence_length=16, frame_height=32, frame_width=32)
    assert (summary.clips, summary.skipped) == (10, 0)
    assert summary.classes == ("hmdb51", "ucf101")
