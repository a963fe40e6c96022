"""--initial_weights: classes added to a finished student."""

import json
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tests.scripts import eager_functions, run_script
from utils.networks import initial_weights
from utils.networks.recognizer import Recognizer, load_recognizer

pytestmark = pytest.mark.usefixtures("eager")

SMALL = ["--alpha", 1, "--input_size", 32, "--width", 0.05, "--batch_size", 4, "--views", 0, "--epochs", 1]
SMALL += ["--learning_rate", 1e-30]  # too small for a change of the weights
ARRAYS = "--data {0}/frames.npy --annotations {0}/labels.npy"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """Arrays of two classes, of these and a third one between them, and a student of the two."""
    from tests.conftest import write_arrays

    folder = tmp_path_factory.mktemp("initial")
    arrays = write_arrays(folder / "three")
    paths = np.load(arrays / "video_file_paths.npy")
    labels = np.load(arrays / "labels.npy")
    rows = np.flatnonzero(labels != 1)
    (folder / "two").mkdir()
    np.save(folder / "two/frames.npy", np.load(arrays / "frames.npy")[rows])
    np.save(folder / "two/labels.npy", labels[rows] // 2)
    np.save(folder / "two/video_file_paths.npy", paths[rows])
    with eager_functions():
        train(folder, "two", "--output_path", "two.keras")
    return folder


def train(folder, arrays, *arguments, expect=0):
    arguments = [*ARRAYS.format(arrays).split(), *SMALL, *arguments]
    return run_script("KD_training.py", *arguments, cwd=folder, expect=expect)


def weights(path):
    return [np.asarray(weight) for weight in load_recognizer(path, argument="--recognizer").model.weights]


def test_known_classes_are_kept_and_new_ones_start_fresh(workplace):
    """A class that a student knows would be learnt again, or get the weights of another class."""
    arguments = ["--initial_weights", "two.keras", "--split", "like:two.keras", "--output_path", "three.keras"]
    printed = train(workplace, "three", *arguments)
    assert (
        "initial weights from two.keras: all layers but the classifier, which keeps 2 classes, starts 1 new (Class1)"
    ) in printed
    old, new = weights(workplace / "two.keras"), weights(workplace / "three.keras")
    for before, after in zip(old[:-2], new[:-2]):
        np.testing.assert_array_equal(before, after)  # the learning rate is too small for a change
    for before, after in zip(old[-2:], new[-2:]):
        np.testing.assert_array_equal(before, after[..., [0, 2]])
    assert np.abs(new[-2][:, 1]).max() > 0


def test_clips_stay_in_their_sets(workplace):
    """Test clips of the new student would have been seen by the old one, and its accuracy would be flattering."""
    paths = np.load(workplace / "three/video_file_paths.npy")
    old_paths = np.load(workplace / "two/video_file_paths.npy")
    if not (workplace / "three.keras").exists():
        pytest.skip("runs after the test above")
    old = json.loads((workplace / "two.json").read_text())["split"]["rows"]
    new = json.loads((workplace / "three.json").read_text())["split"]["rows"]
    for name in ("train", "validation", "test"):
        kept = {path for path in paths[new[name]] if "Class1" not in path}
        assert kept == set(old_paths[old[name]])
        assert any("Class1" in path for path in paths[new[name]])


def test_initial_weights_that_have_seen_test_clips_are_refused(workplace):
    """A new split moves clips that the old student was trained on into the test set."""
    seen = []
    for seed in range(6):
        arguments = ["--initial_weights", "two.keras", "--split_seed", seed, "--output_path", f"seen{seed}.keras"]
        try:
            seen.append(train(workplace, "three", *arguments, expect=2))
        except AssertionError:
            continue
    assert seen
    assert all(line.startswith("error: --initial_weights: two.keras has seen") for line in seen)
    assert all(line.endswith("; use --split like:two.keras\n") for line in seen)


def test_the_same_classes_take_all_weights(workplace):
    """A training that is continued with other data would lose its classifier."""
    arguments = ["--initial_weights", "two.keras", "--split", "like:two.keras", "--output_path", "again.keras"]
    assert "initial weights from two.keras: all layers\n" in train(workplace, "two", *arguments)
    for before, after in zip(weights(workplace / "two.keras"), weights(workplace / "again.keras")):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--width 0.1", "must be a model of the same kind, --width, --input_size and --input_frames, but variable 1"),
        ("--student compact3d_gap", "must be a model of the same kind, but has Flatten"),
    ],
)
def test_other_architectures_are_refused(workplace, arguments, message):
    """Weights would be assigned to layers that they do not belong to."""
    arguments = [*arguments.split(), "--initial_weights", "two.keras", "--split", "like:two.keras"]
    error = train(workplace, "two", *arguments, "--output_path", "other.keras", expect=2)
    assert error.startswith("error: --initial_weights: two.keras ")
    assert message in error
    assert not (workplace / "other.keras").exists()


def test_like_needs_the_clips_of_the_model(workplace, tmp_path):
    """Clips would be divided anew although the user asked for the old sets."""
    error = train(workplace, "three", "--split", "like:missing.keras", "--output_path", "new.keras", expect=2)
    assert error.startswith("error: --split like:missing.keras: missing.keras must have a record")


@pytest.mark.parametrize("use_bias", [True, False])
def test_a_classifier_without_bias_is_told_from_the_layer_below(monkeypatch, use_bias, capsys):
    """Parts of the hidden layer would be exchanged like classes, while the line printed says that it is kept."""

    def network(classes):
        layers = [keras.layers.Dense(4), keras.layers.Dense(classes, use_bias=use_bias)]
        return keras.Sequential([keras.Input((16, 8, 8, 3)), keras.layers.GlobalAveragePooling3D(), *layers])

    trained = Recognizer(Path("old.keras"), network(3), SimpleNamespace(class_names=("a", "b", "c")))
    monkeypatch.setattr(initial_weights, "load_recognizer", lambda path, argument: trained)
    model = network(4)
    initial_weights.set_initial_weights(model, trained.path, ["c", "new", "a", "b"])
    for old, new in zip(trained.model.weights[:2], model.weights[:2]):
        np.testing.assert_array_equal(old, new)
    for old, new in zip(trained.model.weights[2:], model.weights[2:], strict=True):
        np.testing.assert_array_equal(np.asarray(old)[..., [2, 0, 1]], np.asarray(new)[..., [0, 2, 3]])
    assert "all layers but the classifier, which keeps 3 classes, starts 1 new (new)" in capsys.readouterr().out


@pytest.mark.slow
def test_what_the_first_model_has_seen_is_unknown_without_its_record(workplace, tmp_path):
    """A table would say that the student has seen no test clip, although its first training may have."""
    for name in ("two", "three"):
        (tmp_path / name).symlink_to(workplace / name)
    (tmp_path / "found.keras").write_bytes((workplace / "two.keras").read_bytes())
    printed = train(tmp_path, "two", "--initial_weights", "found.keras", "--output_path", "first.keras")
    reason = "found.keras, from which its training started, has no record (found.json)"
    assert f"note: it is unknown which test clips the model has seen: {reason}.\n" in printed
    arguments = ["--initial_weights", "first.keras", "--split", "like:first.keras", "--output_path", "second.keras"]
    train(tmp_path, "three", *arguments)
    for arrays, model in (("two", "first.keras"), ("three", "second.keras")):
        tested = ["--recognizer", model, "--json"]
        printed = run_script("eval.py", *ARRAYS.format(arrays).split(), *tested, cwd=tmp_path)
        assert json.loads(printed)["recognizers"][0]["seen"]["unknown"] == [reason]
