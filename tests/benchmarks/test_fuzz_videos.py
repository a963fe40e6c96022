"""Extraction of damaged videos: the run ends, intact videos are right, and the others have a reason."""

from collections import Counter

import cv2
import numpy as np
import pytest

from benchmarks.common import sampled_memory
from benchmarks.fuzz_videos import SIZE, faults, make_videos
from utils.extraction.extract import extract
from utils.runtime.devices import memory_of_tree

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
    videos = make_videos(tmp_path / "videos", sources, 40, seed=3)
    assert len(Counter(video.kind for video in videos)) >= 9  # most kinds of damage occur
    own_memory = memory_of_tree()  # other tests may have loaded TensorFlow
    with sampled_memory() as memory:
        summary = extract(tmp_path / "videos", tmp_path / "out", video_timeout=20, workers=2, **SIZE)
    assert summary.clips + summary.skipped == 40
    assert faults(videos, tmp_path / "out") == []
    assert max(memory) < own_memory + 800


def test_wrong_frames_and_missing_reasons_are_found(sources, tmp_path):
    """The test above would pass whatever the extraction writes."""
    videos = make_videos(tmp_path / "videos", sources, 30, seed=4)
    extract(tmp_path / "videos", tmp_path / "out", workers=2, **SIZE)
    frames = np.load(tmp_path / "out" / "frames.npy")
    np.save(tmp_path / "out" / "frames.npy", frames ^ 1)
    copies = sum(video.origin is not None for video in videos)
    assert sum("must equal its origin" in fault for fault in faults(videos, tmp_path / "out")) == copies > 0
    (tmp_path / "out" / "skipped_videos.csv").write_text("path,reason\n")
    assert any("must be a row or have a reason" in fault for fault in faults(videos, tmp_path / "out"))
