"""What a folder of an earlier or unfinished extraction holds is kept, continued or refused, never mixed up."""

import shutil

import numpy as np
import pytest

from benchmarks.kills import digests
from tests.utils.video.small_videos import ONE_WORKER, SMALL, kill_at_class_b
from utils.base.errors import UserError
from utils.base.locks import exclusive_lock
from utils.video.dataset_report import DatasetReport
from utils.video.discovery import LEAVES
from utils.video.extract import extract


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
    "[" * 100_000: "is not a JSON file: recursion limit exceeded at line 1 column 202;",
    "{}": "settings is missing",
    '{"settings": []}': "settings must be a JSON object, found []",
    '{"settings": {"videos": 1e999}}': (
        "settings.videos must be a valid boolean or a valid integer or a valid string, found inf;"
    ),
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
