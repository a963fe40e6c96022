"""The estimated time of an experiment counts all clips that are read."""

from types import SimpleNamespace

import numpy as np

from utils.base.options import DistillationOptions, TrainingOptions, ViewOptions
from utils.data.protocols import Split
from utils.experiments.cells import Row
from utils.experiments.plan import Cost, estimate


def test_unlabelled_clips_count(make_arrays):
    """With ten times as many unlabelled clips, a night would be announced as an hour."""
    files = tuple(make_arrays(name, classes=1, groups=2, clips=1) / "frames.npy" for name in "ab")
    split = Split("random", 0, np.arange(10), np.arange(10, 13), np.arange(13, 20), ())
    costs = {"student": Cost(0.5, 2.0, 1.0), "teacher": Cost(0.0, 3.0, 100.0)}
    teacher = SimpleNamespace(parts=())

    def seconds(role, unlabelled):
        grid = SimpleNamespace(
            splits={"random": split},
            experiment=SimpleNamespace(
                temperatures=[1, 4],
                alphas=[0.1],
                views=ViewOptions(views=1),
                distillation=DistillationOptions(unlabelled=unlabelled),
            ),
        )
        options = {"training": TrainingOptions(epochs=2)}
        return estimate(
            grid, SimpleNamespace(fold="random", row=Row(role), options=options, teacher_cell=teacher), costs
        )

    assert [seconds("alone", files[:count]) for count in (0, 1, 2)] == [46.5, 54.5, 62.5]  # 2 epochs of 2 s per clip
    assert seconds("distilled", files) == 62.5 + (2 * 14 + 3) * 100 / 2
    assert seconds("teacher", files) == seconds("teacher", ()) == 2 * (10 * 3 + 3 * 100)
