"""Answers for whole videos: decoding on several threads while the model runs on the videos already read."""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.base.machine import cores
from utils.base.threads import read_ahead
from utils.data.batches import batch_loop
from utils.prediction.answers import Answer, Unreadable
from utils.prediction.ensemble import Ensemble
from utils.prediction.frames import print_note
from utils.video.video import VideoError, read_clip_and_info


@dataclass(frozen=True)
class Read:
    """The views of a video for each model, uint8 `(V, *input_shape)`, and how long they took.

    decode: milliseconds until the frames were decoded and resized as in stage 1. resize: from these to the views.
    """

    views: list[np.ndarray]
    decode: float
    resize: float


def predict_videos(predictor: Ensemble, paths: Sequence[str | os.PathLike]) -> Iterator[Answer | Unreadable]:
    """Yield an answer for each video, in order; for a video that cannot be read, the reason.

    Frames are sampled, resized and rendered as stage 1 and the model's evaluation do. The model runs on groups of
    `batch_size` readable videos, so that an answer does not depend on timing.
    """
    size = predictor.options.batch_size

    def read(path: Path) -> Read | Unreadable:
        return read_views(predictor, path)

    threads = min(cores(), max(len(paths), 1))
    videos = read_ahead(read, map(Path, paths), threads=threads, ahead=2 * size, name="decoder")
    with contextlib.closing(videos), batch_loop() as check:
        group: list[tuple[str, Read | Unreadable]] = []
        for path, found in videos:
            group.append((str(path), found))
            if sum(isinstance(each, Read) for _, each in group) == size:
                yield from answers_of(predictor, group)
                group = []
            check()
        yield from answers_of(predictor, group)


def answers_of(predictor: Ensemble, group: Sequence[tuple[str, Read | Unreadable]]) -> Iterator[Answer | Unreadable]:
    """Yield the answers for a group of videos from one batch per model."""
    readable, start = [found.views for _, found in group if isinstance(found, Read)], time.perf_counter()
    probabilities = iter(predictor.probabilities([np.stack(batch) for batch in zip(*readable)]) if readable else ())
    model = 1000 * (time.perf_counter() - start) / max(len(readable), 1)
    for name, found in group:
        if isinstance(found, Unreadable):
            yield found
        else:
            times = {"decode": found.decode, "resize": found.resize, "model": model}
            yield Answer(name, predictor.class_names, next(probabilities), predictor.threshold, times)


def read_views(predictor: Ensemble, path: Path) -> Read | Unreadable:
    """Return the views of a video for each model of `predictor`.

    The video is decoded once per shape in which stage 1 stored the clips of the models.
    """
    start = time.perf_counter()
    try:
        ways = {(member.stored_shape, member.shrinking) for member in predictor.members}
        short_videos = predictor.options.short_videos
        clips = {way: read_clip_and_info(path, way[0], short_videos, way[1]) for way in ways}
    except VideoError as error:
        return Unreadable(str(path), str(error))
    except Exception as error:  # a damaged file may raise anything; the others get their answers
        return Unreadable(str(path), f"{type(error).__name__}: {' '.join(str(error).split())}")
    print_note(path, next(iter(clips.values()))[1].note)
    decoded, views = time.perf_counter(), predictor.options.views
    found = [member.views_of(clips[member.stored_shape, member.shrinking][0], views) for member in predictor.members]
    return Read(found, 1000 * (decoded - start), 1000 * (time.perf_counter() - decoded))
