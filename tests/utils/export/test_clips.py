"""Which clips files are compared on, and which clips calibrate integers."""

from dataclasses import replace

import numpy as np
import pytest

from tests.bad_input.calls import unchanged
from tests.conftest import write_arrays
from utils.base.errors import UserError
from utils.base.options import DataOptions, ViewOptions
from utils.data.clips import open_clips
from utils.export.clips import calibration_clips, clips_of_data, synthetic_clips
from utils.networks.recognizer import load_recognizer


@pytest.fixture
def recognizer(student):
    return load_recognizer(student.path, argument="--recognizer")


def test_files_are_compared_on_test_clips(student, recognizer):
    """The accuracy in the table would be that of clips which the model was trained on."""
    clips = clips_of_data(recognizer, student.data, student.dataset, 100)
    assert (clips.source, clips.count) == ("test clips", len(student.split.test))
    np.testing.assert_array_equal(np.concatenate(list(clips.batches())), student.clips(student.split.test))
    np.testing.assert_array_equal(clips.labels, student.dataset.labels[student.split.test])
    assert len(set(clips.groups)) == 3
    scores = np.eye(3)[clips.labels]
    assert clips.accuracy(scores).estimate == 1
    assert clips.accuracy(np.roll(scores, 1, axis=1)).estimate == 0


def test_integers_are_calibrated_on_training_views(student, recognizer, monkeypatch):
    """Ranges fitted to test clips would make the test accuracy of a quantised file too good."""
    asked, view = [], type(student.dataset).view

    def watched(dataset, rows, numbers, *rest):
        asked.extend(zip(rows.tolist(), numbers.tolist()))
        return view(dataset, rows, numbers, *rest)

    monkeypatch.setattr(type(student.dataset), "view", watched)
    read = calibration_clips(recognizer, student.data, student.dataset, 9)
    clips = list(read())
    rows, numbers = zip(*asked)
    assert set(rows) < set(student.split.train.tolist())
    assert len(set(rows)) == 9
    assert numbers == (0, 1, 2) * 3  # the training had two augmented views per clip
    assert [clip.dtype for clip in clips] == [np.float32] * 9
    expected = view(student.dataset, np.array(rows[1:2]), np.array([1]), (16, 48, 48, 3), ViewOptions(views=2))
    np.testing.assert_array_equal(clips[1], expected[0])
    assert len(list(read())) == 9  # a converter may read them twice


def test_clips_of_other_arrays(student, recognizer, tmp_path):
    """Row numbers of the record would choose training clips among clips of another data set."""
    folder = write_arrays(tmp_path / "others", groups=4)
    data = DataOptions(folder / "frames.npy", folder / "labels.npy")
    dataset = open_clips(data.data, data.annotations)
    clips = clips_of_data(recognizer, data, dataset, 10)
    assert (clips.source, clips.count, clips.labels) == ("clips of --data", 10, None)
    with pytest.raises(UserError, match=r"--data: .* must hold the clips that .* was trained on"):
        calibration_clips(recognizer, data, dataset, 10)


def test_a_model_without_a_record_is_not_compared_on_its_calibration_clips(student, recognizer):
    """Agreement would be measured on the clips to which the ranges were fitted."""
    plain = replace(recognizer, record=None)
    compared = clips_of_data(plain, student.data, student.dataset, 100)
    calibrating = [clip.tobytes() for clip in calibration_clips(plain, student.data, student.dataset, 100)()]
    assert compared.labels is None
    assert compared.count + len(calibrating) == len(student.dataset)
    assert not set(calibrating) & {clip.tobytes() for batch in compared.batches() for clip in batch}


def test_synthetic_clips_have_the_size_of_the_model():
    """A model of another size could not be exported without data."""
    for shape in ((16, 48, 40, 3), (80, 32, 32, 3)):
        clips = synthetic_clips(shape)
        batches = list(clips.batches())
        assert {batch.shape[1:] for batch in batches} == {shape}
        assert np.concatenate(batches).std() > 20


@pytest.mark.parametrize("options", [["--int8"], ["--annotations"], ["--paths"]])
def test_arguments_that_need_others(student, options, tmp_path, monkeypatch):
    """An export would run for minutes, and then fail or ignore an argument."""
    from tests.scripts import run_script

    files = {"--data": student.data.data, "--annotations": student.data.annotations, "--paths": student.data.data}
    arguments = [*options, *([files[options[0]]] if options[0] in files else [])]
    with unchanged(tmp_path):
        error = run_script("export.py", "--recognizer", student.path, *arguments, cwd=tmp_path, expect=2)
    needed = "--data"
    assert error == f"error: {options[0]}: must go with {needed}, got none\n"
