"""Answers for whole videos equal those of stage 1 and eval.py."""

import numpy as np
import pytest
from scipy.special import softmax

from tests.fake_recognizer import save_recognizer
from tests.utils.prediction.conftest import STORED, colour_predictor, coloured, write_video
from utils.base.errors import UserError
from utils.base.options import ViewOptions
from utils.base.prediction_options import PredictionOptions
from utils.data.clips import open_clips
from utils.data.views import whole_view
from utils.networks.recognizer import load_recognizer
from utils.prediction.answers import NO_ACTION, Unreadable
from utils.prediction.clips import predict_videos, read_views
from utils.prediction.frames import frames_of
from utils.prediction.predictor import load_predictor
from utils.runs.calibration import Calibration
from utils.video.video import read_clip_and_info, stored_frame


@pytest.mark.parametrize("views", [1, 3])
def test_the_answer_for_a_training_video_is_that_of_the_evaluation(trained, views):
    """A model would be applied to other pixels than those that it was tested on. Equal batches, equal bits."""
    dataset = open_clips(trained / "arrays/frames.npy", trained / "arrays/labels.npy")
    recognizer = load_recognizer(trained / "model.keras", argument="--recognizer")
    rows = np.zeros(4, int) if views > 1 else np.arange(4)  # videos have the views of row 0
    options = ViewOptions(view_seed=3)
    logits = [recognizer.logits(dataset, rows, batch_size=4, view=view, options=options) for view in range(views)]
    expected = np.mean([softmax(each.astype(np.float64), axis=1) for each in logits], axis=0)

    predictor = load_predictor(trained / "model.keras", PredictionOptions(batch_size=4, views=views))
    answers = list(predict_videos(predictor, [trained / "videos" / dataset.paths[row] for row in rows]))
    assert predictor.members[0].stored_shape == STORED
    np.testing.assert_array_equal([answer.probabilities for answer in answers], expected)


def test_the_mean_of_several_models_and_the_calibration_of_each(trained, tmp_path):
    """Confidences would be those of uncalibrated models, or a model would be left out."""
    recognizer = load_recognizer(trained / "model.keras", argument="--recognizer")
    for name, temperature, threshold in (("sharp", 0.01, 0.4), ("flat", 100.0, 0.8)):
        found = Calibration(temperature=temperature, threshold=threshold, kept=0.95, clips=3, rows="validation")
        save_recognizer(recognizer.model, tmp_path / f"{name}.keras", recognizer.record.changed(calibration=found))
    video = trained / "videos/Class1/v_Class1_g02_c01.avi"
    plain, sharp, flat = (
        load_predictor(path) for path in (trained / "model.keras", tmp_path / "sharp.keras", tmp_path / "flat.keras")
    )
    both = load_predictor([tmp_path / "sharp.keras", tmp_path / "flat.keras"])
    logits = np.log(plain.predict(video).probabilities)
    np.testing.assert_allclose(sharp.predict(video).probabilities, softmax(logits / 0.01), rtol=1e-6)
    mean = (sharp.predict(video).probabilities + flat.predict(video).probabilities) / 2
    np.testing.assert_allclose(both.predict(video).probabilities, mean, rtol=1e-12)
    assert (plain.threshold, sharp.threshold, both.threshold) == (0.0, 0.4, pytest.approx(0.6))
    assert plain.notes == ("model.keras: not calibrated, so every video gets a class unless --threshold is given",)
    assert flat.predict(video).label == NO_ACTION
    assert load_predictor(tmp_path / "flat.keras", PredictionOptions(threshold=0.0)).predict(video).label != NO_ACTION


@pytest.mark.parametrize("shrinking", ["area", "bilinear"])
def test_frames_are_shrunk_as_for_the_training(trained, tmp_path, shrinking):
    """A model would see other pixels than in its training, above all those of videos of high resolution."""
    recognizer = load_recognizer(trained / "model.keras", argument="--recognizer")
    about = recognizer.record.input.model_copy(update={"shrinking": shrinking})
    save_recognizer(recognizer.model, tmp_path / "model.keras", recognizer.record.changed(input=about))
    video = write_video(
        tmp_path / "a.avi", np.random.default_rng(0).integers(0, 256, (20, 240, 320, 3)).astype(np.uint8)
    )
    predictor = load_predictor(tmp_path / "model.keras")
    clip, _ = read_clip_and_info(video, STORED, shrinking=shrinking)
    (member,) = predictor.members
    np.testing.assert_array_equal(read_views(predictor, video).views[0], member.views_of(clip, 1))
    with frames_of(video) as frames:
        picture = next(iter(frames))[1]()
    stored = stored_frame(picture, height=STORED[1], width=STORED[2], shrinking=shrinking)
    np.testing.assert_array_equal(stored, clip[0])
    np.testing.assert_array_equal(member.frame_of(picture), whole_view(stored[None], height=32, width=32)[0])


def test_videos_that_cannot_be_read_do_not_stop_the_others(tmp_path):
    """One damaged file among thousands would end the run, or shift the answers of those after it."""
    paths = []
    for number, channel in enumerate((0, 1, 2, 1)):
        paths.append(write_video(tmp_path / f"{number}.avi", coloured((channel, 20))))
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video")
    paths[1:1] = [tmp_path / "empty.mp4"]
    paths[3:3] = [tmp_path / "text.mp4", tmp_path / "missing.mp4"]
    predictor = colour_predictor(batch_size=3)
    found = list(predict_videos(predictor, paths))
    assert [found_one.video for found_one in found] == [str(path) for path in paths]
    labels = [None if isinstance(each, Unreadable) else each.label for each in found]
    assert labels == ["red", None, "green", None, None, "blue", "green"]
    assert predictor.members[0].recognizer.model.batches == [3, 1]
    assert found[1].reason == "is empty"


def test_models_without_a_record(trained, tmp_path):
    """Another project's model could not be used, or would name its classes wrongly."""
    model = load_recognizer(trained / "model.keras", argument="").model
    model.save(tmp_path / "plain.keras")
    (tmp_path / "names.txt").write_text("walk\nrun\n\njump\n")
    names = PredictionOptions(class_names=tmp_path / "names.txt", sequence_length=20, frame_size=(40, 48))
    video = trained / "videos/Class1/v_Class1_g02_c01.avi"
    answer = load_predictor(tmp_path / "plain.keras", names).predict(video)
    assert answer.class_names == ("walk", "run", "jump")
    expected = load_predictor(trained / "model.keras").predict(video).probabilities
    np.testing.assert_allclose(answer.probabilities, expected, rtol=1e-5)
    assert load_predictor(tmp_path / "plain.keras").class_names == ("0", "1", "2")

    (tmp_path / "names.txt").write_text("\ufeffwalk\nrun\njump\n", encoding="utf-8")  # as Windows' editors write it
    assert load_predictor(tmp_path / "plain.keras", names).class_names == ("walk", "run", "jump")
    for text, mark in (("walk;run;jump", "semicolons"), ("0\twalk\n1\trun", "tabs")):
        (tmp_path / "names.txt").write_text(text)
        with pytest.raises(UserError, match=f"different ones in . lines?, with {mark} in them"):
            load_predictor(tmp_path / "plain.keras", names)
    (tmp_path / "names.txt").write_text("walk\nwalk\nrun\n")
    with pytest.raises(UserError, match="must hold 3 different names, one per line, found 2 different ones in 3 lines"):
        load_predictor(tmp_path / "plain.keras", names)
    with pytest.raises(UserError, match="--sequence_length: must be at least the 16 frames"):
        load_predictor(tmp_path / "plain.keras", PredictionOptions(sequence_length=8))
    with pytest.raises(UserError, match="--frame_size is for models without a record"):
        load_predictor(trained / "model.keras", PredictionOptions(frame_size=(40, 48)))


def test_models_of_different_classes_are_not_averaged(trained, tmp_path):
    """The probabilities of different classes would be averaged."""
    recognizer = load_recognizer(trained / "model.keras", argument="")
    record = recognizer.record.changed(class_names=["a", "b", "c"])
    save_recognizer(recognizer.model, tmp_path / "other.keras", record)
    with pytest.raises(UserError, match=r"must have the classes of .*, Class0, Class1, Class2, found a, b, c"):
        load_predictor([trained / "model.keras", tmp_path / "other.keras"])


def test_short_videos(tmp_path):
    """A short video would be answered by other frames than in stage 1, or the choice would have no effect."""
    path = write_video(tmp_path / "a.avi", coloured((0, 4), (2, 1)))
    (skipped,) = predict_videos(colour_predictor(), [path])
    assert skipped.reason == "has 5 frames, fewer than the 16 wanted"
    (repeated,) = predict_videos(colour_predictor(short_videos="repeat"), [path])
    (held,) = predict_videos(colour_predictor(short_videos="hold"), [path])
    assert (repeated.label, held.label) == ("red", "blue")  # 13 of 16 frames red, 12 of 16 blue
