"""Recognisers on disk: pairs of model and record, and models of other projects."""

import keras
import numpy as np
import pytest

from models.student import build_student
from tests.fake_recognizer import save_recognizer, valid_record
from utils.base.errors import UserError
from utils.networks.recognizer import load_recognizer
from utils.runs.paths import record_path

SHAPE = (16, 32, 32, 3)


@pytest.fixture
def clips():
    return np.random.default_rng(0).integers(0, 256, (3, *SHAPE)).astype("float32")


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_saved_pair_is_loaded_unchanged(tmp_path, clips, suffix):
    model = build_student(3, input_shape=SHAPE, width=0.1)
    path = tmp_path / "models" / f"student{suffix}"
    save_recognizer(model, path, valid_record())
    loaded = load_recognizer(path, argument="--recognizer")
    np.testing.assert_allclose(np.asarray(loaded.model(clips)), np.asarray(model(clips)), atol=1e-6)
    assert loaded.class_names == ("a", "b", "c")
    assert loaded.input_shape == SHAPE


def test_a_record_of_another_file_is_rejected(tmp_path):
    """After its model was replaced, a record would declare test clips unseen that the new model has seen."""
    model = build_student(3, input_shape=SHAPE, width=0.1)
    path = tmp_path / "student.h5"
    save_recognizer(model, path, valid_record())
    build_student(3, input_shape=SHAPE, width=0.2).save(path)
    with pytest.raises(UserError, match=r"--source: .*student\.json must be the record of .*student\.h5, but belongs"):
        load_recognizer(path, argument="--source")
    record_path(path).unlink()
    assert load_recognizer(path, argument="--source").record is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_shape": (16, 40, 32, 3)}, r"input\.shape must be \[16, 32, 32, 3\], as the model's, found \[16, 40,"),
        ({"class_names": "ab"}, r"class_names must name the 3 classes of the model, found 2"),
    ],
)
def test_a_record_that_does_not_describe_the_model_is_rejected(tmp_path, change, message):
    """Predictions would get the names of other classes, or fail with an error of TensorFlow."""
    path = tmp_path / "student.keras"
    save_recognizer(build_student(3, input_shape=SHAPE, width=0.1), path, valid_record(**change))
    with pytest.raises(UserError, match=rf"--source: .*student\.json: {message}"):
        load_recognizer(path, argument="--source")


def keras2_student(activation_layer: bool):
    """Return a model as built with Keras 2.7: Sequential, with a final softmax, for BGR 0..255."""
    layers = [
        keras.Input(SHAPE),
        keras.layers.Conv3D(8, 3, strides=2, padding="same", activation="relu"),
        keras.layers.GlobalAveragePooling3D(),
        keras.layers.Dense(4, activation=None if activation_layer else "softmax"),
    ]
    if activation_layer:
        layers.append(keras.layers.Activation("softmax"))
    return keras.Sequential(layers)


@pytest.mark.parametrize("activation_layer", [True, False])
def test_a_softmax_model_for_bgr_outputs_logits_for_rgb(tmp_path, clips, activation_layer, capsys):
    """If its softmax remained, the distillation term would vanish."""
    model = keras2_student(activation_layer)
    path = tmp_path / "old.h5"
    model.save(path)
    loaded = load_recognizer(path, argument="--source", channels="bgr")
    logits = np.asarray(loaded.model(clips))
    expected = np.asarray(model(clips[..., ::-1]))  # probabilities for BGR
    np.testing.assert_allclose(np.asarray(keras.ops.softmax(logits)), expected, atol=1e-6)
    assert not np.allclose(logits.sum(axis=1), 1, atol=1e-2)
    assert capsys.readouterr().out == f"{path}: probabilities, final softmax removed\n"


def test_a_nested_softmax_is_inverted(tmp_path, clips):
    """A model inside another model still outputs probabilities, recognised by their sums."""
    inner = keras2_student(activation_layer=False)
    inputs = keras.Input(SHAPE)
    path = tmp_path / "wrapped.keras"
    keras.Model(inputs, inner(inputs)).save(path)
    loaded = load_recognizer(path, argument="--source")
    logits = np.asarray(loaded.model(clips))
    np.testing.assert_allclose(logits, np.log(np.maximum(inner(clips), 1e-30)), atol=1e-3)


@pytest.mark.parametrize(
    ("outputs", "printed"),
    [
        (keras.layers.Activation("softmax", dtype="bfloat16"), "probabilities, log taken"),
        (keras.layers.ReLU(), "logits"),
    ],
    ids=["bfloat16", "logits"],
)
def test_outputs_follow_the_rule_for_files_of_scores(tmp_path, clips, capsys, outputs, printed):
    """Softmax outputs in bfloat16 do not sum to 1 exactly; taken for logits, they make the distillation term vanish."""
    inputs = keras.Input(SHAPE)
    x = keras.layers.Dense(4)(keras.layers.GlobalAveragePooling3D()(keras.layers.Rescaling(1 / 64)(inputs)))
    model = keras.Model(inputs, keras.layers.Identity()(outputs(x)))  # the softmax is not the last layer
    path = tmp_path / "old.keras"
    model.save(path)
    logits = np.asarray(load_recognizer(path, argument="--source").model(clips))
    given = np.asarray(keras.ops.cast(model(clips), "float32"))
    expected = given if printed == "logits" else np.log(given)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    assert capsys.readouterr().out == f"{path}: {printed}\n"


@pytest.mark.parametrize(("scale", "expected"), [("0..1", lambda x: x / 255), ("-1..1", lambda x: x / 127.5 - 1)])
def test_the_input_is_converted_to_the_input_scale_of_the_model(tmp_path, clips, scale, expected):
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.GlobalAveragePooling3D(), keras.layers.Dense(4)])
    path = tmp_path / "old.keras"
    model.save(path)
    loaded = load_recognizer(path, argument="--recognizer", input_scale=scale)
    np.testing.assert_allclose(np.asarray(loaded.model(clips)), np.asarray(model(expected(clips))), atol=1e-5)


def test_files_that_are_not_recognisers_are_rejected(tmp_path):
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(UserError, match=r"--source: .*text\.h5 must be a complete Keras model"):
        load_recognizer(tmp_path / "text.h5", argument="--source")
    keras.Sequential([keras.Input((10,)), keras.layers.Dense(3)]).save(tmp_path / "flat.keras")
    with pytest.raises(UserError, match="must take clips"):
        load_recognizer(tmp_path / "flat.keras", argument="--source")


def test_conventions_are_rejected_for_a_model_with_a_record(tmp_path):
    model = build_student(3, input_shape=SHAPE, width=0.1)
    save_recognizer(model, tmp_path / "student.h5", valid_record())
    with pytest.raises(UserError, match="--channels and --input_scale are for models without a record"):
        load_recognizer(tmp_path / "student.h5", argument="--recognizer", channels="bgr")


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_the_file_holds_no_optimiser_variables(tmp_path, clips, suffix):
    """Two optimiser variables per weight would triple the size of a deployed file."""
    model = build_student(3, input_shape=SHAPE, width=0.2)
    model.compile("adam", "mse", jit_compile=False)
    model.train_on_batch(clips, np.zeros((3, 3), "float32"))
    path = tmp_path / f"student{suffix}"
    save_recognizer(model, path, valid_record())
    assert path.stat().st_size < 1.3 * 4 * model.count_params() + 200_000
    loaded = load_recognizer(path, argument="--recognizer")
    np.testing.assert_allclose(np.asarray(loaded.model(clips)), np.asarray(model(clips)), atol=1e-6)
