"""Videos are found in the folder layouts of the published data sets."""

import os

import pytest

from utils.base.errors import UserError
from utils.video.discovery import LEAVES, FoundVideo, find_videos, videos_below

NO_VIDEOS = "is a class folder without videos"


def make_files(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def paths_found(folder):
    return [video.path for video in find_videos(folder) if video.problem is None]


def test_published_layouts(tmp_path):
    """A user would have to rearrange the files of a published data set."""
    make_files(
        tmp_path,
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi",  # UCF101, UCF50
        "basketball/v_shooting_01/v_shooting_01_01.mpg",  # UCF11
        "basketball/Annotation/v_shooting_01_01.xgtf",
        "basketball/Annotation/preview.avi",
        "shoot_bow/6arrows!!!_(HQ)_f_nm_np1_fr_med_3.AVI",  # HMDB51
    )
    assert paths_found(tmp_path) == [
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi",
        "basketball/v_shooting_01/v_shooting_01_01.mpg",
        "shoot_bow/6arrows!!!_(HQ)_f_nm_np1_fr_med_3.AVI",
    ]


def test_other_files_are_ignored(tmp_path):
    """Thumbnails and text files would fill the list of skipped videos."""
    make_files(tmp_path, "a/1.avi", "a/Thumbs.db", "a/._1.avi", "a/.cache/2.avi", "a/readme.txt", ".git/3.avi", "b/no")
    assert find_videos(tmp_path) == [FoundVideo("a/1.avi"), FoundVideo("b", NO_VIDEOS)]


def test_videos_are_sorted_by_path(tmp_path):
    """The order of rows, and with it the split, would depend on the file system."""
    make_files(tmp_path, "b/1.avi", "a/c/1.avi", "a/c.avi", "a b/1.avi", "a/B.avi", "a/a.avi")
    found = paths_found(tmp_path)
    assert found == sorted(found)
    assert found == ["a b/1.avi", "a/B.avi", "a/a.avi", "a/c.avi", "a/c/1.avi", "b/1.avi"]


def test_a_video_without_a_class_is_reported(tmp_path):
    """The video would be silently ignored."""
    make_files(tmp_path, "stray.mp4", "a/1.avi", "notes.txt")
    first, second = find_videos(tmp_path)
    assert first == FoundVideo("a/1.avi")
    assert second == FoundVideo("stray.mp4", "lies directly in the input folder, so it has no class")


def make_links(folder):
    """Create `store` and, next to it, `input` with links into itself, into `store`, in loops and to nothing."""
    make_files(folder, "store/x/1.avi", "store/secret.avi", "input/a/2.avi", "input/a/x/3.avi", "input2/4.avi")
    for link, target in {
        "input/self": "input/self",
        "input/b": "store",
        "input/c": "input/a/x",
        "input/a/up": "input",
        "input/a/self": "input/a/self",
        "input/a/twin.avi": "input/a/2.avi",
        "input/a/file.avi": "store/secret.avi",
        "input/a/hop.avi": "input/a/file.avi",
        "input/a/folder": "store/x",
        "input/a/notes.txt": "store/secret.avi",
        "input/a/prefix": "input2",  # its name starts like that of the input folder
        "store/x/again": "store/x",
        "store/also": "store/x",
    }.items():
        (folder / link).symlink_to(folder / target)
    (folder / "input/a/relative.avi").symlink_to("../../store/x/1.avi")
    return folder / "input"


def test_links_out_of_the_input_folder_are_not_followed(tmp_path):
    """An unpacked archive could put any file of the machine, such as a private video, into a data set."""
    found = find_videos(make_links(tmp_path))
    problems = {video.path: video.problem for video in found}
    left_out = ("a/file.avi", "a/folder", "a/hop.avi", "a/prefix", "a/relative.avi", "b")
    # Links inside the input folder are followed; loops of links end.
    followed = ("a/2.avi", "a/twin.avi", "a/x/3.avi", "c/3.avi")
    assert problems == dict.fromkeys(followed) | dict.fromkeys(left_out, LEAVES)


def test_links_are_followed_on_request(tmp_path):
    """Data sets made of symbolic links would not be found, or a loop of links would be searched forever."""
    found = find_videos(make_links(tmp_path), follow_links=True)
    assert {video.problem for video in found} == {None}
    paths = [video.path for video in found]
    assert {"a/file.avi", "a/folder/1.avi", "a/hop.avi", "a/prefix/4.avi", "a/relative.avi"} < set(paths)
    assert sum(path.startswith("b/") for path in paths) == 2  # store/secret.avi, and store/x/1.avi once


def test_an_input_folder_that_is_a_link(tmp_path):
    """A data set on another disk, reached by one link, would be skipped as a whole."""
    make_files(tmp_path, "store/a/1.avi")
    (tmp_path / "input").symlink_to(tmp_path / "store")
    assert find_videos(tmp_path / "input") == [FoundVideo("a/1.avi")]


def test_a_folder_named_like_a_video(tmp_path):
    """The video in a folder such as `clip.mp4/clip.mp4` would be lost, or an empty folder not reported."""
    make_files(tmp_path, "a/clip.mp4/clip.mp4")
    (tmp_path / "a/hollow.avi").mkdir()
    assert find_videos(tmp_path) == [
        FoundVideo("a/clip.mp4/clip.mp4"),
        FoundVideo("a/hollow.avi", "is a folder without videos"),
    ]


def test_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    """A whole class would be silently missing."""
    make_files(tmp_path, "a/1.avi", "b/2.avi")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert find_videos(tmp_path)[1] == FoundVideo("b", "is a folder that cannot be listed: Permission denied")
    with pytest.raises(UserError, match=r"--input_path: .*/b cannot be listed: Permission denied"):
        find_videos(tmp_path / "b")


def test_suffixes_and_first_bytes(tmp_path):
    """Recordings of cameras and broadcasters would be missing without a word."""
    names = ["1.mxf", "2.M2V", "3.dv", "4.f4v", "5.3g2", "6.ps", "7.mod", "8.tod", "9.qt", "a.mpe", "b.m2t", "c.rmvb"]
    make_files(tmp_path, *(f"a/{name}" for name in names))
    heads = {
        "d": b"\0\0\0\x20ftypisom",
        "e.bin": b"RIFF\0\0\0\0AVI LIST",
        "f.part": b"\x1aE\xdf\xa3",
        "g.rec": b"G" * 200,
    }
    for name, head in heads.items():
        (tmp_path / "a" / name).write_bytes(head)
    (tmp_path / "a" / "sound.wav").write_bytes(b"RIFF\0\0\0\0WAVE")
    assert paths_found(tmp_path) == [f"a/{name}" for name in [*names, *heads]]


def test_classes_without_videos_are_reported(tmp_path):
    """A class would be missing, and only the number of classes would say so."""
    make_files(
        tmp_path, "a/1.avi", "b/notes.txt", "c/x/y/notes.txt", "d/1.jpg", "d/2.jpg", "e/album/me.png", "e/album/you.png"
    )
    problems = {video.path: video.problem for video in find_videos(tmp_path)}
    assert problems == {
        "a/1.avi": None,
        "b": NO_VIDEOS,
        "c": NO_VIDEOS,
        "d": "holds 2 pictures; the frames of a clip need a folder of their own below the class",
        "e/album": "holds 2 pictures that are not numbered as the frames of one clip",
    }


def test_folders_of_numbered_pictures_are_clips(tmp_path):
    """Data sets that are distributed as frames, such as Jester and Something-Something, could not be read."""
    make_files(tmp_path, *(f"a/17/{number:05}.jpg" for number in range(1, 4)), "a/x.avi", "a/cover.jpg")
    make_files(
        tmp_path, *(f"b/c1/{kind}_{number}.png" for kind in ("img", "flow_x", "flow_y") for number in (8, 9, 10))
    )
    assert find_videos(tmp_path) == [FoundVideo("a/17"), FoundVideo("a/x.avi"), FoundVideo("b/c1")]
    assert [video.path for video in videos_below(tmp_path / "b")] == [str(tmp_path / "b/c1")]
    assert [video.path for video in videos_below(tmp_path / "b/c1")] == [str(tmp_path / "b/c1")]


def test_folders_of_sets(tmp_path):
    """The classes would be test, train and val."""
    make_files(tmp_path, "train/run/1.avi", "train/run/2.avi", "Val/run/3.avi", "test/run/1.avi", "test/walk/x/4.avi")
    found = {video.path: video.below for video in find_videos(tmp_path)}
    assert found == {
        "run/Val/3.avi": "Val/run/3.avi",
        "run/test/1.avi": "test/run/1.avi",
        "run/train/1.avi": "train/run/1.avi",
        "run/train/2.avi": "train/run/2.avi",
        "walk/test/x/4.avi": "test/walk/x/4.avi",
    }


def test_classes_that_are_named_like_sets(tmp_path):
    """Classes called test and train, such as of people who train, would be taken for sets."""
    make_files(tmp_path, "train/1.avi", "test/2.avi")
    assert paths_found(tmp_path) == ["test/2.avi", "train/1.avi"]
    make_files(tmp_path, "jump/3.avi", "train/run/4.avi", "test/run/5.avi")
    assert paths_found(tmp_path) == ["jump/3.avi", "test/2.avi", "test/run/5.avi", "train/1.avi", "train/run/4.avi"]


def test_unicode_forms_of_a_class_are_one_class(tmp_path):
    """A data set that was unpacked on two systems would have each accented class twice."""
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    make_files(tmp_path, f"{composed}/1.avi", f"{decomposed}/1.avi", f"{decomposed}/2.avi")
    first, twin, other = find_videos(tmp_path)
    assert (first, other) == (
        FoundVideo(f"{composed}/1.avi", None, f"{decomposed}/1.avi"),
        FoundVideo(f"{composed}/2.avi", None, f"{decomposed}/2.avi"),
    )
    assert (twin.path, twin.below) == (f"{composed}/1.avi", f"{composed}/1.avi")
    assert twin.problem.startswith("has the path of another video")
