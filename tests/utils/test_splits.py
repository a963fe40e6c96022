import numpy as np

from utils.splits import make_split


def test_random_takes_a_fifth_of_each_class():
    """Otherwise a rare class could be missing from the test set and its accuracy unknown."""
    labels = np.repeat([0, 1], [10, 100])
    split = make_split(labels, None, class_names=("run", "walk"), protocol="random")
    assert np.bincount(labels[split.test]).tolist() == [2, 20]
    assert np.bincount(labels[split.validation]).tolist() == [2, 16]
    assert np.bincount(labels[split.train]).tolist() == [6, 64]
