"""Answers for whole videos: decoding on several threads while the model runs on the videos already read."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from utils.base.devices import cores
from utils.base.threads import read_ahead
from utils.data.batches import batch_loop
from utils.prediction.answers import Answer, Unreadable
from utils.prediction.predictor import Predictor
from utils.video.video import VideoError, read_clip_and_info


def predict_videos(predictor: Predictor, paths: Sequence[str | os.PathLike]) -> Iterator[Answer | Unreadable]:
    """Yield an answer for each video, in order; for a video that cannot be read, the reason.

    Frames are sampled, resized and rendered as stage 1 and the model's evaluation do. The model runs on groups of
    `batch_size` readable videos, so that an answer does not depend on timing.
    """
    size = predictor.options.batch_size

    def read(path: Path) -> list[np.ndarray] | Unreadable:
        return read_views(predictor, path)

    threads = min(cores(), max(len(paths), 1))
    videos = read_ahead(read, map(Path, paths), threads=threads, ahead=2 * size, name="decoder")
    with contextlib.closing(videos), batch_loop() as check:
        group: list[tuple[str, list[np.ndarray] | Unreadable]] = []
        for path, found in videos:
            group.append((str(path), found))
            if sum(not isinstance(each, Unreadable) for _, each in group) == size:
                yield from answers_of(predictor, group)
                group = []
            check()
        yield from answers_of(predictor, group)


def answers_of(
    predictor: Predictor, group: Sequence[tuple[str, list[np.ndarray] | Unreadable]]
) -> Iterator[Answer | Unreadable]:
    """Yield the answers for a group of videos from one batch per model."""
    readable = [views for _, views in group if not isinstance(views, Unreadable)]
    probabilities = iter(predictor.probabilities([np.stack(batch) for batch in zip(*readable)]) if readable else ())
    for name, found in group:
        if isinstance(found, Unreadable):
            yield found
        else:
            yield Answer(name, predictor.class_names, next(probabilities), predictor.threshold)


def read_views(predictor: Predictor, path: Path) -> list[np.ndarray] | Unreadable:
    """Return the views of a video for each model of `predictor`, uint8 `(V, *input_shape)`.

    The video is decoded once per shape in which stage 1 stored the clips of the models.
    """
    try:
        shapes = {member.stored_shape for member in predictor.members}
        short_videos = predictor.options.short_videos
        clips = {shape: read_clip_and_info(path, shape, short_videos)[0] for shape in shapes}
    except VideoError as error:
        return Unreadable(str(path), str(error))
    except Exception as error:  # a damaged file may raise anything; the others get their answers
        return Unreadable(str(path), f"{type(error).__name__}: {' '.join(str(error).split())}")
    return [member.views_of(clips[member.stored_shape], predictor.options.views) for member in predictor.members]
