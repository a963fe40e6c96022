"""The arrays of an experiment from the user's videos."""

import cv2
import numpy as np
import pytest

from utils.experiments.arrays import ArrayOrigin, arrays, expected_clips


@pytest.mark.parametrize(("follow_links", "expected"), [(False, "ac"), (True, "abc")])
def test_links_are_followed_on_request(tmp_path, follow_links, expected):
    """The plan of --dry_run would list other clips than the run, or links would be followed unasked."""
    for folder in ("videos/a", "videos/c", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
        writer = cv2.VideoWriter(str(tmp_path / folder / "1.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (32, 32))
        for _ in range(4):
            writer.write(np.zeros((32, 32, 3), np.uint8))
        writer.release()
    (tmp_path / "videos/b").symlink_to(tmp_path / "elsewhere")
    expected = [f"{folder}/1.avi" for folder in expected]
    origin = ArrayOrigin(None, None, None, tmp_path / "videos", {}, 4, (20, 20), follow_links)
    assert expected_clips(origin, tmp_path)[1].paths.tolist() == expected
    assert np.load(arrays(origin, tmp_path).paths).tolist() == expected
