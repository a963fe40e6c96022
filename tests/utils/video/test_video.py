"""Clips equal evenly spaced frames of a plain sequential decode, even if the header is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.utils.video.small_videos import claim_frames
from utils.video.video import (
    VideoError,
    frame_numbers,
    read_clip,
    read_clip_and_info,
    sampled_indices,
    stored_frame,
)

ROOT = Path(__file__).parents[3]


def plain_decode(path):
    """Return every frame of a video, read by OpenCV alone: a list of (H, W, 3), BGR."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        read, frame = capture.read()
        if not read:
            return frames
        frames.append(frame)


def plain_clip(path, frame_count, length, height, width):
    """Return the frames with numbers k * max(frame_count // length, 1) of a plain decode, resized, RGB."""
    frames = plain_decode(path)
    step = max(frame_count // length, 1)
    return np.stack([cv2.resize(frames[k * step], (width, height))[..., ::-1] for k in range(length)])


def write_video(path, frame_count, height=36, width=48, codec="MJPG"):
    """Write a video whose frame k has grey level 4k (mod 256) and a red left quarter."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, (width, height))
    for k in range(frame_count):
        frame = np.full((height, width, 3), 4 * k % 256, np.uint8)
        frame[:, : width // 4] = (0, 0, 255)
        writer.write(frame)
    writer.release()
    return path


@pytest.mark.parametrize(
    ("frame_count", "length", "expected"),
    [
        (16, 16, range(16)),
        (31, 16, range(16)),
        (32, 16, range(0, 32, 2)),
        (100, 4, (0, 25, 50, 75)),
        (7, 1, (0,)),
    ],
)
def test_sampled_indices(frame_count, length, expected):
    """The frames would differ from those of the published pipeline, and accuracies would not be comparable."""
    indices = sampled_indices(frame_count, length)
    assert indices.dtype == np.int64
    assert indices.tolist() == list(expected)


def test_sampled_indices_of_too_short_a_video():
    """Frames of a short video would be repeated or out of range."""
    with pytest.raises(ValueError, match="at least sequence_length 16, got 15"):
        sampled_indices(15, 16)


@pytest.mark.parametrize(
    ("frame_count", "repeated", "held"),
    [
        (1, [0] * 7, [0] * 7),
        (3, [0, 1, 2, 0, 1, 2, 0], [0, 1, 2, 2, 2, 2, 2]),
        (6, [0, 1, 2, 3, 4, 5, 0], [0, 1, 2, 3, 4, 5, 5]),
    ],
)
def test_frames_of_short_videos(frame_count, repeated, held):
    """Short videos would be filled up otherwise than documented, or with frames that do not exist."""
    assert frame_numbers(frame_count, 7, "repeat").tolist() == repeated
    assert frame_numbers(frame_count, 7, "hold").tolist() == held
    with pytest.raises(VideoError, match=rf"^has {frame_count} frames?, fewer than the 7 wanted$"):
        frame_numbers(frame_count, 7)


@pytest.mark.parametrize("short_videos", ["skip", "repeat", "hold"])
def test_long_videos_do_not_depend_on_short_ones(short_videos):
    """The option would change the frames of ordinary videos."""
    for frame_count in (7, 8, 30):
        expected = sampled_indices(frame_count, 7).tolist()
        assert frame_numbers(frame_count, 7, short_videos).tolist() == expected


@pytest.mark.parametrize(("short_videos", "numbers"), [("repeat", [0, 1, 2, 0, 1]), ("hold", [0, 1, 2, 2, 2])])
@pytest.mark.parametrize("claimed", [3, 0, 9])
def test_a_short_video_is_filled_up(tmp_path, short_videos, numbers, claimed):
    """The clip would hold other frames, in particular if the header states a wrong number of frames."""
    path = claim_frames(write_video(tmp_path / "a.avi", 3), claimed)
    size = {"sequence_length": 5, "frame_height": 36, "frame_width": 48}
    clip, info = read_clip_and_info(path, (5, 36, 48, 3), short_videos)
    frames = plain_decode(path)
    np.testing.assert_array_equal(clip, np.stack([frames[number][..., ::-1] for number in numbers]))
    assert (info.frame_count, info.height, info.width) == (3, 36, 48)
    np.testing.assert_array_equal(read_clip(path, **size, short_videos=short_videos), clip)
    with pytest.raises(VideoError, match="has 3 frames, fewer than the 5 wanted"):
        read_clip(path, **size)


def test_height_width_and_channels_keep_their_places(tmp_path):
    """Networks would be trained on frames with swapped sides or colours."""
    clip = read_clip(write_video(tmp_path / "a.avi", 12), sequence_length=4, frame_height=20, frame_width=60)
    assert clip.shape == (4, 20, 60, 3)
    assert clip.dtype == np.uint8
    red_edge, grey = clip[:, :, :10].mean((1, 2)), clip[:, :, 30:].mean((1, 2))
    assert np.all(red_edge[:, 0] > 230)
    assert np.all(red_edge[:, 2] < 25)
    np.testing.assert_allclose(grey, np.array([0, 12, 24, 36])[:, None] * np.ones(3), atol=3)


def test_real_clips_equal_a_plain_sequential_decode(shared_data):
    """Skipping frames without decoding them would change the decoded frames."""
    folders = ("weizmann/walk", "weizmann/bend", "ucf11/basketball/v_shooting_01", "ucf11/diving/v_diving_01")
    paths = [sorted((shared_data / folder).iterdir())[0] for folder in folders]
    for path in (*paths, *sorted((shared_data / "clips" / "ucf101").iterdir())):
        frame_count = len(plain_decode(path))
        clip = read_clip(path, sequence_length=16, frame_height=144, frame_width=160)
        np.testing.assert_array_equal(clip, plain_clip(path, frame_count, 16, 144, 160), err_msg=str(path))


def bad_files(folder):
    """Create files that yield no clip of 16 frames; return the reason for each."""
    short = write_video(folder / "short.avi", 15)
    single = write_video(folder / "single.avi", 1)
    text = folder / "text.avi"
    text.write_text("no video")
    header_alone = folder / "header.avi"
    header_alone.write_bytes(short.read_bytes()[:200])
    (folder / "empty.avi").touch()
    (folder / "folder.avi").mkdir()
    (folder / "dangling.avi").symlink_to(folder / "nowhere")
    (folder / "loop.avi").symlink_to(folder / "loop.avi")
    os.mkfifo(folder / "pipe.avi")
    latin = folder / os.fsdecode(b"caf\xe9.avi")
    latin.write_bytes(short.read_bytes())
    return {
        short: "has 15 frames, fewer than the 16 wanted",
        single: "has 1 frame, fewer than the 16 wanted",
        text: "is a text file, such as a playlist, not a video",
        header_alone: "cannot be opened as a video",
        folder / "empty.avi": "is empty",
        folder / "folder.avi": "is a folder, but not of pictures that are numbered as the frames of one clip",
        folder / "pipe.avi": "is not a regular file",
        folder / "dangling.avi": "cannot be reached: No such file or directory",
        folder / "loop.avi": "cannot be reached: Too many levels of symbolic links",
        folder / "absent.avi": "cannot be reached: No such file or directory",
        latin: "has a name that is not valid UTF-8",
    }


def test_each_bad_file_has_its_reason(tmp_path):
    """A user could not tell a missing file from a short clip, or a pipe would block forever."""
    for path, reason in bad_files(tmp_path).items():
        with pytest.raises(VideoError) as raised:
            read_clip(path, sequence_length=16, frame_height=24, frame_width=24)
        assert str(raised.value) == reason, path


def test_damaged_files_say_nothing_on_stderr(shared_data):
    """Messages of FFmpeg would break the progress bar and hide the reason for skipping a video."""
    path = shared_data / "odd" / "decord" / "corrupted.mp4"
    code = (
        "from utils.video.video import read_clip\n"
        f"print(read_clip({str(path)!r}, sequence_length=16, frame_height=24, frame_width=24).shape)"
    )
    # In a new process, because FFmpeg's log level is set when a process opens its first video.
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    assert (done.stdout, done.stderr) == ("(16, 24, 24, 3)\n", "")


def test_strong_shrinking_averages_areas():
    """A video of high resolution would flicker with details that are lost at its size, unlike the same one in low."""
    fine = np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8)
    blocks = fine.reshape(24, 10, 32, 10, 3).mean(axis=(1, 3))
    assert np.abs(stored_frame(fine, height=24, width=32)[..., ::-1] - blocks).max() <= 1
    bilinear = cv2.cvtColor(cv2.resize(fine, (32, 24)), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(stored_frame(fine, height=24, width=32, shrinking="bilinear"), bilinear)
    for height, width in ((120, 160), (224, 224), (480, 200), (500, 640)):  # by a factor of at most 2, or enlarged
        expected = cv2.cvtColor(cv2.resize(fine, (width, height)), cv2.COLOR_BGR2RGB)
        np.testing.assert_array_equal(stored_frame(fine, height=height, width=width), expected)
    flat = stored_frame(fine, height=480, width=32)  # one side is enlarged
    columns = np.repeat(fine.reshape(240, 32, 10, 3).mean(axis=2), 2, axis=0)[..., ::-1]
    assert np.abs(flat[1::4] - columns[1::4]).mean() < 20
