"""Tiny students that know their training clips, and what export.py makes of one of them."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.special import softmax

from models.frames import build_frames
from models.student import build_student
from tests.conftest import write_arrays
from tests.fake_recognizer import save_recognizer
from utils.base.export_options import ExportOptions
from utils.base.options import DataOptions, ViewOptions
from utils.data.clips import ClipDataset, open_clips
from utils.data.protocols import Split, make_split
from utils.export.run import export
from utils.runs.calibration import Calibration
from utils.runs.record import make_record

TEMPERATURE, THRESHOLD = 2.0, 0.35


@dataclass(frozen=True)
class Student:
    """A model file with a calibrated record, and the clips that it was fitted to."""

    path: Path
    model: keras.Model
    data: DataOptions
    dataset: ClipDataset
    split: Split

    def clips(self, rows) -> np.ndarray:
        return self.dataset.view_zero(rows, self.model.input_shape[1:]).astype(np.float32)

    def probabilities(self, rows) -> np.ndarray:
        """Return what exported files should output for clips of these rows: float64 (len(rows), 3)."""
        logits = np.asarray(self.model.predict_on_batch(self.clips(rows)), np.float64)
        return softmax(logits / TEMPERATURE, axis=1)


def make_student(folder: Path, arrays: Path, model: keras.Model) -> Student:
    """Fit the last layer of a model to the training clips by least squares, and save it with a record."""
    data = DataOptions(arrays / "frames.npy", arrays / "labels.npy")
    dataset = open_clips(data.data, data.annotations)
    split = make_split(dataset.labels, dataset.paths, class_names=dataset.class_names)
    features = keras.Model(model.input, model.layers[-1].input)
    clips = dataset.view_zero(split.train, model.input_shape[1:]).astype(np.float32)
    values = np.asarray(features.predict_on_batch(clips), np.float64)
    values = np.hstack([values, np.ones((len(values), 1))])
    targets = 4.0 * np.eye(3)[dataset.labels[split.train]]
    ridge = values.T @ values + 1e-3 * np.trace(values.T @ values) / len(values.T) * np.eye(len(values.T))
    weights = np.linalg.solve(ridge, values.T @ targets)
    model.layers[-1].set_weights([weights[:-1], weights[-1]])
    options, kept = [data, ViewOptions(views=2)], {"epoch": 1, "val_accuracy": 1.0}
    record = make_record(
        dataset,
        split,
        input_shape=model.input_shape[1:],
        options=options,
        kept=kept,
        history_path=Path("h.npy"),
        fingerprint="0" * 64,
        kind="student",
        calibration=Calibration(temperature=TEMPERATURE, threshold=THRESHOLD, kept=0.95, clips=6, rows="validation"),
    )
    save_recognizer(model, folder / "student.keras", record)
    return Student(folder / "student.keras", model, data, dataset, split)


@pytest.fixture(scope="package")
def arrays(tmp_path_factory):
    return write_arrays(tmp_path_factory.mktemp("export") / "arrays", length=20)


@pytest.fixture(scope="package")
def student(arrays, tmp_path_factory):
    """A compact3d whose last pooling is padded, because 48 / 16 is odd."""
    keras.utils.set_random_seed(4)  # no test clip lies between two classes, where int8 would decide
    model = build_student(3, input_shape=(16, 48, 48, 3), width=0.25)
    return make_student(tmp_path_factory.mktemp("student"), arrays, model)


@pytest.fixture(scope="package")
def frame_student(arrays, tmp_path_factory):
    """A student of frames with temporal shift."""
    keras.utils.set_random_seed(0)
    model = build_frames("efficientnet_lite0", 3, input_shape=(4, 40, 40, 3), width=0.25, mixing="shift")
    return make_student(tmp_path_factory.mktemp("frame_student"), arrays, model)


@dataclass(frozen=True)
class Exported:
    """A folder that export.py wrote, and what it printed."""

    folder: Path
    student: Student
    printed: str


def run_export(student: Student, folder: Path, *, with_data: bool = True, **options) -> Exported:
    """Export a student without measurements."""
    settings = ExportOptions(output_path=folder, **{"measure": False, **options})
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        export(student.path, settings, student.data if with_data else None)
    return Exported(folder, student, printed.getvalue())


@pytest.fixture(scope="package")
def exported(student, tmp_path_factory):
    """The student in all formats and precisions."""
    formats = ("onnx", "openvino", "litert", "saved_model")
    return run_export(student, tmp_path_factory.mktemp("exported"), formats=formats, int8=True, calibration_clips=12)
