"""What export.py leaves behind: all files or none, and a record that stays true."""

import contextlib
import io
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from models.student import build_student_gap
from tests.bad_input.calls import tree
from tests.scripts import run_script
from tests.utils.export.conftest import make_student, run_export
from utils.base.errors import UserError
from utils.base.export_options import ExportOptions
from utils.base.prediction_options import PredictionOptions
from utils.export import folder, writing
from utils.export.run import export
from utils.networks.export_record import read_export_record
from utils.networks.recognizer import save_model

QUICK = {"formats": ("saved_model",), "measure": False}
SAVED_MODEL = "student_saved_model"


def exported_in(path: Path) -> dict[str, str]:
    """Return the digests of all files in a folder but for the log."""
    return {name: digest for name, digest in tree(path).items() if not name.endswith(".log")}


@pytest.fixture
def other_student(arrays, tmp_path):
    """A student of the same name and other weights."""
    keras.utils.set_random_seed(1)
    (tmp_path / "other").mkdir()
    return make_student(tmp_path / "other", arrays, build_student_gap(3, input_shape=(16, 48, 48, 3), width=0.1))


@pytest.fixture
def unconvertible(tmp_path):
    """A model with an operation that neither ONNX nor LiteRT has."""
    clips = keras.Input((4, 8, 8, 3))
    x = keras.ops.erfinv(keras.layers.GlobalAveragePooling3D()(clips) / 256)
    model = keras.Model(clips, keras.layers.Dense(3)(x))
    save_model(model, tmp_path / "model.keras")
    return tmp_path / "model.keras"


@pytest.mark.parametrize("kind", ["onnx", "litert"])
def test_a_model_that_cannot_be_converted(unconvertible, kind, tmp_path):
    """The error would be pages of a compiler's messages, or the file would need TensorFlow where it is deployed."""
    error = run_script(
        "export.py", "--recognizer", unconvertible, "--format", kind, "--output_path", "out", cwd=tmp_path, expect=2
    )
    assert error.startswith(f"error: --format {kind}: model.")
    assert error.count("\n") == 1
    assert "Erfinv" in error
    assert exported_in(tmp_path / "out") == {}


def test_a_file_that_differs_is_not_kept(student, tmp_path, monkeypatch):
    """A file that answers otherwise than the model would be deployed, and replace one that is right."""
    run_export(student, tmp_path, with_data=False, **QUICK)
    before, network_of = exported_in(tmp_path), writing.network_of
    assert {"student.json", "student_table.json", "example.py", "requirements.txt", SAVED_MODEL} <= set(before)
    monkeypatch.setattr(writing, "network_of", lambda model, output, t: network_of(model, output, 1.05 * t))
    with pytest.raises(UserError, match=r"must differ from those of Keras by at most 0.0001 on 6 test clips, found"):
        run_export(student, tmp_path, **QUICK)
    assert exported_in(tmp_path) == before


def test_a_failing_rename_restores_the_former_files(tmp_path, monkeypatch):
    """A full disk would leave files of two exports, of which the record describes neither."""
    (tmp_path / "out" / SAVED_MODEL).mkdir(parents=True)
    (tmp_path / "out" / SAVED_MODEL / "saved_model.pb").write_text("former")
    for name in ("student.json", "student.onnx"):
        (tmp_path / "out" / name).write_text("former")
    before = tree(tmp_path / "out")
    with contextlib.suppress(OSError), folder.staging_folder(tmp_path / "out", "student") as staging:
        (staging / "files" / SAVED_MODEL).mkdir(parents=True)
        (staging / "files" / SAVED_MODEL / "saved_model.pb").write_text("new")
        for name in ("student.json", "student.onnx"):
            (staging / "files" / name).write_text("new")
        replace = folder.os.replace

        def replace_unless_json(source, target):
            if Path(target) == tmp_path / "out" / "student.json" and "former" not in Path(source).name:
                raise OSError(28, "No space left on device", str(target))
            replace(source, target)

        monkeypatch.setattr(folder.os, "replace", replace_unless_json)
        folder.publish(staging / "files", tmp_path / "out", last="student.json")
    assert tree(tmp_path / "out") == before


def test_leftovers_of_a_killed_run_are_deleted(tmp_path):
    """Each killed run would leave a folder as large as the model; that of another model may be in use."""
    mine, other = tmp_path / ".student.123.export.partial", tmp_path / ".student.b.123.export.partial"
    mine.mkdir(), other.mkdir()
    with folder.staging_folder(tmp_path, "student") as staging:
        assert not mine.exists()
        assert staging.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == [other.name]


def test_a_second_export_keeps_what_stays_valid(student, exported, other_student, tmp_path):
    """Exporting a further format would make the record forget the first one, or describe files of another model."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("student.json", "student.onnx", "student.tflite", "requirements.txt"):
        shutil.copy(exported.folder / name, out)
    (out / "student.tflite").write_bytes((out / "student.tflite").read_bytes()[:-1])
    printed = run_export(student, out, with_data=False, **QUICK).printed
    record = read_export_record(out / SAVED_MODEL, argument="")
    assert sorted(record.files) == ["student.onnx", SAVED_MODEL]
    assert read_export_record(out / "student.onnx", argument="") == record
    assert "student.tflite is of another export" in printed
    assert "onnxruntime==" in (out / "requirements.txt").read_text()

    command = ["--recognizer", other_student.path, "--format", "saved_model", "--no_measure", "--output_path", "out"]
    error = run_script("export.py", *command, cwd=tmp_path, expect=2)
    assert error.startswith("error: --output_path: out/student.json exists and is not of this run")
    printed = run_script("export.py", *command, "--overwrite", cwd=tmp_path)
    assert "student.onnx is of another export" in printed
    assert sorted(read_export_record(out / SAVED_MODEL, argument="").files) == [SAVED_MODEL]


def test_files_of_others_are_never_replaced(student, tmp_path):
    """--overwrite would delete a folder of the user, or an export the requirements of the user's project."""
    for name, text, more in (("requirements.txt", "numpy", []), (f"{SAVED_MODEL}/notes.txt", "mine", ["--overwrite"])):
        folder_of_user = tmp_path / Path(name).stem
        (folder_of_user / name).parent.mkdir(parents=True)
        (folder_of_user / name).write_text(text)
        command = ["--recognizer", student.path, "--format", "saved_model", *more]
        error = run_script("export.py", *command, "--output_path", folder_of_user, cwd=tmp_path, expect=2)
        assert error.startswith("error: --output_path: ")
        assert Path(name).parts[0] in error
        assert (folder_of_user / name).read_text() == text
    error = run_script(
        "export.py", "--recognizer", student.path, "--output_path", student.path.parent, cwd=tmp_path, expect=2
    )
    assert "student.json, which --recognizer reads" in error


def test_a_model_without_a_record(student, tmp_path):
    """Its classes would get the names of others, or the export would fail; --class_names gives them names."""
    path = tmp_path / "plain.keras"
    shutil.copy(student.path, path)
    options = ExportOptions(output_path=tmp_path / "out", **QUICK)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        record = export(path, options)
    assert "class names are unknown" in printed.getvalue()
    assert (record.class_names, record.record, record.temperature, record.threshold) == (None, None, 1.0, None)
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    with contextlib.redirect_stdout(io.StringIO()):
        record = export(path, options, given=PredictionOptions(class_names=tmp_path / "names.txt"))
    assert record.class_names == ["a", "b", "c"]


def test_channels_and_scale_of_a_model_from_elsewhere(tmp_path):
    """An exported file would take BGR from 0 to 1, although its record states RGB from 0 to 255."""
    import tensorflow as tf

    clips = keras.Input((2, 4, 4, 3))
    means = keras.layers.GlobalAveragePooling3D()(clips)
    save_model(keras.Model(clips, keras.layers.Dense(3, kernel_initializer="identity")(means)), tmp_path / "m.keras")
    options = ExportOptions(output_path=tmp_path, output="logits", **QUICK)
    with contextlib.redirect_stdout(io.StringIO()):
        export(tmp_path / "m.keras", options, given=PredictionOptions(channels="bgr", input_scale="0..1"))
    red = np.zeros((1, 2, 4, 4, 3), np.float32)
    red[..., 0] = 255
    loaded = tf.saved_model.load(str(tmp_path / "m_saved_model"))
    scores = loaded.signatures["serving_default"](clip=tf.constant(red))["logits"].numpy()
    np.testing.assert_allclose(scores, [[0, 0, 1]], atol=1e-6)
