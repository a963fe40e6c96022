"""stages.train_student, and what it passes to the fit loop."""

import numpy as np
import pytest

from utils import stages
from utils.settings.options import DataOptions, DistillationOptions, NetworkOptions, OutputOptions, TrainingOptions
from utils.training.state import Ending


@pytest.fixture
def data(make_arrays):
    folder = make_arrays(height=32, width=32)
    return DataOptions(folder / "frames.npy", folder / "labels.npy")


def test_few_labels_do_not_change_the_split(data, tmp_path, monkeypatch):
    """A student with 2 labelled clips per class would be tested on other clips than its competitors."""
    fitted = {}

    def remembered(model, reader, split, targets, options, *, epoch_clips, state):
        fitted.update(split=split, labels=targets["labels"], epoch_clips=epoch_clips)
        row = (1, 1.0, 0.5, 1.0, 1.0, 0.5)
        state.ending = Ending.LAST_EPOCH
        names = ["epoch", "loss", "accuracy", "val_loss", "val_hard_loss", "val_accuracy"]
        return np.array([row], dtype=[(name, int if name == "epoch" else float) for name in names])

    monkeypatch.setattr(stages, "fit", remembered)
    path = tmp_path / "few.keras"
    trained = stages.train_student(
        data=data,
        training=TrainingOptions(batch_size=2),
        network=NetworkOptions(width=0.1, input_size=(32, 32)),
        distillation=DistillationOptions(alpha=1.0, labels_per_class=2),
        output=OutputOptions(path, tmp_path / "history"),
    )
    assert np.bincount(fitted["labels"][fitted["split"].train]).tolist() == [2, 2, 2]
    assert len(trained.record["split"]["rows"]["train"]) == 18 == fitted["epoch_clips"]
    results = stages.evaluate(data, [path])  # data.split is "auto", as in the record
    assert results["recognizers"][0]["clips"] == 6
    assert results["recognizers"][0]["split"] == "group, seed 0"
