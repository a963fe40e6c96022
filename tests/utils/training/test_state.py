"""A training that was stopped goes on as if it had not been; what it keeps is whole, small, and of its own settings."""

import os
import resource
import signal
from dataclasses import replace

import keras
import numpy as np
import pytest

from models.distiller import Distiller
from tests.utils.training.test_fit import OPTIONS, SHAPE, tiny_network, without_times
from utils.data.batches import clip_reader
from utils.data.loading import SplitDataset
from utils.networks.recognizer import save_model
from utils.runtime.drawing import save_figure
from utils.runtime.errors import UserError
from utils.runtime.files import disk_error, exclusive_lock, write_text, written_beside
from utils.runtime.interruption import Interrupted
from utils.settings.options import OutputOptions
from utils.training.fit import fit, set_seeds
from utils.training.history import TrainingCurves, save_history
from utils.training.state import own_variables, settings_of, training_state

HISTORY = [("epoch", "i8"), *((name, "f8") for name in ("loss", "accuracy", "val_loss", "val_accuracy"))]


class Killed(BaseException):
    """Ends a training where it stands, as a kill does."""


def run(arrays, options, folder, *, distil=None, few=None, teacher=None, during=None, overwrite=False):
    """Trains a tiny network under a state in `folder`; returns its weights and history.

    `during(state)` runs first and may spoil the run. `few`: so many training rows, epochs as long as with all.
    """
    dataset, split = arrays
    taught = split if few is None else replace(split, train=split.train[:few])
    settings = settings_of([options], SplitDataset(dataset, split), {})
    with training_state(OutputOptions(folder / "net.keras", folder / "net", overwrite), settings) as state:
        if during:
            during(state)
        set_seeds(options)
        model = tiny_network()
        fitted = model if distil is None else Distiller(model, teacher, **distil)
        source, targets = clip_reader(dataset, SHAPE), {"labels": dataset.labels}
        history = fit(fitted, source, taught, targets, options, epoch_clips=len(split.train), state=state)
        if not state.can_resume:
            state.remove()
        return model.get_weights(), history


def killed_in_save(number):
    """Spoils a run: it is killed in its `number`-th save, when half of the file is written."""

    def half_of(values):
        yield from values[:1]
        raise Killed

    def spoil(state):
        save, times = state.save, []

        def dying(model, history, best, *, ending):
            times.append(1)
            save(model, history, half_of(own_variables(model)) if len(times) == number else best, ending=ending)

        state.save = dying

    return spoil


@pytest.mark.parametrize(
    "how",
    [{}, {"distil": {"alpha": 1.0}}, {"distil": {"alpha": 1.0}, "few": 13}],
    ids=["teacher", "student", "few labels"],
)
def test_a_killed_and_continued_training_ends_as_an_undisturbed_one(arrays, tmp_path, capsys, how):
    """Other weights than without the kill: lost dropout seeds, optimiser state, order of batches, or best epoch."""
    options = replace(OPTIONS, epochs=4)
    weights, history = run(arrays, options, tmp_path / "whole", **how)
    for number in (3, 2):  # of the second run's epochs, the first is kept
        with pytest.raises(Killed):
            run(arrays, options, tmp_path / "killed", during=killed_in_save(number), **how)
    capsys.readouterr()
    again, continued = run(arrays, options, tmp_path / "killed", **how)
    assert "resuming from epoch 4 of 4" in capsys.readouterr().out
    np.testing.assert_array_equal(without_times(continued), without_times(history))
    for expected, found in zip(weights, again):
        np.testing.assert_array_equal(found, expected)
    assert list((tmp_path / "killed").iterdir()) == []


def test_an_ended_training_is_only_saved_again(arrays, tmp_path):
    """Killed between the last epoch and the saved model, hours of training must not be repeated, nor an epoch added."""

    def killed_at_the_end(state):
        def dying():
            raise Killed

        state.remove = dying

    def no_step(state):
        state.save = None  # an epoch more would fail

    options = replace(OPTIONS, epochs=2)
    with pytest.raises(Killed):
        run(arrays, options, tmp_path, during=killed_at_the_end)
    weights, history = run(arrays, options, tmp_path, during=no_step)
    whole, whole_history = run(arrays, options, tmp_path)
    np.testing.assert_array_equal(without_times(history), without_times(whole_history))
    for expected, found in zip(whole, weights):
        np.testing.assert_array_equal(found, expected)


def unfinished(arrays, options, folder):
    """Leaves the state of a training that was killed in its second save."""
    with pytest.raises(Killed):
        run(arrays, options, folder, during=killed_in_save(2))
    return folder / "net.training"


def test_other_settings_are_not_mixed_in(arrays, tmp_path, capsys):
    """Half a training at one rate and half at another is a result that nobody can repeat."""
    dataset, split = arrays
    state = unfinished(arrays, OPTIONS, tmp_path)
    kept = state.read_bytes()
    with pytest.raises(
        UserError, match=r"net\.training is an unfinished training with --learning_rate 0\.03, asked for"
    ):
        run(arrays, replace(OPTIONS, learning_rate=0.02), tmp_path)
    other_split = (dataset, replace(split, train=split.train[:-1]))
    with pytest.raises(UserError, match=r"with another split of the clips; .*--overwrite"):
        run(other_split, OPTIONS, tmp_path)
    frames = replace(dataset, labels=np.roll(dataset.labels, 1))
    with pytest.raises(UserError, match="with another --data;"):
        run((frames, split), OPTIONS, tmp_path)
    assert state.read_bytes() == kept
    _, history = run(arrays, replace(OPTIONS, learning_rate=0.02), tmp_path, overwrite=True)
    assert "resuming" not in capsys.readouterr().out
    assert len(history) == 2
    assert not state.exists()


def test_a_spoilt_state_is_one_line(arrays, tmp_path):
    """A disk error must be told from a fault of the program, with the way out."""
    state = unfinished(arrays, OPTIONS, tmp_path)
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"net\.training must be a whole training state, but .*; use --over"):
        run(arrays, OPTIONS, tmp_path)


def test_a_teacher_in_the_step_is_not_kept(arrays, tmp_path):
    """A C3D of 300 MB written at each epoch's end would cost more than the student's epoch."""
    sizes = {}

    def watched(state):
        save = state.save

        def weighed(model, history, best, *, ending):
            save(model, history, best, ending=ending)
            sizes[len(history)] = state.path.stat().st_size

        state.save = weighed

    teacher = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)])
    assert 4 * teacher.count_params() > 500_000
    run(arrays, OPTIONS, tmp_path, distil={"temperature": 2.0}, teacher=teacher, during=watched)
    assert 10_000 < max(sizes.values()) < 60_000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_training_after_its_step(arrays, tmp_path, number):
    """Ctrl-C and a cluster's SIGTERM: what is kept is said, and the next run ends as if nothing had been."""
    options = replace(OPTIONS, epochs=3)
    weights, history = run(arrays, options, tmp_path / "whole")
    steps = []

    def interrupting(state):
        save = state.save

        def saving(model, history, best, *, ending):
            save(model, history, best, ending=ending)
            if len(history) == 2:
                os.kill(os.getpid(), number)
                steps.append(len(history))  # it is not raised here, within the epoch's end

        state.save = saving

    with pytest.raises(Interrupted, match=r"epochs 1 to 2 are saved in .*net\.training; rerun the same") as stop:
        run(arrays, options, tmp_path / "cut", during=interrupting)
    assert stop.value.number == number
    assert steps == [2]
    again, continued = run(arrays, options, tmp_path / "cut")
    np.testing.assert_array_equal(without_times(continued), without_times(history))
    for expected, found in zip(weights, again):
        np.testing.assert_array_equal(found, expected)


def test_a_training_out_of_time_is_saved_and_continues(arrays, tmp_path):
    """Nights of --max_minutes must add up to the training that one long night would have given."""
    options = replace(OPTIONS, epochs=3)
    weights, history = run(arrays, options, tmp_path / "whole")
    _, first = run(arrays, replace(options, max_minutes=1e-9), tmp_path / "nights")
    assert len(first) == 1
    again, continued = run(arrays, replace(options, max_minutes=100), tmp_path / "nights")
    np.testing.assert_array_equal(without_times(continued), without_times(history))
    for expected, found in zip(weights, again):
        np.testing.assert_array_equal(found, expected)


@pytest.fixture
def small_disk():
    """A function that limits the size of files until the test ends."""
    before, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (limits[0] if size < 0 else size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_leaves_the_epochs_before(arrays, tmp_path, small_disk):
    """The save that fails must not take the one before it along; one line says what is left."""
    options = replace(OPTIONS, epochs=3)
    weights, history = run(arrays, options, tmp_path / "whole")

    def full_in_second_save(state):
        save = state.save

        def saving(model, history, best, *, ending):
            if len(history) == 2:
                small_disk(state.path.stat().st_size // 2)
            save(model, history, best, ending=ending)

        state.save = saving

    with pytest.raises(UserError, match=r"net\.training: File too large: epoch 1 is saved in .*net\.training; rer"):
        run(arrays, options, tmp_path / "full", during=full_in_second_save)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["net.training"]
    small_disk(-1)
    again, continued = run(arrays, options, tmp_path / "full")
    np.testing.assert_array_equal(without_times(continued), without_times(history))
    for expected, found in zip(weights, again):
        np.testing.assert_array_equal(found, expected)


def write_answers(path):
    with written_beside(path) as temporary:
        np.save(temporary, np.zeros(10_000))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("size", [100, 3000])
def test_no_writer_of_a_training_hides_a_full_disk(tmp_path, small_disk, suffix, size):
    """HDF5, zip, NumPy and PNG fail each in their way; a user needs one line with the file, and the old file intact."""
    history = np.array([(epoch, 1.0, 0.5, 1.0, 0.5) for epoch in range(1, 1000)], dtype=HISTORY)
    writers = {
        f"net{suffix}": lambda: save_model(tiny_network(), tmp_path / f"net{suffix}"),
        "net.npy": lambda: save_history(history, tmp_path / "net", title="net"),
        "answers.npy": lambda: write_answers(tmp_path / "answers.npy"),
        "net.csv": lambda: write_text(tmp_path / "net.csv", "1," * 3000),
        "net.png": lambda: save_figure(TrainingCurves(history, "net"), tmp_path / "net.png"),
    }
    for name, write in writers.items():
        (tmp_path / name).write_text("old")
        small_disk(size)
        with pytest.raises(OSError, match=r"File too large|No space left") as error:
            write()
        small_disk(-1)
        assert disk_error(error.value).startswith(f"{tmp_path / name}: ")
        assert (tmp_path / name).read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(writers)


def test_frames_cut_while_training_are_one_line(arrays, tmp_path):
    """TensorFlow's account of it is forty lines; the epochs before are kept."""
    dataset, _ = arrays

    def cut_after_an_epoch(state):
        save = state.save

        def saving(model, history, best, *, ending):
            save(model, history, best, ending=ending)
            os.truncate(dataset.frames.path, 1000)

        state.save = saving

    with pytest.raises(UserError, match=r"^--data: .*frames\.npy was changed or cut while it was in use$"):
        run(arrays, replace(OPTIONS, epochs=9), tmp_path / "cut", during=cut_after_an_epoch)
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["net.training"]


def test_a_second_training_of_the_same_output_is_refused(arrays, tmp_path):
    """Two runs that replace each other's state would both be lost."""
    with (
        exclusive_lock(tmp_path / ".net.training.lock", what="it"),
        pytest.raises(UserError, match=r"net\.keras is in use by another run"),
    ):
        run(arrays, OPTIONS, tmp_path)
