"""What the tests of training share."""

import pytest

from utils.clips import open_clips
from utils.splits import make_split


@pytest.fixture
def arrays(make_arrays):
    """A small data set of three classes, opened, and its split by groups."""
    folder = make_arrays(height=32, width=32)
    dataset = open_clips(folder / "frames.npy", folder / "labels.npy")
    return dataset, make_split(dataset.labels, dataset.paths, class_names=dataset.class_names)
