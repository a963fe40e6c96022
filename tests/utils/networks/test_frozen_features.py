"""Fine-tuning on stored features: frozen layers keep their weights, and the whole model predicts like its parts."""

import numpy as np
import pytest

from models.c3d import WEIGHT_LAYERS, build_c3d, split_at
from tests.fake_recognizer import save_recognizer, valid_record
from utils.base.errors import UserError
from utils.base.options import TrainingOptions
from utils.data.clips import open_clips
from utils.data.protocols import make_split
from utils.networks.frozen_features import feature_reader
from utils.networks.recognizer import load_recognizer
from utils.training.fit import fit, set_seeds

SHAPE = (16, 32, 32, 3)
VIEW_ZERO = np.zeros(2, int)
OPTIONS = TrainingOptions(batch_size=6, epochs=2, learning_rate=1e-2)


@pytest.fixture
def dataset(make_arrays):
    folder = make_arrays(height=32, width=32)
    return open_clips(folder / "frames.npy", folder / "labels.npy")


@pytest.fixture
def model():
    set_seeds(OPTIONS)
    return build_c3d(3, input_shape=SHAPE, width=0.1, block_dropout=0.0, sports1m_preprocessing=True)


def test_features_belong_to_the_rows_of_their_clips(dataset, model, tmp_path):
    """Features of other clips would be trained with wrong labels; reading a clip that is not stored must fail."""
    features, _ = split_at(model, "fc6")
    rows = np.array([7, 2, 25, 11])
    with feature_reader(features, dataset, rows, tmp_path / "made") as source:
        wanted = np.array([25, 7])
        expected = np.asarray(features(dataset.view_zero(wanted, SHAPE), training=False))
        np.testing.assert_allclose(source.read(wanted, VIEW_ZERO), expected, rtol=1e-4, atol=1e-4)
        assert (source.shape, source.read(wanted, VIEW_ZERO).dtype) == (expected.shape[1:], np.float32)
        with pytest.raises(IndexError):
            source.read(np.array([3]), VIEW_ZERO)
    assert not list((tmp_path / "made").iterdir())  # the temporary file is removed


def test_a_full_disk_is_reported_in_advance(dataset, model, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with (
        pytest.raises(UserError, match="the file of frozen features needs"),
        feature_reader(split_at(model, "fc6")[0], dataset, np.arange(3), tmp_path),
    ):
        pass


def test_frozen_layers_keep_their_weights_and_the_saved_model_predicts_like_its_parts(dataset, model, tmp_path):
    """Changed frozen layers would lose the Sports-1M features; the saved model must be the one that was trained."""
    split = make_split(dataset.labels, dataset.paths, class_names=dataset.class_names)
    before = {name: model.get_layer(name).get_weights() for name in WEIGHT_LAYERS}
    features, trained = split_at(model, "fc7")
    rows = np.concatenate([split.train, split.validation])
    with feature_reader(features, dataset, rows, tmp_path) as source:
        history = fit(trained, source, split, {"labels": dataset.labels}, OPTIONS)
    for name in WEIGHT_LAYERS:
        for old, new in zip(before[name], model.get_layer(name).get_weights()):
            assert np.array_equal(old, new) == (name not in ("fc7", "fc8")), name

    save_recognizer(model, tmp_path / "teacher.h5", valid_record(class_names=dataset.class_names))
    whole = load_recognizer(tmp_path / "teacher.h5", argument="--source").logits(dataset, split.validation)
    clips = dataset.view_zero(split.validation, SHAPE)
    parts = np.asarray(trained(features(clips, training=False), training=False))
    np.testing.assert_allclose(whole, parts, rtol=1e-3, atol=1e-3)
    right = (whole.argmax(axis=1) == dataset.labels[split.validation]).mean()
    assert right == pytest.approx(history["val_accuracy"].max())
