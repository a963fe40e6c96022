"""Load models and apply them to videos.

predictor = load_predictor("student.keras")
answer = predictor.predict("video.mp4")
timeline = predictor.timeline("long.mp4")
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.base.errors import UserError, first_line
from utils.base.formats import is_exported
from utils.base.options import ViewOptions
from utils.base.prediction_options import PredictionOptions, TimelineOptions
from utils.networks.recognizer import Recognizer, load_recognizer
from utils.prediction.answers import Answer, Timeline, Unreadable
from utils.prediction.clips import predict_videos
from utils.prediction.ensemble import Ensemble, Member
from utils.prediction.timelines import timeline_of
from utils.video.containers import VideoError


class Predictor(Ensemble):
    """An ensemble that reads videos by itself."""

    def predict(self, path: str | os.PathLike) -> Answer:
        """Return the answer for a whole video. Raises UserError if the video cannot be read."""
        (answer,) = predict_videos(self, [Path(path)])
        if isinstance(answer, Unreadable):
            raise UserError(f"{answer.video}: {answer.reason}")
        return answer

    def timeline(self, path: str | os.PathLike, options: TimelineOptions | None = None) -> Timeline:
        """Return the segments of a long video. Raises UserError if the video cannot be read."""
        try:
            return timeline_of(self, Path(path), options or TimelineOptions())
        except VideoError as error:
            raise UserError(f"{path}: {error}") from None


def load_predictor(
    paths: str | os.PathLike | Sequence[str | os.PathLike], options: PredictionOptions | None = None
) -> Predictor:
    """Load one or several models. What a model without a record outputs is printed to stderr.

    Raises UserError if a file is not a model of clips, if the models have different classes, or if `options` contradict
    a record or do not apply to the files.
    """
    options = options or PredictionOptions()
    paths = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if options.threads is not None and not any(map(is_exported, paths)):
        raise UserError(f"--threads is for exported models, got {paths[0]}")
    members, names = [], []
    for path in map(Path, paths):
        with contextlib.redirect_stdout(sys.stderr):  # what a model without a record outputs
            recognizer = load_recognizer(
                path,
                argument="--recognizer",
                channels=options.channels,
                input_scale=options.input_scale,
                threads=options.threads,
                precision=options.precision,
            )
        names.append(class_names_of(recognizer, options))
        members.append(member_of(recognizer, options))
        if names[-1] != names[0]:
            raise UserError(
                f"--recognizer: {path} must have the classes of {paths[0]}, {', '.join(names[0][:5])}, "
                f"found {', '.join(names[-1][:5])}"
            )
    threshold, notes = threshold_of(members, options)
    return Predictor(tuple(members), names[0], threshold, options, notes)


def member_of(recognizer: Recognizer, options: PredictionOptions) -> Member:
    """Return a recogniser with what its record or export, or `options` if it has neither, states about its clips."""
    record, input_shape = recognizer.record, recognizer.input_shape
    stored_shape = stored_shape_of(recognizer)
    stated = {"class_names": recognizer.class_names, "sequence_length": stored_shape, "frame_size": stored_shape}
    for name, known in stated.items():
        if known is not None and getattr(options, name) is not None:
            source = "states it" if record is None else "has one"
            raise UserError(f"--{name} is for models without a record, but {recognizer.path} {source}")
    if stored_shape is None:
        length, size = options.sequence_length or input_shape[0], options.frame_size or input_shape[1:3]
        if length < input_shape[0]:
            raise UserError(
                f"--sequence_length: must be at least the {input_shape[0]} frames that {recognizer.path} takes, "
                f"got {length}"
            )
        stored_shape = (length, *size, 3)
    known = ViewOptions() if record is None else record.arguments
    views = ViewOptions(view_seed=known.view_seed, flip=known.flip)
    return Member(recognizer, stored_shape, views, shrinking_of(recognizer), **calibration_of(recognizer))


def stored_shape_of(recognizer: Recognizer) -> tuple[int, int, int, int] | None:
    """Return the shape in which stage 1 stored the clips of the training, None if it is unknown."""
    if recognizer.record is not None:
        return tuple(recognizer.record.arrays.shape[1:])
    return tuple(recognizer.export.stored_shape) if recognizer.export and recognizer.export.stored_shape else None


def shrinking_of(recognizer: Recognizer) -> str:
    """Return how frames were shrunk for the training; bilinearly if the model is from elsewhere."""
    about = recognizer.record or recognizer.export
    return about.input.shrinking if about else "bilinear"


def calibration_of(recognizer: Recognizer) -> dict[str, float | None]:
    """Return the fields of `Member` with the calibration and the duration of clips, as far as they are stated."""
    if (export := recognizer.export) is not None:
        seconds = export.clip_seconds and export.clip_seconds.median
        return {"temperature": recognizer.temperature, "threshold": export.threshold, "clip_seconds": seconds}
    if (record := recognizer.record) is None:
        return {}
    return {
        "temperature": recognizer.temperature,
        "threshold": record.calibration and record.calibration.threshold,
        "clip_seconds": record.clip_seconds and record.clip_seconds.median,
    }


def class_names_of(recognizer: Recognizer, options: PredictionOptions) -> tuple[str, ...]:
    """Return the class names of the record, of the file --class_names, or numbers.

    Raises UserError unless the file holds one name per class.
    """
    if recognizer.class_names is not None:
        return recognizer.class_names
    if options.class_names is None:
        return tuple(str(label) for label in range(recognizer.num_classes))
    try:
        lines = options.class_names.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"--class_names: {options.class_names} must be UTF-8 text ({first_line(error)})") from None
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) != recognizer.num_classes or len(set(names)) != len(names):
        raise UserError(
            f"--class_names: {options.class_names} must hold {recognizer.num_classes} different names, one per line, "
            f"found {len(set(names))} different ones in {len(names)} lines{separated_by(names)}"
        )
    return names


def separated_by(lines: Sequence[str]) -> str:
    """Return a remark on what separates several entries of a line, or ""."""
    marks = {"semicolons": ";", "tabs": "\t", "commas": ","}
    found = [name for name, mark in marks.items() if any(mark in line for line in lines)]
    return f", with {' and '.join(found)} in them" if found else ""


def threshold_of(members: Sequence[Member], options: PredictionOptions) -> tuple[float, tuple[str, ...]]:
    """Return the threshold of a predictor, and notes: that of `options`, else the mean of the calibrated ones."""
    if options.threshold is not None:
        return options.threshold, ()
    missing = [member.recognizer.path.name for member in members if member.threshold is None]
    if missing:
        names = ", ".join(missing)
        return 0.0, (f"{names}: not calibrated, so every video gets a class unless --threshold is given",)
    notes = ()
    if len(members) > 1 or options.views > 1:
        notes = ("the threshold was calibrated for one model and one view per video",)
    return float(np.mean([member.threshold for member in members])), notes
