"""The files that export.py writes, compared with Keras."""

import json

import numpy as np
import pytest
from scipy.special import softmax

from tests.utils.export.conftest import TEMPERATURE, THRESHOLD, run_export
from utils.base.schemas import checked
from utils.export.results import in_float
from utils.networks.export_record import ExportMetadata, read_export_record
from utils.networks.formats.format import METADATA_KEY
from utils.networks.formats.opening import open_runtime

FLOATS = ("student.onnx", "student.xml", "student.tflite", "student_saved_model")
INTEGERS = ("student_int8.onnx", "student_int8.xml", "student_int8.tflite")


def run(path, clips):
    return open_runtime(path, threads=1)(clips)


def test_inputs_and_outputs_are_named(exported):
    """A program of the user that calls a runtime by these names would fail."""
    import onnxruntime
    import openvino
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    stem = exported.folder / "student"
    session = onnxruntime.InferenceSession(f"{stem}.onnx")
    model = openvino.Core().read_model(f"{stem}.xml")
    names = [([each.name for each in part] for part in (session.get_inputs(), session.get_outputs()))]
    names.append(list(part[0].names) for part in (model.inputs, model.outputs))
    names.append(Interpreter(f"{stem}.tflite").get_signature_list()["serving_default"].values())
    signature = tf.saved_model.load(f"{stem}_saved_model").signatures["serving_default"]
    names.append((list(signature.structured_input_signature[1]), list(signature.structured_outputs)))
    assert [list(map(list, each)) for each in names] == [[["clip"], ["probabilities"]]] * 4


@pytest.mark.parametrize("name", FLOATS)
def test_probabilities_are_those_of_keras_with_the_calibrated_temperature(exported, name):
    """A deployed file would be more or less confident than the model that was calibrated, or be another model."""
    rows = exported.student.split.test
    found = run(exported.folder / name, exported.student.clips(rows))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exported.student.probabilities(rows), atol=1e-5)


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_keep_the_classes(exported, name):
    """A quantised file would answer otherwise than the model."""
    rows = exported.student.split.test
    found = run(exported.folder / name, exported.student.clips(rows))
    expected = exported.student.probabilities(rows)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()
    assert 1e-5 < np.abs(found - expected).max() < 0.3
    step = open_runtime(exported.folder / name, threads=1).step
    assert step == (1 / 256 if name.endswith(".tflite") else 0)
    assert (np.round(256 * found) == 256 * found).all() == (step > 0)


def test_the_record_describes_all_files(exported):
    """eval.py and predict.py would lack class names, threshold or split, or take a file for another one."""
    for name in (*FLOATS, *INTEGERS):
        record = read_export_record(exported.folder / name, argument="--recognizer")
        assert record.class_names == ["Class0", "Class1", "Class2"]
        assert (record.temperature, record.threshold, record.output) == (TEMPERATURE, THRESHOLD, "probabilities")
        assert record.stored_shape == [20, 40, 48, 3]
        assert record.input.shape == [16, 48, 48, 3]
        assert record.record.split.rows.test == exported.student.split.test.tolist()
        entry = record.files[name]
        assert (entry.batch, entry.agreement) == ("dynamic", 1.0)
        assert entry.largest_difference <= (1e-5 if entry.precision == "float32" else 0.3)
    assert sorted(record.files) == sorted((*FLOATS, *INTEGERS))


def test_files_state_what_they_are(exported):
    """A file that was moved without its record would lose its class names and its temperature."""
    import onnx
    import openvino

    texts = [(exported.folder / "student_saved_model/assets.extra" / f"{METADATA_KEY}.json").read_text()]
    for suffix in ("", "_int8"):
        stem = exported.folder / f"student{suffix}"
        properties = onnx.load(f"{stem}.onnx").metadata_props
        texts += [entry.value for entry in properties if entry.key == METADATA_KEY]
        texts.append(str(openvino.Core().read_model(f"{stem}.xml").get_rt_info(METADATA_KEY).value))
        texts.append(open_runtime(stem.with_suffix(".tflite"), threads=1).metadata)
    assert len(texts) == 7
    for text in texts:
        metadata = checked(text, ExportMetadata, what="metadata")
        assert (metadata.temperature, metadata.class_names[2]) == (TEMPERATURE, "Class2")


def test_what_stays_in_float_is_read_from_the_files(exported):
    """A table would call a file int8 whose convolutions, nearly all of its work, compute in float32."""
    floats = {
        name: in_float(exported.folder / name, kind) for name, kind in zip(INTEGERS, ("onnx", "openvino", "litert"))
    }
    assert floats == {name: {} for name in INTEGERS}
    assert in_float(exported.folder / "student.onnx", "onnx") == {"Conv": "8 of 8", "MatMul": "3 of 3"}
    assert in_float(exported.folder / "student.xml", "openvino") == {"Convolution": "8 of 8", "MatMul": "3 of 3"}
    assert in_float(exported.folder / "student.tflite", "litert") == {"CONV_2D": "8 of 8", "FULLY_CONNECTED": "3 of 3"}
    assert "student_int8.tflite: all convolutions and matrix products in int8." in exported.printed


def test_the_table_holds_accuracy_on_test_clips(exported):
    """The accuracy of a file would be unknown, or be that of clips which the model has seen."""
    content = json.loads((exported.folder / "student_table.json").read_text())
    rows, test = content["rows"], exported.student.split.test
    files = [row["file"] for row in rows if row["precision"] != "bfloat16"]  # only measured if the CPU has it
    assert files == ["student.keras", *sum(zip(FLOATS, INTEGERS), ()), FLOATS[-1]]
    expected = exported.student.probabilities(test).argmax(axis=1) == exported.student.dataset.labels[test]
    assert [row["accuracy"]["estimate"] for row in rows] == [expected.mean()] * len(rows)
    assert content["clips"] == {"source": "test clips", "count": len(test)}
    assert rows[1]["megabytes"] == (exported.folder / "student.onnx").stat().st_size / 1e6
    assert f"compared on {len(test)} test clips" in exported.printed


@pytest.fixture(scope="module")
def logits(frame_student, tmp_path_factory):
    """A student of frames with logits as output, compared on synthetic clips."""
    formats = ("onnx", "openvino", "litert")
    folder = tmp_path_factory.mktemp("logits")
    return run_export(frame_student, folder, with_data=False, formats=formats, output="logits")


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOATS[:3])
def test_logits_of_a_student_of_frames(logits, name):
    """Temporal shift, whose frames are folded into the batch, would mix the frames of different clips."""
    rows = logits.student.split.test
    found = run(logits.folder / name, logits.student.clips(rows))
    np.testing.assert_allclose(softmax(found / TEMPERATURE, axis=1), logits.student.probabilities(rows), atol=1e-5)
    assert np.abs(found).max() > 1
    assert "compared on 16 synthetic clips" in logits.printed


@pytest.mark.slow
def test_integers_of_a_student_of_frames(frame_student, tmp_path):
    """OpenVINO computes a quantised shift wrongly unless it is a convolution; the answers were then random."""
    formats = ("onnx", "openvino", "litert")
    exported = run_export(frame_student, tmp_path / "exported", formats=formats, int8=True)
    for name, kind in zip(INTEGERS, formats):
        assert in_float(exported.folder / name, kind) == {}
        assert read_export_record(exported.folder / name, argument="").files[name].largest_difference < 0.25
