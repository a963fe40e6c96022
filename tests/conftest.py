"""What the tests of several parts share."""

import signal
from pathlib import Path

import numpy as np
import pytest

from utils.data.clips import open_clips
from utils.splits.protocols import make_split

# A script may have put the tests into its background, where these are ignored; some tests send them.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real videos beside the project; it is not part of it, so a test without it is skipped."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real videos: {folder} is absent")
    return folder


@pytest.fixture
def make_arrays(tmp_path):
    """Writes the three arrays of a small set of moving squares and returns their folder.

    Classes differ in the square's colour and direction, so that a tiny network learns them in a few steps. Names follow
    UCF101, with `groups` groups a class, so that a group split is possible.
    """

    def make(folder="arrays", *, classes=3, groups=5, clips=2, length=16, height=40, width=48, seed=0):
        rng = np.random.default_rng(seed)
        frames, labels, paths = [], [], []
        for label in range(classes):
            for group in range(1, groups + 1):
                for clip in range(1, clips + 1):
                    frames.append(moving_square(rng, label, length, height, width))
                    labels.append(label)
                    paths.append(f"Class{label}/v_Class{label}_g{group:02}_c{clip:02}.avi")
        path = tmp_path / folder
        path.mkdir()
        np.save(path / "frames.npy", np.stack(frames))
        np.save(path / "labels.npy", np.array(labels, np.int64))
        np.save(path / "video_file_paths.npy", np.array(paths))
        return path

    return make


def moving_square(rng, label, length, height, width):
    """One clip, uint8 (length, height, width, 3): noise with a square whose colour and direction tell the class."""
    clip = rng.integers(0, 60, (length, height, width, 3), np.uint8)
    top = rng.integers(0, height - 16)
    for number in range(length):
        step = number * (width - 16) // length
        left = step if label % 2 else width - 16 - step
        clip[number, top : top + 16, left : left + 16, label % 3] = 255
    return clip


@pytest.fixture
def arrays(make_arrays):
    """A small data set of three classes, opened, and its split by groups."""
    folder = make_arrays(height=32, width=32)
    dataset = open_clips(folder / "frames.npy", folder / "labels.npy")
    return dataset, make_split(dataset.labels, dataset.paths, class_names=dataset.class_names)
