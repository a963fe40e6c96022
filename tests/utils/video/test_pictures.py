"""Folders of numbered pictures are read as clips."""

import cv2
import numpy as np
import pytest

from tests.utils.video.numbered import UPRIGHT, corners_in, numbered_frame, numbers_in
from utils.prediction.frames import frames_of
from utils.video.containers import VideoError
from utils.video.extract import extract
from utils.video.video import read_clip_and_info

SHAPE = (4, 96, 160, 3)


def write_pictures(folder, numbers, name="{:05}.png"):
    """Write frame k of a numbered video as the picture with the k-th number."""
    folder.mkdir(parents=True)
    for k, number in enumerate(numbers):
        cv2.imwrite(str(folder / name.format(number)), numbered_frame(k)[..., ::-1])
    return folder


@pytest.mark.parametrize("name", ["{:05}.png", "{}.jpg", "img_{:04}.jpeg"])
@pytest.mark.parametrize("first", [0, 1, 95])
def test_pictures_are_frames_in_the_order_of_their_numbers(tmp_path, name, first):
    """Frame 10 would come before frame 9, or a clip be skipped."""
    folder = write_pictures(tmp_path / "clip", range(first, first + 12), name)
    clip, info = read_clip_and_info(folder, SHAPE)
    assert numbers_in(clip) == [0, 3, 6, 9]
    assert corners_in(clip[0]) == UPRIGHT
    assert (info.frame_count, info.height, info.width, info.frame_rate, info.note) == (12, 96, 160, 0.0, None)
    with frames_of(folder) as frames:
        found = [(seconds, retrieve()[..., ::-1]) for seconds, retrieve in frames]
    assert numbers_in(np.stack([frame for _, frame in found])) == list(range(12))
    assert [seconds for seconds, _ in found] == [k / 25 for k in range(12)]


def test_notes_and_reasons(tmp_path):
    """Missing or damaged pictures would go unnoticed, or end the extraction."""
    folder = write_pictures(tmp_path / "every_fifth", range(0, 40, 5))
    assert read_clip_and_info(folder, SHAPE)[1].note is None
    folder = write_pictures(tmp_path / "gap", [1, 2, 3, 4, 9, 10])
    assert read_clip_and_info(folder, SHAPE)[1].note == "breaks off: some numbers of its pictures are missing"
    (folder / "00002.png").write_bytes(b"no picture")
    with pytest.raises(VideoError, match=r"^picture 00002\.png cannot be decoded$"):
        read_clip_and_info(folder, SHAPE)
    with pytest.raises(VideoError, match="has 3 frames, fewer than the 4 wanted"):
        read_clip_and_info(write_pictures(tmp_path / "short", range(3)), SHAPE)
    (tmp_path / "none").mkdir()
    with pytest.raises(VideoError, match="is a folder, but not of pictures that are numbered"):
        read_clip_and_info(tmp_path / "none", SHAPE)


def test_an_extraction_of_folders_of_sets(tmp_path, capsys):
    """Frames would be read from other files than their paths name, or a lost class go unmentioned."""
    for name in ("train/a", "test/a", "test/b"):
        write_pictures(tmp_path / "videos" / name / "clip", range(8))
    (tmp_path / "videos/train/empty").mkdir()
    summary = extract(
        tmp_path / "videos", tmp_path / "out", sequence_length=4, frame_height=96, frame_width=160, workers=1
    )
    assert np.load(tmp_path / "out/video_file_paths.npy").tolist() == ["a/test/clip", "a/train/clip", "b/test/clip"]
    assert [numbers_in(clip) for clip in np.load(tmp_path / "out/frames.npy")] == [[0, 2, 4, 6]] * 3
    assert "Classes without clips: empty\n" in str(summary)
    assert "note: empty/train is a class folder without videos\n" in capsys.readouterr().err
