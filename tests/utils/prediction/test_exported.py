"""Exported files are used wherever Keras files are, and give the same answers."""

import contextlib
import json
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from tests.exported_files import SHAPE, SUFFIXES, about_export, keras_model, write_export, write_exported
from tests.fake_recognizer import save_recognizer
from tests.scripts import PROJECT, run_script
from utils.base.errors import UserError
from utils.base.files import read_json, write_json
from utils.base.options import ViewOptions
from utils.base.prediction_options import PredictionOptions, TimelineOptions
from utils.base.schemas import read_checked
from utils.data.clips import open_clips
from utils.networks import exported
from utils.networks.formats.opening import open_runtime
from utils.networks.recognizer import load_recognizer
from utils.prediction.answers import NO_ACTION
from utils.prediction.clips import predict_videos
from utils.prediction.predictor import load_predictor
from utils.prediction.timelines import timeline_of
from utils.runs.calibration import Calibration
from utils.runs.record import ClipSeconds, Record

CALIBRATION = {"temperature": 1.7, "threshold": 0.0, "kept": 0.95, "clips": 3, "rows": "validation"}
SECONDS = {"median": 0.8, "lower_quartile": 0.5, "upper_quartile": 1.0, "clips": 6}


@pytest.fixture(scope="session")
def exports(trained, tmp_path_factory):
    """A folder with `net.keras`, its exports in `probabilities` and `logits`, and `videos`, with its `arrays`."""
    folder = tmp_path_factory.mktemp("exports")
    for name in ("videos", "arrays"):
        shutil.copytree(trained / name, folder / name)
    record = read_checked(trained / "model.json", Record)
    record = record.changed(calibration=Calibration(**CALIBRATION), clip_seconds=ClipSeconds(**SECONDS))
    save_recognizer(keras_model(), folder / "net.keras", record)
    answers = predict_videos(load_predictor(folder / "net.keras"), videos_in(folder))
    found = sorted(answer.confidence for answer in answers)
    threshold = (found[4] + found[5]) / 2  # rejects five of nine videos
    record = record.changed(calibration=record.calibration.model_copy(update={"threshold": threshold}))
    save_recognizer(keras_model(), folder / "net.keras", record)
    record = read_json(folder / "net.json")
    for output in ("probabilities", "logits"):
        about = about_export(
            output=output,
            temperature=CALIBRATION["temperature"],
            threshold=record["calibration"]["threshold"],
            clip_seconds=SECONDS,
            class_names=record["class_names"],
            stored_shape=record["arrays"]["shape"][1:],
        )
        write_export(folder / output, about, record)
    return folder


def videos_in(folder):
    return sorted((folder / "videos").rglob("*.avi"))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("output", ["probabilities", "logits"])
def test_answers_equal_those_of_keras(exports, suffix, output):
    """An exported file would give other answers, confidences, segments or rejections than the model that was tested."""
    path = exports / output / f"net{suffix}"
    for views in (1, 3):
        options = PredictionOptions(views=views, batch_size=4)
        expected = list(predict_videos(load_predictor(exports / "net.keras", options), videos_in(exports)))
        found = list(predict_videos(load_predictor(path, options), videos_in(exports)))
        for answer, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(answer.probabilities, other.probabilities, atol=1e-4)
            assert (answer.label, answer.threshold) == (other.label, other.threshold)
            assert answer.class_names == ("Class0", "Class1", "Class2")
        assert [answer.label for answer in found].count(NO_ACTION) == 5 or views > 1
    one, other = (
        timeline_of(load_predictor(each), videos_in(exports)[0], TimelineOptions())
        for each in (path, exports / "net.keras")
    )
    np.testing.assert_array_equal(one.edges, other.edges)
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-4)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_answer_for_a_training_video_is_that_of_the_evaluation(exports, suffix):
    """A model would be applied to other pixels than those that it was tested on. Equal batches, equal bits."""
    dataset = open_clips(exports / "arrays/frames.npy", exports / "arrays/labels.npy")
    recognizer = load_recognizer(exports / f"logits/net{suffix}", argument="")
    logits = recognizer.logits(dataset, np.arange(4), batch_size=4, options=ViewOptions(view_seed=3))
    predictor = load_predictor(exports / f"logits/net{suffix}", PredictionOptions(batch_size=4))
    paths = [exports / "videos" / dataset.paths[row] for row in range(4)]
    exponentials = np.exp(logits.astype(np.float64) / CALIBRATION["temperature"])
    expected = exponentials / exponentials.sum(axis=1, keepdims=True)
    found = [answer.probabilities for answer in predict_videos(predictor, paths)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_ensembles_of_keras_and_exported_files(exports):
    """Files of several formats could not be averaged, or one would be left out."""
    video = videos_in(exports)[0]
    paths = [exports / "net.keras", *(exports / f"probabilities/net{suffix}" for suffix in SUFFIXES)]
    alone, together = (load_predictor(each).predict(video).probabilities for each in (paths[0], paths))
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_a_file_without_its_json_states_classes_and_calibration(exports, tmp_path):
    """An app that ships one file would show numbers instead of names, and uncalibrated confidences."""
    expected = load_predictor(exports / "net.keras").predict(videos_in(exports)[0])
    for suffix in SUFFIXES:
        path = tmp_path / f"net{suffix}"
        for file in (exports / "probabilities").glob("net.[!j]*"):
            shutil.copy(file, tmp_path)
        predictor = load_predictor(path)
        answer = predictor.predict(videos_in(exports)[0])
        assert answer.class_names == expected.class_names
        assert (predictor.threshold, predictor.clip_seconds) == (expected.threshold, 0.8)
        np.testing.assert_allclose(answer.probabilities, expected.probabilities, atol=1e-4)
        with pytest.raises(UserError, match=r"--frame_size is for models without a record, but .* states it"):
            load_predictor(path, PredictionOptions(frame_size=(40, 48)))
        with pytest.raises(UserError, match="--channels and --input_scale are for models without a record, but"):
            load_predictor(path, PredictionOptions(channels="bgr"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_another_project(exports, tmp_path, capsys, suffix):
    """A softmax would be applied twice, or a network for BGR 0..1 get RGB 0..255."""
    clips = np.random.default_rng(0).integers(0, 256, (3, *SHAPE)).astype(np.uint8)
    expected = keras_model().predict_on_batch(clips)
    found = load_recognizer(write_exported(tmp_path / f"a{suffix}", temperature=1.0), argument="").model
    assert capsys.readouterr().out == f"{tmp_path / f'a{suffix}'}: probabilities, log taken\n"
    differences = found.predict_on_batch(clips) - expected
    np.testing.assert_allclose(differences, differences[:, :1].repeat(3, axis=1), atol=1e-4)
    path = write_exported(tmp_path / f"b{suffix}")
    found = load_recognizer(path, argument="", channels="bgr", input_scale="0..1")
    assert capsys.readouterr().out == f"{path}: logits\n"
    expected = keras_model().predict_on_batch(clips[..., ::-1] / np.float32(255))
    np.testing.assert_allclose(found.model.predict_on_batch(clips), expected, atol=1e-4)
    assert load_predictor(path).class_names == ("0", "1", "2")


def test_impossible_files_are_refused(exports, tmp_path):
    """Answers would get the names of other classes, or come from another model than its record says."""
    folder = tmp_path / "logits"
    shutil.copytree(exports / "logits", folder)
    record = read_json(folder / "net.json")
    other_input = {**record["input"], "shape": [16, 32, 40, 3]}
    write_exported(folder / "net.onnx", temperature=2.0)
    with pytest.raises(UserError, match=r"--recognizer: .*net\.json must be the record of .*net\.onnx, but belongs to"):
        load_predictor(folder / "net.onnx")
    for change, message in (
        ({"class_names": ["a", "b"]}, r"net\.xml has 3 classes, but its record names 2"),
        ({"input": other_input}, r"\[16, 32, 32, 3\], but its record states \[16, 32, 40, 3\]"),
        ({"temperature": 0.0}, r"net\.json: temperature must be greater than 0, found 0\.0"),
    ):
        write_json(folder / "net.json", record | change)
        with pytest.raises(UserError, match=message) as raised:
            load_predictor(folder / "net.xml")
        assert "\n" not in str(raised.value)
    write_exported(tmp_path / "odd.onnx", metadata={"format": 1})
    with pytest.raises(UserError, match=r"--recognizer: the metadata of .*odd\.onnx: kind is missing"):
        load_predictor(tmp_path / "odd.onnx")
    with pytest.raises(UserError, match=r"--threads is for exported models, got .*net\.keras"):
        load_predictor(exports / "net.keras", PredictionOptions(threads=1))


def test_bfloat16_is_used_only_where_export_has_verified_it(exports, tmp_path, monkeypatch, capsys):
    """Predictions would be less exact than those that were tested, without a word, or three times as slow as needed."""
    opened = []

    def open_recorded(path, *, threads, precision):
        opened.append(precision)
        return open_runtime(path, threads=threads)

    monkeypatch.setattr(exported, "open_runtime", open_recorded)
    shutil.copytree(exports / "logits", tmp_path / "out")
    path, record = tmp_path / "out/net.xml", read_json(tmp_path / "out/net.json")

    def precision_of(asked: str, has_bfloat16: bool) -> str:
        monkeypatch.setattr(exported, "cpu_has_bfloat16", lambda: has_bfloat16)
        load_predictor(path, PredictionOptions(precision=asked))
        return opened.pop()

    assert [precision_of(asked, True) for asked in ("auto", "float32")] == ["float32"] * 2
    with pytest.raises(UserError, match=r"^--precision: must be float32 or auto, as .*net\.xml was not verified"):
        precision_of("bfloat16", True)
    record["files"]["net.xml"]["bfloat16"] = {"largest_difference": 0.004, "agreement": 0.995}
    write_json(tmp_path / "out/net.json", record)
    assert capsys.readouterr().err == ""
    assert [precision_of("auto", has) for has in (True, False)] == ["bfloat16", "float32"]
    assert capsys.readouterr().err == (
        f"{path}: computed in bfloat16, verified by export.py (99.5% of classes, largest difference 0.004); "
        "--precision float32 is exact\n"
    )
    assert [precision_of(asked, True) for asked in ("float32", "bfloat16")] == ["float32", "bfloat16"]
    with pytest.raises(UserError, match=r"^--precision: must be float32 or auto for the Keras file .*net\.keras, got"):
        load_predictor(exports / "net.keras", PredictionOptions(precision="bfloat16"))


def run_eval(folder, *arguments, expect=0):
    """Run eval.py; return the results of its first recogniser, or what it wrote to stderr."""
    arrays = ("--data", "arrays/frames.npy", "--annotations", "arrays/labels.npy")
    printed = run_script("eval.py", *arrays, *arguments, *([] if expect else ["--json"]), cwd=folder, expect=expect)
    return printed if expect else json.loads(printed)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_eval_gives_the_same_results_as_for_keras(exports, suffix):
    """The record of the source would be ignored: training clips would count as test clips."""
    paths = ("net.keras", f"probabilities/net{suffix}")
    keras, found = run_eval(exports, "--recognizer", *paths, "--views", "2", "--output_path", "results")["recognizers"]
    same = ("split", "clips", "seen", "top1", "interval", "views", "parameters", "leaks")
    assert {name: found[name] for name in same} == {name: keras[name] for name in same}
    assert found["seen"] == {"test_clips": found["clips"], "seen_test_clips": 0, "unknown": []}
    for name in ("loss", "calibration_error"):
        assert found[name] == pytest.approx(keras[name], abs=1e-4)
        assert found["calibrated"][name] == pytest.approx(keras["calibrated"][name], abs=1e-4)
    assert found["megabytes"] < keras["megabytes"]
    assert (exports / "results/confusion_net_2.png").is_file()
    error = run_eval(exports, "--recognizer", paths[1], "--split", "random", "--split_seed", "7", expect=2)
    assert error.startswith(f"error: --recognizer {paths[1]} must be tested on the split in its record")
    error = run_eval(exports, "--recognizer", paths[1], "--calibrate", expect=2)
    assert (
        error == f"error: --calibrate: {paths[1]} is an exported file; calibrate its Keras file, and export it again\n"
    )


def test_eval_of_a_file_that_states_nothing(exports, tmp_path, monkeypatch):
    """Costs would be guessed, or the evaluation end with a traceback."""
    path = write_exported(tmp_path / "net.onnx")
    (found,) = run_eval(exports, "--recognizer", path)["recognizers"]
    assert (found["parameters"], found["multiply_accumulates"], found["clips"]) == (None, None, 9)
    assert found["seen"]["unknown"] == ["net.onnx has no record (net.json)"]


def test_eval_matches_classes_by_the_names_in_a_file(exports, tmp_path):
    """A file whose classes have another order would get the accuracy of other classes."""
    found = []
    for name, order in (("same", (0, 1, 2)), ("other", (1, 2, 0))):
        about = about_export(output="logits", class_names=[f"Class{number}" for number in order])
        path = write_exported(tmp_path / f"{name}.onnx", metadata=about)
        found += run_eval(exports, "--recognizer", path)["recognizers"]
    dataset = open_clips(exports / "arrays/frames.npy", exports / "arrays/labels.npy")
    predicted = load_recognizer(path, argument="").logits(dataset, np.arange(9)).argmax(axis=1)
    expected = [np.mean(predicted == dataset.labels), np.mean((predicted + 1) % 3 == dataset.labels)]
    assert [result["top1"] for result in found] == pytest.approx(expected)
    assert expected[0] != expected[1]


def test_neither_tensorflow_nor_keras_is_imported(exports):
    """The first answer of a file of 1 MB would take five seconds, and need two gigabytes of packages."""
    code = """
        import runpy, sys
        def run(script, *arguments):
            sys.argv = [script, *arguments]
            runpy.run_path(script, run_name="__main__")
        folder, project, output = sys.argv[1:]
        for suffix in (".onnx", ".xml", ".tflite"):
            run(f"{project}/predict.py", "--recognizer", f"{folder}/probabilities/net{suffix}", "--input",
                f"{folder}/videos", "--json")
        heavy = {"tensorflow", "keras", "sklearn", "scipy", "matplotlib", "onnx"} & set(sys.modules)
        assert not heavy, heavy
        run(f"{project}/eval.py", "--recognizer", f"{folder}/probabilities/net.onnx", "--data",
            f"{folder}/arrays/frames.npy", "--annotations", f"{folder}/arrays/labels.npy", "--output_path", output)
        heavy = {"tensorflow", "keras"} & set(sys.modules)
        assert not heavy, heavy
    """
    arguments = (exports, PROJECT, exports / "light")
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], capture_output=True, text=True, cwd=PROJECT
    )
    assert (run.returncode, run.stderr) == (0, "")
    with contextlib.suppress(json.JSONDecodeError):
        answers = [json.loads(line) for line in run.stdout.splitlines()[:27]]
    assert len({(answer["video"], answer["class"]) for answer in answers}) == 9  # 9 videos, equal in three formats
