"""Fixtures of extractions that are interrupted or continued."""

import pytest

from benchmarks.kills import digests
from tests.utils.video.small_videos import ONE_WORKER, write_classes
from utils.video.extract import extract


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder of two classes with five videos each; one video is too short."""
    return write_classes(tmp_path_factory.mktemp("videos"), 10)


@pytest.fixture(scope="module")
def whole(videos, tmp_path_factory):
    """The digests of the files of an uninterrupted run with one worker."""
    output = tmp_path_factory.mktemp("whole")
    extract(videos, output, **ONE_WORKER)
    return digests(output)
