"""Extraction of damaged videos: the run ends, intact videos are right, and the others have a reason."""

import json
import sys
from collections import Counter

import cv2
import numpy as np
import pytest

from benchmarks import fuzz_videos
from benchmarks.common import sampled_memory
from benchmarks.fuzz_videos import SIZE, faults, make_videos, planted_faults_missed
from utils.base.devices import memory_of_tree
from utils.video.extract import extract

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    paths = []
    for codec, suffix in (("MJPG", ".avi"), ("FMP4", ".avi"), ("mp4v", ".mp4")):
        paths.append(folder / f"{codec}{suffix}")
        writer = cv2.VideoWriter(str(paths[-1]), cv2.VideoWriter_fourcc(*codec), 25, (80, 60))
        for k in range(20):
            writer.write(np.roll(noise, 2 * k, axis=1))
        writer.release()
    return paths


def test_damaged_videos_are_skipped_with_a_reason(sources, tmp_path):
    """A data set from the internet could end the run, make it hang, or use all memory."""
    videos = make_videos(tmp_path / "videos", sources, 40, seed="3")
    assert len(Counter(video.kind for video in videos)) >= 9  # most kinds of damage occur
    own_memory = memory_of_tree()  # other tests may have loaded TensorFlow
    with sampled_memory() as memory:
        summary = extract(tmp_path / "videos", tmp_path / "out", video_timeout=20, workers=2, **SIZE)
    assert summary.clips + summary.skipped == 40
    assert faults(videos, tmp_path / "out") == {}
    assert max(memory) < own_memory + 800


def test_planted_faults_are_found(sources):
    """The test above would pass whatever the extraction writes."""
    assert planted_faults_missed(sources, 20) == []


def test_missed_faults_are_reported(sources, monkeypatch):
    """A check that finds nothing would be trusted."""
    monkeypatch.setattr(fuzz_videos, "faults", lambda videos, output: {})
    assert planted_faults_missed(sources, 20) == ["flip_a_bit", "drop_reasons", "swap_rows"]


def test_an_interrupted_run_is_continued(sources, tmp_path, monkeypatch, capsys):
    """A run of hours would start over, or count files twice."""
    folder = tmp_path / "videos" / "a"
    folder.mkdir(parents=True)
    for path in sources:
        (folder / path.name).write_bytes(path.read_bytes())
    command = ["fuzz_videos.py", "--input_path", str(tmp_path / "videos"), "--output_path", str(tmp_path / "out")]
    command += ["--part", "12", "--memory_limit", "100000", "--files"]
    read = []

    def counted(part, *arguments):
        read.append(part)
        return run_part(*arguments)

    run_part = fuzz_videos.run_part
    monkeypatch.setattr(fuzz_videos, "run_part", lambda *arguments: counted(arguments[2], *arguments))
    for files, parts in ((20, ["0-0", "0-1"]), (30, ["0-1", "0-2"]), (30, [])):
        read.clear()
        monkeypatch.setattr(sys, "argv", [*command, str(files)])
        assert fuzz_videos.main() == 0
        result = json.loads(capsys.readouterr().out)
        assert result["files"] == result["rows"] + result["skipped"] == sum(result["kinds"].values()) == files
        assert read == parts
    monkeypatch.setattr(sys, "argv", [*command, "30", "--seed", "1"])
    with pytest.raises(SystemExit):
        fuzz_videos.main()
    assert "holds a run with" in capsys.readouterr().err
