"""Videos with their arrays, a model with its record, and predictors with given logits."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.student import build_student
from tests.conftest import moving_square
from tests.fake_recognizer import save_recognizer
from utils.base.options import DataOptions, NetworkOptions, ViewOptions
from utils.base.prediction_options import PredictionOptions
from utils.data.clips import open_clips
from utils.data.protocols import make_split
from utils.networks.recognizer import Recognizer
from utils.prediction.ensemble import Member
from utils.prediction.predictor import Predictor
from utils.runs.record import make_record
from utils.video.extract import extract

STORED = (20, 40, 48, 3)  # frames, height, width of the arrays
INPUT = (16, 32, 32, 3)


def write_video(path, clip, *, rate=25, codec="MJPG") -> Path:
    """Write the frames of a clip, uint8 (T, H, W, 3), RGB."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), rate, clip.shape[2:0:-1])
    for frame in clip:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with `videos`, `arrays`, and `model.keras` of random weights with a record of these arrays."""
    folder = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(0)
    for label in range(3):
        (folder / "videos" / f"Class{label}").mkdir(parents=True)
        for number in range(1, 4):
            clip = moving_square(rng, label, 40 + number, 60, 80)
            write_video(folder / "videos" / f"Class{label}" / f"v_Class{label}_g{number:02}_c01.avi", clip)
    size = {"sequence_length": STORED[0], "frame_height": STORED[1], "frame_width": STORED[2]}
    extract(folder / "videos", folder / "arrays", workers=1, **size)
    data = DataOptions(folder / "arrays/frames.npy", folder / "arrays/labels.npy")
    dataset = open_clips(data.data, data.annotations)
    split = make_split(dataset.labels, dataset.paths, class_names=dataset.class_names)
    record = make_record(
        dataset,
        split,
        input_shape=INPUT,
        options=[data, ViewOptions(view_seed=3), NetworkOptions()],
        kept={"epoch": 1, "val_accuracy": 0.5},
        history_path=folder / "history.npy",
        fingerprint="0" * 64,
        kind="student",
    )
    model = build_student(3, input_shape=INPUT, width=0.1, dropout=0.0)
    save_recognizer(model, folder / "model.keras", record)
    return folder


@dataclass
class ColourModel:
    """Logits of a clip: `scale` times the mean of each colour channel, from 0 to 1. `batches` lists the batch sizes."""

    input_shape: tuple = (None, *INPUT)
    output_shape: tuple = (None, 3)
    scale: float = 10.0

    def __post_init__(self):
        self.batches = []

    def predict_on_batch(self, clips):
        self.batches.append(len(clips))
        assert clips.dtype == np.uint8
        assert clips.shape[1:] == self.input_shape[1:]
        return (self.scale * clips.mean(axis=(1, 2, 3)) / 255).astype(np.float32)


def colour_predictor(*, threshold=0.0, clip_seconds=None, frames=INPUT[0], **options) -> Predictor:
    """Return a predictor that recognises red, green and blue videos."""
    shape = (frames, *INPUT[1:])
    recognizer = Recognizer(Path("colours.keras"), ColourModel((None, *shape)), None)
    member = Member(recognizer, shape, ViewOptions(), threshold=threshold, clip_seconds=clip_seconds)
    return Predictor((member,), ("red", "green", "blue"), threshold, PredictionOptions(**options))


def coloured(*parts, height=48, width=64) -> np.ndarray:
    """Return frames of one colour per part: (index of the channel, number of frames); channel -1 is grey."""
    frames = []
    for channel, count in parts:
        frame = np.full((height, width, 3), 128 if channel < 0 else 0, np.uint8)
        if channel >= 0:
            frame[..., channel] = 255
        frames += [frame] * count
    return np.stack(frames)
