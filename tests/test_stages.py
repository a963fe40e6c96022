"""The scripts of the four stages, from video files to a student's test accuracy."""

import csv
import json
import subprocess
import sys

import cv2
import h5py
import numpy as np
import pytest

from tests.conftest import moving_square
from tests.keras2_file import answer_by_numpy, write_keras2_student
from tests.scripts import PROJECT
from tests.scripts import run_script as run
from utils.data.clips import open_clips
from utils.networks.recognizer import load_recognizer
from utils.runs.calibration import fit_calibration

SMALL = ["--input_size", "32", "--width", "0.1", "--batch_size", "4"]


def run_process(script, *arguments, cwd):
    """Run a script in a process of its own, as a user does; return its stdout."""
    command = [sys.executable, str(PROJECT / script), *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_video(path, frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames.shape[1:3]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (width, height))
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder after all four stages: 3 classes, 5 groups per class, 2 clips per group, 20 frames of 48x64 (HxW).

    Returns the folder, the arguments that name its arrays and the output of eval.py.
    """
    folder = tmp_path_factory.mktemp("workplace")
    rng = np.random.default_rng(0)
    for label in range(3):
        for group in range(1, 6):
            for clip in (1, 2):
                name = f"Class{label}/v_Class{label}_g{group:02}_c{clip:02}.avi"
                write_video(folder / "videos" / name, moving_square(rng, label, 20, 48, 64))
    arrays = ["--data", "arrays/frames.npy", "--annotations", "arrays/labels.npy"]
    size = ["--sequence_length", 16, "--frame_height", 40, "--frame_width", 56]
    run("video_to_frames.py", "--input_path", "videos", *size, "--output_path", "arrays", cwd=folder)
    teacher = ["--epochs", 6, "--output_path", "models/teacher.h5", "--log_path", "logs/teacher"]
    rate = ["--learning_rate", "0.001"]
    run("Teacher_training.py", *arrays, *SMALL, *rate, *teacher, "--task", "train_local_teacher", cwd=folder)
    student = ["--epochs", 2, "--temperature", 4, "--source", "models/teacher.h5", "--log_path", "logs/student.npy"]
    run_process("KD_training.py", *arrays, *SMALL, *student, "--output_path", "models/student.keras", cwd=folder)
    models = ["--recognizer", "models/student.keras", "models/teacher.h5"]
    report = run("eval.py", *arrays, *models, "--json", cwd=folder)
    return folder, arrays, report


def test_stage_1_leaves_the_arrays_of_the_contract(workplace):
    """Swapped sides or another order of rows would spoil every later stage."""
    folder, _, _ = workplace
    frames = np.load(folder / "arrays/frames.npy")
    assert (frames.shape, frames.dtype) == ((30, 16, 40, 56, 3), np.uint8)
    assert np.load(folder / "arrays/labels.npy").tolist() == sorted([0, 1, 2] * 10)
    assert np.load(folder / "arrays/video_file_paths.npy")[11] == "Class1/v_Class1_g01_c02.avi"


def test_records_describe_the_models(workplace):
    """Without its record, the clips that a model was trained on are unknown."""
    folder, _, _ = workplace
    record = json.loads((folder / "models/student.json").read_text())
    assert record["kind"] == "distilled student"
    assert record["class_names"] == ["Class0", "Class1", "Class2"]
    assert record["split"]["protocol"] == "group"
    rows = [row for name in ("train", "validation", "test") for row in record["split"]["rows"][name]]
    assert sorted(rows) == list(range(30))
    assert record["arguments"]["temperature"] == 4.0
    assert [record["arguments"][name] for name in ("views", "view_seed", "flip")] == [8, 0, True]
    teacher = json.loads((folder / "models/teacher.json").read_text())
    assert record["teachers"] == [teacher["fingerprint"]]
    assert record["split"]["test"] == teacher["split"]["test"]


@pytest.mark.parametrize("name", ["teacher.h5", "student.keras"])
def test_records_hold_the_calibration_of_the_saved_model(workplace, name):
    """predict.py would reject by the confidences of other weights or other clips, and choose windows by chance."""
    folder, _, report = workplace
    recognizer = load_recognizer(folder / "models" / name, argument="")
    record, dataset = recognizer.record, open_clips(folder / "arrays/frames.npy", folder / "arrays/labels.npy")
    rows = np.array(record.split.rows.validation)
    expected = fit_calibration(dataset.labels[rows], recognizer.logits(dataset, rows))
    assert record.calibration.temperature == pytest.approx(expected.temperature, rel=1e-3)
    assert record.calibration.threshold == pytest.approx(expected.threshold, abs=1e-4)
    assert (record.calibration.clips, record.calibration.rows) == (len(rows), "validation")
    assert record.clip_seconds.median == pytest.approx(16 / 25)  # 20 frames at 25 per second, 16 of them used
    assert record.clip_seconds.clips == len(record.split.rows.train)
    results = {result["recognizer"]: result for result in json.loads(report)["recognizers"]}
    assert results[f"models/{name}"]["calibrated"]["threshold"] == record.calibration.threshold


@pytest.mark.parametrize(("name", "epochs"), [("teacher", 6), ("student", 2)])
def test_history_has_a_row_per_epoch_and_needs_no_pickle(workplace, name, epochs):
    """Curves would be incomplete, or differ between the .npy and the .csv file."""
    folder, _, _ = workplace
    history = np.load(folder / f"logs/{name}.npy", allow_pickle=False)
    assert history["epoch"].tolist() == list(range(1, epochs + 1))
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(history.dtype.names)
    with open(folder / f"logs/{name}.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_loss"]) for row in rows] == history["val_loss"].tolist()
    assert (folder / f"logs/{name}.png").read_bytes().startswith(b"\x89PNG")


def test_evaluation_is_on_the_recorded_test_clips(workplace):
    """A program that reads the last line would take accuracy on training clips for test accuracy."""
    folder, _, report = workplace
    last = json.loads(report)
    assert last == json.loads((folder / "report/metrics.json").read_text())
    record = json.loads((folder / "models/student.json").read_text())
    with open(folder / "report/predictions.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["recogniser"] == "student"]
    assert [int(row["row"]) for row in rows] == record["split"]["rows"]["test"]
    right = np.mean([row["truth"] == row["class_1"] for row in rows])
    assert last["recognizers"][0]["top1"] == pytest.approx(right)
    assert last["comparisons"][0]["second"] == "models/teacher.h5"


def test_fine_tuning_from_a_weights_file(workplace):
    """The published command would fail, or read RGB weights as BGR. The weights file has random values."""
    folder, arrays, _ = workplace
    write_sports1m_file(folder / "sports1m.h5", width=0.1, side=32)
    task = ["--task", "fintuning_C3D_Sports1M", "--weights", "sports1m.h5", "--epochs", 2, "--log_path", "logs/tuned"]
    printed = run("Teacher_training.py", *arrays, *SMALL, *task, "--output_path", "models/tuned.h5", cwd=folder)
    assert "computing the frozen layers below fc8 once for" in printed
    with h5py.File(folder / "models/tuned.h5") as file, h5py.File(folder / "sports1m.h5") as weights:
        kernel = file["model_weights/conv1/conv1/kernel"][()]
        np.testing.assert_array_equal(kernel, weights["conv1/conv1/kernel:0"][()][:, :, :, ::-1])


def write_sports1m_file(path, *, width, side):
    """Write a Keras weights file in the layout of the Sports-1M weights, with random values."""
    from models.c3d import SPORTS1M_CLASSES, WEIGHT_LAYERS, build_c3d

    model = build_c3d(SPORTS1M_CLASSES, input_shape=(16, side, side, 3), width=width)
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for name in WEIGHT_LAYERS:
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{part}:0".encode() for part in ("kernel", "bias")]
            for part, variable in zip(("kernel", "bias"), model.get_layer(name).weights):
                group[f"{name}/{part}:0"] = rng.normal(0, 0.02, variable.shape).astype("float32")


@pytest.mark.usefixtures("eager")
def test_a_keras_2_student_is_evaluated_and_used_as_teacher(workplace):
    """Models of the original code, which end in a softmax and expect BGR, would give wrong predictions."""
    folder, arrays, _ = workplace
    weights = write_keras2_student(folder / "old.h5", input_shape=(16, 40, 56, 3), num_classes=3)
    frames, labels = np.load(folder / "arrays/frames.npy"), np.load(folder / "arrays/labels.npy")
    expected = answer_by_numpy(weights, frames[..., ::-1])
    bgr = ["--channels", "bgr", "--output_path", "old_report"]
    printed = run("eval.py", *arrays, "--recognizer", "old.h5", *bgr, cwd=folder)
    assert "old.h5 has no record" in printed
    result = json.loads((folder / "old_report/metrics.json").read_text())["recognizers"][0]
    assert result["clips"] == 30
    assert result["top1"] == pytest.approx(np.mean(expected.argmax(axis=1) == labels))
    assert result["loss"] == pytest.approx(-np.log(expected[np.arange(30), labels]).mean(), rel=1e-4)

    source = ["--source", "old.h5", "--source_channels", "bgr", "--epochs", 1, "--log_path", "logs/pupil"]
    printed = run("KD_training.py", *arrays, *SMALL, *source, "--output_path", "models/pupil.h5", cwd=folder)
    rows = json.loads((folder / "models/pupil.json").read_text())["split"]["rows"]["train"]
    right = 100 * np.mean(expected[rows].argmax(axis=1) == labels[rows])
    assert f"teacher old.h5: accuracy {right:.1f} % on training clips" in printed
    history = np.load(folder / "logs/pupil.npy")
    assert history["soft_loss"][0] > 0.01  # with probabilities taken for logits it would be about 0.005


def test_errors_are_one_line_and_leave_nothing(workplace):
    """A mistake would end in a traceback or leave an incomplete model."""
    folder, arrays, _ = workplace
    new = ["--output_path", "models/new.h5", "--log_path", "logs/new", "--epochs", 1]
    np.save(folder / "mixed.npy", np.concatenate([np.eye(3)[[0] * 29], [[-1.0, 2.5, 3.5]]]))
    for arguments, message in [
        (["--source", "arrays/labels.h5"], "error: --source: must be an existing file, got arrays/labels.h5"),
        (["--source", "videos"], "error: --source: must end in .keras, .h5 or .npy, got videos"),
        (["--source", "arrays/labels.npy"], "error: --source: arrays/labels.npy must hold class scores as floats"),
        (
            ["--source", "mixed.npy"],
            "error: --source: mixed.npy must hold logits or probabilities; choose one of them with --source_scores",
        ),
        (["--source", "mixed.npy", "--source_scores", "probabilities"], "error: --source: mixed.npy must hold prob"),
        (
            ["--source", "models/teacher.h5", "--source_scores", "logits"],
            "error: --source_scores: must go with a source that",
        ),
        (["--source", "mixed.npy", "--source_scores", "votes"], "error: --source_scores: must be one of auto, "),
        (["--source", "arrays/labels.npy", "--teacher", "live"], "error: --teacher_outputs live: must have one model"),
        (
            ["--source", "models/teacher.h5", "--cache", "arrays/labels.npy"],
            "error: --cache: would replace arrays/labels.npy",
        ),
        (
            ["--cache", "kept.npy"],
            "error: --cache: must go with --teacher_outputs cached and one model",
        ),
        (["--temperature", "0"], "error: --temperature: must be a number above 0, got 0"),
        ([], "error: --source must name a teacher unless --alpha is 1, got none"),
        (["--source", "models/teacher.h5", "--split_seed", "3"], "error: --source: models/teacher.h5 has seen"),
    ]:
        printed = run("KD_training.py", *arrays, *SMALL, *new, *arguments, cwd=folder, expect=2)
        assert printed.startswith(message)
        assert printed.count("\n") == 1
    assert not (folder / "models/new.h5").exists()
    assert not list(folder.rglob("*.partial*"))


@pytest.mark.usefixtures("eager")
def test_an_ensemble_and_a_teacher_of_another_framework(workplace):
    """The README's way to use a model of another framework: write views, read scores, average with a C3D teacher."""
    folder, arrays, _ = workplace
    views = ["--views", 1, "--write_views", "views", "--input_size", 24]
    printed = run("KD_training.py", *arrays, *views, cwd=folder)
    assert "wrote 42 clips in 2 views to views" in printed
    scores = np.full((30, 2, 3), np.nan, np.float32)
    for view in range(2):
        colours = np.load(folder / f"views/view_{view}.npy").astype(float).mean(axis=(1, 2, 3))
        scores[np.load(folder / f"views/rows_{view}.npy"), view] = (colours - 128) / 10
    np.save(folder / "scores.npy", scores)
    (folder / "scores.json").write_bytes((folder / "views/views.json").read_bytes())
    both = ["--source", "models/teacher.h5", "scores.npy", "--views", 1, "--epochs", 1, "--log_path", "logs/both"]
    printed = run("KD_training.py", *arrays, *SMALL, *both, "--output_path", "models/both.keras", cwd=folder)
    assert "teacher average of 2:" in printed
    assert len(json.loads((folder / "models/both.json").read_text())["teachers"]) == 2
    assert np.load(folder / "logs/both.npy")["soft_loss"][0] > 0


def test_a_contradicting_split_needs_force(workplace):
    """Accuracy on training clips would be reported as test accuracy; --force marks every output."""
    folder, arrays, _ = workplace
    asked = ["--recognizer", "models/student.keras", "--split", "random"]
    printed = run("eval.py", *arrays, *asked, cwd=folder, expect=2)
    assert "must be tested on the split in its record" in printed
    printed = run("eval.py", *arrays, *asked, "--force", "--output_path", "forced", cwd=folder)
    assert "FORCED: student.keras was trained with --split group" in printed
    assert "FORCED" in (folder / "forced/results.md").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_real_videos_to_a_test_accuracy(shared_data, tmp_path):
    """All stages would fail on real videos, or test on persons that were trained on."""
    size = ["--frame_height", 40, "--frame_width", 40]
    run("video_to_frames.py", "--input_path", shared_data / "weizmann", *size, "--output_path", "w", cwd=tmp_path)
    arrays = ["--data", "w/frames.npy", "--annotations", "w/labels.npy"]
    run("Teacher_training.py", *arrays, *SMALL, "--epochs", 1, "--output_path", "t.h5", "--log_path", "t", cwd=tmp_path)
    source = ["--source", "t.h5", "--views", 1, "--epochs", 1, "--output_path", "s.h5", "--log_path", "s"]
    run("KD_training.py", *arrays, *SMALL, *source, cwd=tmp_path)
    result = json.loads(run("eval.py", *arrays, "--recognizer", "s.h5", "--json", cwd=tmp_path))
    assert result["recognizers"][0]["clips"] == 20
    assert result["recognizers"][0]["interval"]["groups"] == 2
    assert np.load(tmp_path / "w/frames.npy", mmap_mode="r").shape == (90, 16, 40, 40, 3)


@pytest.mark.slow
def test_the_full_width_networks_train_a_step(make_arrays, tmp_path):
    """Networks of the published size could not be built, trained, saved or loaded."""
    from utils.base.options import (
        DataOptions,
        DistillationOptions,
        NetworkOptions,
        OutputOptions,
        TeacherOptions,
        TrainingOptions,
    )
    from utils.networks.recognizer import load_recognizer
    from utils.training.stages import train_student, train_teacher

    folder = make_arrays(classes=2, groups=3, clips=1, height=112, width=112)
    data = DataOptions(folder / "frames.npy", folder / "labels.npy")
    training, network = TrainingOptions(batch_size=1, epochs=1), NetworkOptions()
    teacher_output = OutputOptions(tmp_path / "teacher.keras", tmp_path / "teacher")
    settings = {"data": data, "training": training, "network": network}
    train_teacher(**settings, teacher=TeacherOptions(), output=teacher_output)
    source = DistillationOptions(source=tmp_path / "teacher.keras")
    student_output = OutputOptions(tmp_path / "student.h5", tmp_path / "student")
    train_student(**settings, distillation=source, output=student_output)
    assert load_recognizer(tmp_path / "teacher.keras", argument="").model.count_params() == 78_003_970
    assert load_recognizer(tmp_path / "student.h5", argument="").model.count_params() == 7_196_930
