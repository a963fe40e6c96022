"""The overview page of a data set."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from utils.video.dataset_report import DatasetReport, write_dataset_report
from utils.video.extract import extract

pytestmark = pytest.mark.draws


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    """Two classes with UCF101 names, two groups and one group; one clip of another size and one short video."""
    folder, output = tmp_path_factory.mktemp("videos"), tmp_path_factory.mktemp("out")
    clips = {"Run/v_Run_g01_c01": 8, "Run/v_Run_g01_c02": 9, "Run/v_Run_g02_c01": 12, "Walk/v_Walk_g01_c01": 8}
    for number, (name, frame_count) in enumerate((clips | {"Walk/v_Walk_g09_c01": 2}).items()):
        path = folder / f"{name}.avi"
        path.parent.mkdir(exist_ok=True)
        width = 64 if number == 0 else 48
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (width, 36))
        for _ in range(frame_count):
            writer.write(np.full((36, width, 3), 50 * number, np.uint8))
        writer.release()
    extract(folder, output, sequence_length=4, frame_height=20, frame_width=24, workers=1)
    return output


def test_numbers_are_those_of_the_videos(data_set):
    """The page would show wrong numbers or the frames of other clips."""
    report = DatasetReport.of_folder(data_set)
    assert report.title == "4 clips of 4 frames, 24x20 pixels, in 2 classes; 1 video skipped"
    assert report.clips_per_class == {"Run": 3, "Walk": 1}
    assert [outcome.frame_count for outcome in report.outcomes] == [8, 9, 12, 8]
    assert [outcome.width for outcome in report.outcomes] == [64, 48, 48, 48]
    assert {outcome.frame_rate for outcome in report.outcomes} == {25.0}
    assert report.groups == "3 by UCF v_<class>_gNN_cNN"
    assert report.groups_per_class == {"Run": 2, "Walk": 1}
    levels = {name: [round(picture.mean()) for picture in pictures] for name, pictures in report.pictures.items()}
    assert levels["Run"] == pytest.approx([0, 50, 100], abs=2)
    assert levels["Walk"] == pytest.approx([150], abs=2)


def test_the_page_has_a4_proportions(data_set):
    """The page could not be printed or read on a screen."""
    path = write_dataset_report(data_set)
    assert path == Path(data_set) / "dataset_report.png"
    height, width = cv2.imread(str(path)).shape[:2]
    assert 800 < width < 1100
    assert 1.3 < height / width < 1.5
