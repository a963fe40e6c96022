"""Resuming: the result equals that of an uninterrupted run; states are complete, small and of the same settings."""

import json
import os
import resource
import signal
import zipfile
from dataclasses import replace

import keras
import numpy as np
import pytest

from models.distiller import Distiller
from tests.utils.training.test_fit import OPTIONS, SHAPE, tiny_network, without_times
from utils.base.errors import UserError
from utils.base.files import disk_error, write_text, written_beside
from utils.base.interruption import Interrupted
from utils.base.locks import exclusive_lock
from utils.base.options import OutputOptions
from utils.data.batches import clip_reader
from utils.data.clips import FrameFile
from utils.networks.recognizer import save_model
from utils.runs.history import best_epoch, save_history
from utils.runs.identity import settings_of
from utils.runs.loading import SplitDataset
from utils.runs.paths import RunFiles
from utils.runs.state import TrainingState, own_variables, training_state
from utils.training.fit import fit, set_seeds

HISTORY = [("epoch", "i8"), *((name, "f8") for name in ("loss", "accuracy", "val_loss", "val_accuracy"))]


class Killed(BaseException):
    """Ends training immediately, like a kill."""


def run(arrays, options, folder, *, distil=None, few=None, teacher=None, during=None, overwrite=False):
    """Train a tiny network with a state in `folder`; return its weights and history.

    `during(state)` runs first and may make the run fail. few: number of training rows, with epochs as long as with all.
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
    """Return a `during` that kills a run in its `number`-th save, after half of the file."""

    def half_of(values):
        yield from values[:1]
        raise Killed

    def kill(state):
        save, times = state.save, []

        def dying(model, history, kept):
            times.append(1)
            save(model, history, half_of(own_variables(model)) if len(times) == number else kept)

        state.save = dying

    return kill


def after_save(action):
    """Return a `during` that calls `action(state, history)` after each save."""

    def extend(state):
        save = state.save

        def saving(model, history, kept):
            save(model, history, kept)
            action(state, history)

        state.save = saving

    return extend


def assert_equal_results(found, expected):
    """Check weights and history, the results of `run`, for equality."""
    np.testing.assert_array_equal(without_times(found[1]), without_times(expected[1]))
    for one, other in zip(found[0], expected[0]):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "how",
    [{}, {"distil": {"alpha": 1.0}}, {"distil": {"alpha": 1.0}, "few": 13}],
    ids=["teacher", "student", "few labels"],
)
def test_a_killed_and_resumed_run_equals_an_uninterrupted_run(arrays, tmp_path, capsys, how):
    """Weights would differ if dropout seeds, optimiser state, order of batches or the kept epoch were lost."""
    options = replace(OPTIONS, epochs=4)
    expected = run(arrays, options, tmp_path / "whole", **how)
    for number in (3, 2):  # the first run finishes two epochs, the second run one more
        with pytest.raises(Killed):
            run(arrays, options, tmp_path / "killed", during=killed_in_save(number), **how)
    capsys.readouterr()
    found = run(arrays, options, tmp_path / "killed", **how)
    assert "resuming from epoch 4 of 4" in capsys.readouterr().out
    assert_equal_results(found, expected)
    assert list((tmp_path / "killed").iterdir()) == []


@pytest.mark.parametrize("is_resumed", [False, True], ids=["whole", "resumed"])
@pytest.mark.parametrize("keep", ["last", "best"])
def test_the_weights_are_those_of_the_kept_epoch(arrays, tmp_path, keep, is_resumed):
    """A resumed training would save the weights of another epoch than an uninterrupted one."""
    dataset, split = arrays
    labels = dataset.labels.copy()
    labels[split.validation] = (labels[split.validation] + 1) % 3  # accuracy on validation clips falls
    arrays, options = (replace(dataset, labels=labels), split), replace(OPTIONS, epochs=3, keep=keep)
    after_epoch = {}

    def remember(state):
        save = state.save

        def saving(model, history, kept):
            after_epoch[len(history) - 1] = model.get_weights()
            save(model, history, kept)

        state.save = saving

    if is_resumed:
        run(arrays, replace(options, max_minutes=1e-9), tmp_path, during=remember)
    found, history = run(arrays, options, tmp_path, during=remember)
    assert best_epoch(history) < 2
    for one, other in zip(found, after_epoch[2 if keep == "last" else best_epoch(history)], strict=True):
        np.testing.assert_array_equal(one, other)


def test_finished_training_is_not_repeated(arrays, tmp_path):
    """After a kill between the last epoch and the saved model, no epoch may be repeated or added."""

    def killed_at_the_end(state):
        def dying():
            raise Killed

        state.remove = dying

    def no_step(state):
        state.save = None  # another epoch would fail

    options = replace(OPTIONS, epochs=2)
    with pytest.raises(Killed):
        run(arrays, options, tmp_path, during=killed_at_the_end)
    found = run(arrays, options, tmp_path, during=no_step)
    assert_equal_results(found, run(arrays, options, tmp_path))


def unfinished(arrays, options, folder):
    """Return the state file of a run that was killed in its second save."""
    with pytest.raises(Killed):
        run(arrays, options, folder, during=killed_in_save(2))
    return folder / "net.training"


def test_training_is_not_resumed_with_other_settings(arrays, tmp_path, capsys):
    """Epochs with different learning rates would give results that cannot be repeated."""
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
    labels = replace(dataset, labels=np.roll(dataset.labels, 1))
    with pytest.raises(UserError, match="with another --data;"):
        run((labels, split), OPTIONS, tmp_path)
    changed = np.load(dataset.frames.path)
    changed[3, 9, 16, 16, 2] ^= 1
    np.save(tmp_path / "changed.npy", changed)
    frames = replace(dataset, frames=FrameFile(tmp_path / "changed.npy"))
    with pytest.raises(UserError, match="with another --data;"):
        run((frames, split), OPTIONS, tmp_path)
    assert state.read_bytes() == kept
    _, history = run(arrays, replace(OPTIONS, learning_rate=0.02), tmp_path, overwrite=True)
    assert "resuming" not in capsys.readouterr().out
    assert len(history) == 2
    assert not state.exists()


def test_a_damaged_state_is_an_error_with_a_remedy(arrays, tmp_path):
    """A user must see that the file is damaged, and how to continue."""
    state = unfinished(arrays, OPTIONS, tmp_path)
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"net\.training must be a complete training state, but .*; use --over"):
        run(arrays, OPTIONS, tmp_path)


def test_epochs_that_are_not_finite_are_restored(tmp_path):
    """A training with --keep_going would resume with other numbers, and the file would not be valid JSON."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    losses = [(0.1, np.nan), (np.inf, -np.inf)]
    epochs = [
        {"epoch": number, "seconds": 1.0, "loss": loss, "val_loss": val_loss, "val_accuracy": 0.5}
        for number, (loss, val_loss) in enumerate(losses, start=1)
    ]
    TrainingState(tmp_path / "net.training", {}).save(model, epochs, None)
    header = zipfile.ZipFile(tmp_path / "net.training").read("header.json")
    assert json.loads(header, parse_constant=refuse)["history"][1] == epochs[1] | {
        "loss": "inf",
        "val_loss": "-inf",
    }
    restored = TrainingState(tmp_path / "net.training", {}).history
    np.testing.assert_equal(restored, epochs)


def test_a_live_teacher_is_not_saved(arrays, tmp_path):
    """Writing a C3D of 300 MB after each epoch would take longer than an epoch of the student."""
    sizes = []
    teacher = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)])
    assert 4 * teacher.count_params() > 500_000
    during = after_save(lambda state, history: sizes.append(state.path.stat().st_size))
    run(arrays, OPTIONS, tmp_path, distil={"temperature": 2.0}, teacher=teacher, during=during)
    assert 10_000 < max(sizes) < 60_000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_training_after_its_step(arrays, tmp_path, number):
    """Ctrl-C and a cluster's SIGTERM: a message says what is saved, and the resumed run gives the same result."""
    options = replace(OPTIONS, epochs=3)
    steps = []

    def interrupt(state, history):
        if len(history) == 2:
            os.kill(os.getpid(), number)
            steps.append(len(history))  # the signal does not raise here, before the end of the epoch

    with pytest.raises(Interrupted, match=r"epochs 1 to 2 are saved in .*net\.training; rerun the same") as stop:
        run(arrays, options, tmp_path / "cut", during=after_save(interrupt))
    assert stop.value.number == number
    assert steps == [2]
    assert_equal_results(run(arrays, options, tmp_path / "cut"), run(arrays, options, tmp_path / "whole"))


def test_training_out_of_time_can_be_resumed(arrays, tmp_path):
    """Several runs with --max_minutes must give the result of one long run."""
    options = replace(OPTIONS, epochs=3)
    _, first = run(arrays, replace(options, max_minutes=1e-9), tmp_path / "nights")
    assert len(first) == 1
    found = run(arrays, replace(options, max_minutes=100), tmp_path / "nights")
    assert_equal_results(found, run(arrays, options, tmp_path / "whole"))


@pytest.fixture
def small_disk():
    """Return a function that limits the size of files until the test ends."""
    before, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (limits[0] if size < 0 else size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_keeps_the_epochs_before(arrays, tmp_path, small_disk):
    """A failing save must not destroy the previous one; one line says what is saved."""
    options = replace(OPTIONS, epochs=3)
    during = after_save(lambda state, history: small_disk(state.path.stat().st_size // 2))
    with pytest.raises(UserError, match=r"net\.training: File too large: epoch 1 is saved in .*net\.training; rer"):
        run(arrays, options, tmp_path / "full", during=during)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["net.training"]
    small_disk(-1)
    assert_equal_results(run(arrays, options, tmp_path / "full"), run(arrays, options, tmp_path / "whole"))


def write_array(path):
    with written_beside(path) as temporary:
        np.save(temporary, np.zeros(10_000))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("size", [100, 3000])
def test_all_writers_report_a_full_disk(tmp_path, small_disk, suffix, size):
    """HDF5, zip and NumPy fail differently; a user needs one line with the file name, and the old file."""
    history = np.array([(epoch, 1.0, 0.5, 1.0, 0.5) for epoch in range(1, 1000)], dtype=HISTORY)
    writers = {
        f"net{suffix}": lambda: save_model(tiny_network(), tmp_path / f"net{suffix}"),
        "net_history.npy": lambda: save_history(history, RunFiles.of(OutputOptions(tmp_path / "net.keras"))),
        "logits.npy": lambda: write_array(tmp_path / "logits.npy"),
        "net.csv": lambda: write_text(tmp_path / "net.csv", "1," * 3000),
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


def test_frames_truncated_during_training_are_an_error_of_one_line(arrays, tmp_path):
    """TensorFlow's message has forty lines; finished epochs must be kept."""
    dataset, _ = arrays
    truncate = after_save(lambda state, history: os.truncate(dataset.frames.path, 1000))
    with pytest.raises(UserError, match=r"^--data: .*frames\.npy was changed or truncated while in use$"):
        run(arrays, replace(OPTIONS, epochs=9), tmp_path / "cut", during=truncate)
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["net.training"]


def test_a_second_run_with_the_same_output_is_rejected(arrays, tmp_path):
    """Two runs would overwrite each other's state."""
    with (
        exclusive_lock(tmp_path / ".net.training.lock", what="it"),
        pytest.raises(UserError, match=r"net\.keras is in use by another run"),
    ):
        run(arrays, OPTIONS, tmp_path)
